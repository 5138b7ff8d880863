"""IBM's client in its own local mode, without an account: its legacy primitives, as they are.

The embedded engine honours the options of the client-side primitives too, 10 to 45 times faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from qexp.core.mitigation import unseeded_folding
from qexp.core.model import JobRequest, PayloadBytes, PrimitiveSpec
from qexp.engines.local.backends import calibration, require_backend
from qexp.engines.local.batch import LocalBatch, Simulated, joined
from qexp.engines.local.options import unsupported_options
from qexp.engines.options import declared_leaves, nested, silence_deprecations
from qexp.engines.payload import Payloads
from qexp.engines.primitives import make_primitive
from qexp.errors import ConfigError, EngineError
from qexp.simulator.observables import shots_for

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub
    from qexp.workers import Workers

# Options that the client-side primitives honour in local mode and the embedded simulator does not
# (qiskit-ibm-runtime 0.51: executor_*/prepare.py, fake_provider/local_service.py).
_CLIENT_HONOURS = ("twirling.", "dynamical_decoupling.", "resilience", "simulator.")

_MAX_MEASURED = 30
"""Qubits of a state vector that fits the memory of an ordinary machine."""

# All options that the legacy primitives honour in local mode; they warn about any other.
_LEGACY_HONOURS = ("default_shots", "default_precision", "simulator.seed_simulator")


@dataclass(frozen=True)
class RuntimeLocalEngine:
    """Runs jobs by IBM's primitives in the client's local mode.

    Each job has one seed, with which IBM's client gives equal circuits of a client-side job equal
    shots. It rounds parameter values to multiples of pi/2 x 1e-5 (`simulator.angle_decimals`).

    Args:
        allow_ignored_options: Tolerate declared options that have no effect here.
    """

    allow_ignored_options: bool = False
    name: str = field(default="runtime-local", init=False)
    uses_qpu: bool = field(default=False, init=False)
    workers: int | None = field(default=1, init=False)
    _payloads: Payloads = field(default_factory=Payloads, init=False, repr=False, compare=False)

    def ignored_options(self, primitive: PrimitiveSpec) -> dict[str, Any]:
        """Return the declared options (dotted path -> value) that this engine would ignore."""
        ignored = unsupported_options(primitive)
        if primitive.implementation == "client":
            return {k: v for k, v in ignored.items() if not k.startswith(_CLIENT_HONOURS)}
        declared = dict(declared_leaves(primitive.options))
        if "seed_estimator" in declared:
            ignored["seed_estimator"] = declared["seed_estimator"]
        if declared.get("simulator.seed_simulator") == 0:
            # IBM's legacy local mode takes 0 for "no seed".
            ignored["simulator.seed_simulator"] = 0
        return ignored

    def check_backend(self, backend: BackendV2) -> None:
        """Accept every Qiskit `BackendV2` but those of IBM's service.

        Raises:
            ConfigError: If it is anything else.
        """
        from qiskit_ibm_runtime import IBMBackend

        if isinstance(backend, IBMBackend):
            raise ConfigError(
                f"engine=runtime-local would submit to {backend.name!r}, which is a device of "
                "IBM's service: use engine=ibm for it, or backend=local, fake or aer"
            )
        require_backend(backend, self.name)

    def pub_objection(
        self, backend: BackendV2, primitive: PrimitiveSpec
    ) -> Callable[[Pub], str | None]:
        """Return a function that says why Aer cannot simulate an ISA PUB."""
        from qiskit_aer.backends.aerbackend import AerBackend

        from qexp.simulator import aer_objection

        is_client = primitive.implementation == "client"
        measures_all = is_client and primitive.kind == "estimator"

        def objection(pub: Pub) -> str | None:
            width = pub.circuit.num_qubits
            if measures_all and width > _MAX_MEASURED and not isinstance(backend, AerBackend):
                return (
                    f"IBM's client measures all of its {width} qubits, and Aer simulates at most "
                    f"{_MAX_MEASURED}; choose engine=local, which honours the same options"
                )
            return aer_objection(pub.circuit) or (
                unseeded_folding(primitive) if is_client else None
            )

        return objection

    def payload_bytes(
        self,
        primitive: PrimitiveSpec,
        pub: Pub,
        backend: BackendV2,
        qpy: bytes,
        bound_bytes: float,
    ) -> PayloadBytes:
        """Return the size in bytes of an ISA PUB, see `Payloads`.

        Estimates are those of this engine's point, so that a point of a sweep is planned as alone.
        """
        return self._payloads.num_bytes(primitive, pub, backend, qpy, bound_bytes)

    def open_batch(
        self,
        backend: BackendV2,
        *,
        max_time_s: int | None,
        workers: Workers | None = None,  # noqa: ARG002 - part of the protocol
    ) -> LocalBatch:
        """Open a batch; IBM's local `Batch` has no id, times or usage of its own."""
        from qexp.engines.ibm.client import quiet_client_log

        silence_deprecations()
        quiet_client_log()
        return LocalBatch(
            backend_name=backend.name,
            simulate=_Rehearsal(self, backend).run,
            max_time_s=max_time_s,
        )


class _Rehearsal:
    """Runs jobs in IBM's local mode, all in one of its batches."""

    def __init__(self, engine: RuntimeLocalEngine, backend: BackendV2) -> None:
        from qiskit_ibm_runtime import Batch

        self._engine = engine
        self._batch = Batch(backend=backend)
        self._properties = calibration(backend)

    def run(self, request: JobRequest) -> Simulated:
        """Run one job; the PUBs of each partition in it are seeded by a seed of its own."""
        return joined([self._run_one(member) for member in request.by_partition])

    def _run_one(self, request: JobRequest) -> Simulated:
        from qiskit_ibm_runtime import __version__

        pubs = request.load_pubs()
        spec = self._effective(request.primitive)
        primitive = make_primitive(spec, self._batch, request.tags, seed=request.seed)
        result = primitive.run(pubs).result()
        if len(result) != len(pubs):
            raise EngineError(f"the client returned {len(result)} PUB results, not {len(pubs)}")
        return Simulated(
            result=result,
            executions=tuple(
                _executions(pub, spec, result, index) for index, pub in enumerate(pubs)
            ),
            options=primitive.options,
            backend_properties=self._properties,
            info={"client": f"qiskit-ibm-runtime {__version__}"},
        )

    def _effective(self, spec: PrimitiveSpec) -> PrimitiveSpec:
        """Return the primitive without the options that this engine ignores."""
        ignored, is_client = self._engine.ignored_options(spec), spec.implementation == "client"
        kept = {
            path: value
            for path, value in declared_leaves(spec.options)
            if (path not in ignored if is_client else path in _LEGACY_HONOURS)
        }
        tags = (spec.options.get("environment") or {}).get("job_tags") or []
        return replace(spec, options=nested({**kept, "environment.job_tags": list(tags)}))


def _executions(pub: Pub, spec: PrimitiveSpec, result: PrimitiveResult[Any], index: int) -> int:
    """Return parameter sets x shots; an Estimator's result does not name its bases."""
    if spec.kind == "sampler":
        # Twirling rounds the shots up to whole randomizations.
        taken = (getattr(bits, "num_shots", None) for bits in result[index].data.values())
        return int(pub.size * (next(taken, None) or pub.shots or spec.shots or 1))
    shots = result.metadata.get("shots")
    precision = pub.precision or spec.precision
    if shots is None and precision:
        shots = shots_for(precision)
    return int(pub.parameter_values.size * (shots or 1))
