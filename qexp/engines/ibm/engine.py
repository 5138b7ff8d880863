"""The engine that runs jobs on IBM's service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, cast
from weakref import WeakKeyDictionary

from pydantic import Field

from qexp.core.model import FoundJob, InstanceUsage, PayloadBytes, PrimitiveSpec
from qexp.engines.ibm.batch import IBMBatch, find_jobs, open_session, read_metrics
from qexp.engines.ibm.client import reading
from qexp.engines.options import declared_leaves
from qexp.engines.payload import Payloads
from qexp.engines.private_api import (
    REMAINING,
    attach_session,
    connected_clients,
    instance_of,
    limit_waiting,
    longest_wait_s,
    usage_of,
)
from qexp.errors import ConfigError, RetiredError

if TYPE_CHECKING:
    from qiskit.providers import BackendV2
    from qiskit_ibm_runtime import IBMBackend

    from qexp.core.model import Pub
    from qexp.workers import Workers


_payloads: WeakKeyDictionary[BackendV2, Payloads] = WeakKeyDictionary()


@dataclass(frozen=True)
class IBMEngine:
    """Runs jobs in one batch of IBM's service.

    Args:
        allow_ignored_options: Tolerate declared options that have no effect on the service.
        poll_interval_s: Seconds between two list requests while jobs run. Two to five are enough.
    """

    allow_ignored_options: bool = False
    poll_interval_s: Annotated[float, Field(gt=0, le=600)] = 3.0
    name: str = field(default="ibm", init=False)
    uses_qpu: bool = field(default=True, init=False)
    workers: int | None = field(default=1, init=False)

    def ignored_options(self, primitive: PrimitiveSpec) -> dict[str, Any]:
        """Return the declared options of the simulator, which have no effect on a QPU."""
        simulator = primitive.options.get("simulator") or {}
        return dict(declared_leaves(simulator, "simulator."))

    def check_backend(self, backend: BackendV2) -> None:
        """Accept the backends of `QiskitRuntimeService`, retired ones too.

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

    def pub_objection(
        self,
        backend: BackendV2,  # noqa: ARG002 - part of the protocol
        primitive: PrimitiveSpec,  # noqa: ARG002 - part of the protocol
    ) -> Callable[[Pub], None]:
        """Return a function without objections: the backend's target decides what can run."""
        return lambda _pub: None

    def payload_bytes(
        self,
        primitive: PrimitiveSpec,
        pub: Pub,
        backend: BackendV2,
        qpy: bytes,
        bound_bytes: float,
    ) -> PayloadBytes:
        """Return the size in bytes of an ISA PUB, see `Payloads`; points of a sweep share these."""
        payloads = _payloads.setdefault(backend, Payloads())
        return payloads.num_bytes(primitive, pub, backend, qpy, bound_bytes)

    def open_batch(
        self,
        backend: BackendV2,
        *,
        max_time_s: int | None,
        workers: Workers | None = None,  # noqa: ARG002 - part of the protocol
    ) -> IBMBatch:
        """Open a batch.

        Raises:
            RetiredError: The backend is gone.
            EngineError: The service refused the batch or could not be reached.
        """
        from qiskit_ibm_runtime.ibm_backend import IBMRetiredBackend

        if isinstance(backend, IBMRetiredBackend):
            raise RetiredError(
                f"backend {backend.name!r} is no longer available to this account, so that the "
                "jobs that are missing cannot be submitted"
            )
        device = cast("IBMBackend", backend)
        session = open_session(device, max_time_s)
        return IBMBatch(session, device, poll_interval_s=self.poll_interval_s)

    def attach_batch(self, backend: BackendV2, batch_id: str) -> IBMBatch:
        """Attach an earlier batch, to adopt and collect its jobs; makes no request."""
        device = cast("IBMBackend", backend)
        session = attach_session(device, batch_id)
        return IBMBatch(session, device, attached=True, poll_interval_s=self.poll_interval_s)

    def find_jobs(self, backend: BackendV2, tag: str) -> Sequence[FoundJob]:
        """Find every job of the account that carries `tag`, in all of its instances."""
        return find_jobs(connected_clients(cast("IBMBackend", backend).service), tag)

    def read_metrics(self, backend: BackendV2, job_id: str) -> Mapping[str, Any]:
        """Read the metrics of a job, in whichever instance it is."""
        return read_metrics(connected_clients(cast("IBMBackend", backend).service), job_id)

    def instance(self, backend: BackendV2) -> str:
        """Return the name of a backend's instance, as the client listed it when it connected."""
        device = cast("IBMBackend", backend)
        named = {each["crn"]: str(each["name"]) for each in device.service.instances()}
        return named.get(instance_of(device), "")

    def read_usage(self, backend: BackendV2) -> InstanceUsage:
        """Read what the instance has used, by one request."""
        with reading("reading the usage of the account"):
            usage = usage_of(cast("IBMBackend", backend))
            used_s = float(usage["usage_consumed_seconds"])
            left_s = 0.0 if usage.get("usage_limit_reached") else usage.get(REMAINING)
            return InstanceUsage(self.instance(backend), used_s, left_s)

    def limit_waiting(self, backend: BackendV2, outage_s: float) -> None:
        """Limit the time of the requests of every client of the account."""
        for client in connected_clients(cast("IBMBackend", backend).service):
            limit_waiting(client, longest_wait_s(outage_s))
