"""The embedded engine: a noisy simulation of a batch on this machine, without an account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field

from qexp.core.model import Forecast, PayloadBytes, PrimitiveSpec
from qexp.engines.local.backends import calibration, require_backend
from qexp.engines.local.options import ignored_options
from qexp.engines.primitives import steady_qpy, wire_bytes
from qexp.errors import ConfigError
from qexp.text import parse_duration_s

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub
    from qexp.engines.local.batch import LocalBatch
    from qexp.engines.local.simulation import Simulation
    from qexp.workers import Workers


SimulationMethod: TypeAlias = Literal[
    "density_matrix",
    "trajectory_tree",
    "clifford",
    "statevector",
    "matrix_product_state",
    "automatic",
]
"""A method of `qexp.simulator.methods`."""


@dataclass(frozen=True)
class LocalEngine:
    """Runs jobs on an embedded simulator of the backend.

    Twirling, dynamical decoupling and error mitigation need the client-side implementation of a
    primitive; otherwise the implementation is recorded, but changes nothing here. An Estimator's
    `resilience_level` is 0 unless it is declared, and not 1 as on IBM's service.

    Args:
        allow_ignored_options: Tolerate declared options that have no effect here.
        workers: Worker processes; None: as many as there are cores. The data are the same for any
            number.
        exact_expectation_values: Let Estimators give expectation values with the noise of the
            device but without that of sampling; standard errors are 0 then, and precisions are
            ignored.
        approximate_noise: Allow Clifford circuits to be simulated with errors that are replaced
            by the nearest mixture of Paulis and resets; the plan and the archive say which.
        method: Method for circuits with the noise of a device; None: the cheapest for each.
        max_time: The longest time that a point may be predicted to take, such as `30m`; None: any.
    """

    allow_ignored_options: bool = False
    workers: Annotated[int, Field(gt=0)] | None = None
    exact_expectation_values: bool = False
    approximate_noise: bool = False
    method: SimulationMethod | None = None
    max_time: str | int | None = "30m"
    name: str = field(default="local", init=False)
    uses_qpu: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        try:
            parse_duration_s(self.max_time)
        except ValueError as error:
            raise ConfigError(f"engine.max_time: {error}") from None

    def ignored_options(self, primitive: PrimitiveSpec) -> dict[str, Any]:
        """Return the declared options (dotted path -> value) that this engine would ignore."""
        return ignored_options(primitive)

    def check_backend(self, backend: BackendV2) -> None:
        """Accept every Qiskit `BackendV2`, if it has noise where a method is set.

        Raises:
            ConfigError: If it is anything else, or has no noise that could be approximated.
        """
        require_backend(backend, self.name)
        if self.approximate_noise and calibration(backend) is None:
            raise ConfigError(
                f"engine.approximate_noise=true: backend {backend.name} has no calibration; "
                f"it would have no effect, leave it out"
            )
        if self.method is None:
            return
        from qexp.simulator.devices import make_device
        from qexp.simulator.noise import NoisyDevice

        if not isinstance(make_device(backend), NoisyDevice):
            raise ConfigError(
                f"engine.method={self.method} is for the noise of a device, but backend "
                f"{backend.name} brings a simulation of its own; set engine.method=null"
            )

    def pub_objection(
        self, backend: BackendV2, primitive: PrimitiveSpec
    ) -> Callable[[Pub], str | None]:
        """Return a function that says why an ISA PUB cannot be simulated as the engine is set."""
        from qexp.simulator import aer_objection

        simulation = self._simulation(backend)

        def objection(pub: Pub) -> str | None:
            return aer_objection(pub.circuit) or simulation.objection(primitive, pub)

        return objection

    @property
    def cores(self) -> int:
        """Number of worker processes."""
        from qexp.workers import available_cores

        return self.workers or available_cores()

    @property
    def max_time_s(self) -> int | None:
        """The longest time that a point may be predicted to take, in seconds, or None."""
        return parse_duration_s(self.max_time)

    def unbounded(self) -> LocalEngine:
        """Return the same engine without a bound of the time."""
        return replace(self, max_time=None)

    def forecast(self, backend: BackendV2, primitive: PrimitiveSpec) -> Callable[[Pub], Forecast]:
        """Return a function that predicts the simulation of an ISA PUB."""
        return partial(self._simulation(backend).forecast, primitive)

    def payload_bytes(
        self,
        primitive: PrimitiveSpec,
        pub: Pub,
        backend: BackendV2,  # noqa: ARG002 - part of the protocol
        qpy: bytes,
        bound_bytes: float,  # noqa: ARG002 - part of the protocol
    ) -> PayloadBytes:
        """Return the size in bytes that an ISA PUB would have on the wire to IBM's service.

        It is the same in every process, because jobs are cut by it and their data must not differ.
        """
        return PayloadBytes(wire_bytes(primitive, pub, steady_qpy(pub.circuit, qpy)))

    def open_batch(
        self,
        backend: BackendV2,
        *,
        max_time_s: int | None,
        workers: Workers | None = None,
    ) -> LocalBatch:
        """Open a batch.

        For `max_time_s`, see `LocalBatch`. Without `workers`, which simulate, the batch has its
        own.
        """
        from qexp.engines.local.batch import LocalBatch
        from qexp.engines.local.chunks import ChunkedSimulation
        from qexp.workers import Workers

        workers = workers or Workers(self.cores)
        simulation = ChunkedSimulation(self._simulation(backend), workers)
        return LocalBatch(
            backend_name=backend.name,
            simulate=simulation.run,
            prepare=simulation.prepare,
            progress=simulation.progress,
            release=simulation.close,
            max_time_s=max_time_s,
        )

    def _simulation(self, backend: BackendV2) -> Simulation:
        how = self.exact_expectation_values, self.method, self.approximate_noise
        return _simulation_of(backend, how)


def _simulation_of(
    backend: BackendV2, how: tuple[bool, SimulationMethod | None, bool]
) -> Simulation:
    """Return the simulation of this very backend, which the points of a sweep share.

    The process keeps the newest, because each point has an engine of its own.
    """
    global _newest  # noqa: PLW0603
    from qexp.engines.local.simulation import Simulation

    # Not by equality: a user's own backends may be equal although their noise differs.
    if _newest is None or _newest.backend is not backend or _newest.how != how:
        _newest = Simulation(backend, *how)
    return _newest


_newest: Simulation | None = None
