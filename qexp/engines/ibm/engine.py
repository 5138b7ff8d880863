"""The engine that runs jobs on IBM's service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from qexp.core.model import PrimitiveSpec
from qexp.engines.ibm.batch import IBMBatch
from qexp.engines.options import declared_leaves
from qexp.errors import ConfigError

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub


@dataclass(frozen=True)
class IBMEngine:
    """Runs jobs in one batch of IBM's service.

    Args:
        allow_ignored_options: Whether declared options without effect on the service are
            tolerated.
        poll_interval_s: Seconds between two list requests while jobs run. IBM asks for patience:
            2 to 5 s are plenty.
    """

    allow_ignored_options: bool = False
    poll_interval_s: Annotated[float, Field(gt=0, le=600)] = 3.0
    name: str = field(default="ibm", init=False)
    uses_qpu: bool = field(default=True, init=False)

    def unhonoured(self, primitive: PrimitiveSpec) -> dict[str, Any]:
        """Options of the simulator: a QPU has no use for them, and IBM's client drops them."""
        simulator = primitive.options.get("simulator") or {}
        return dict(declared_leaves(simulator, "simulator."))

    def check_backend(self, backend: BackendV2) -> None:
        """Accept the backends of `QiskitRuntimeService`.

        Raises:
            ConfigError: Any other backend.
        """
        from qiskit_ibm_runtime import IBMBackend

        if not isinstance(backend, IBMBackend):
            name = getattr(backend, "name", type(backend).__name__)
            raise ConfigError(
                f"engine=ibm cannot run on backend {name!r} ({type(backend).__name__}), which is "
                "not one of IBM's service: use backend=least_busy or backend=ibm, or engine=local"
            )

    def payload_bytes(self, primitive: PrimitiveSpec, pub: Pub, backend: BackendV2) -> int:
        """Size of one encoded ISA PUB on the wire, in bytes; see `encoded_bytes`."""
        from qexp.engines.primitives import encoded_bytes

        return encoded_bytes(primitive, pub, backend)

    def open_batch(
        self,
        backend: BackendV2,
        *,
        max_time_s: int | None,
    ) -> IBMBatch:
        """Open the one batch of a run.

        Raises:
            EngineError: The service refused the batch or could not be reached.
        """
        return IBMBatch(backend, max_time_s=max_time_s, poll_interval_s=self.poll_interval_s)
