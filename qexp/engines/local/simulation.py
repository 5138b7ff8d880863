"""Simulation of jobs: which simulator, which seed, and what is told of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.core.model import JobRequest, PrimitiveSpec
from qexp.core.seeds import as_int, child
from qexp.engines.local.backends import calibration
from qexp.engines.local.job import Simulated

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub
    from qexp.engines.local.estimation import Estimation
    from qexp.engines.local.reduced import ReducedDevice
    from qexp.engines.local.sampling import Sampling

_DEFAULT_SHOTS = 4096


class Simulation:
    """Runs jobs on a backend; what it learns of the backend's noise is kept.

    Args:
        backend: An Aer simulator, which is used as it is; a backend with calibration data, whose
            qubits are simulated with the noise that they tell; or any other backend, which runs
            itself.
        exact: Whether expectation values are exact, the noise of the device included, instead of
            estimated from samples.
    """

    def __init__(self, backend: BackendV2, exact: bool = False) -> None:
        self._backend = backend
        self._estimates_exactly = exact

    def __reduce__(self) -> tuple[type[Simulation], tuple[BackendV2, bool]]:
        # For a worker process; what was learnt may not be picklable.
        return type(self), (self._backend, self._estimates_exactly)

    def is_of(self, backend: BackendV2, exact: bool) -> bool:
        """Whether it simulates this very backend in this way."""
        return self._backend is backend and self._estimates_exactly == exact

    def run(self, request: JobRequest, pubs: Sequence[Pub]) -> Simulated:
        """Simulate one job, seeded by the job's seed.

        Raises:
            EngineError: If the simulator reports a failure.
        """
        options, seed = self.options_in_force(request), _seed(request)
        result: Any
        if request.primitive.kind == "sampler":
            result = self._sample(pubs, options["default_shots"], seed)
            executions: Callable[[Any], int] = _sampler_circuits
        else:
            result = self._estimate(pubs, options["default_precision"], seed)
            executions = _estimator_circuits
        return Simulated(
            result=result,
            executions=tuple(
                executions(pub) * pub_result.metadata["shots"]
                for pub, pub_result in zip(pubs, result, strict=True)
            ),
            options=options,
            backend_properties=self.properties,
            info=self.info,
        )

    def options_in_force(self, request: JobRequest) -> dict[str, Any]:
        """What is done, in the terms of IBM's options, whatever was declared."""
        options = _options_in_force(request)
        if self._estimates_exactly and "default_precision" in options:
            options["default_precision"] = 0.0
        return options

    def objection(self, pub: EstimatorPub) -> str | None:
        """Why an Estimator PUB cannot be run, said of its circuit; None if it can."""
        if not self._estimates_exactly:
            return None
        if self._estimation is None:
            return (
                f"backend {self._backend.name} simulates itself, which gives no exact expectation "
                f"values; set engine.exact_expectation_values=false to sample them"
            )
        return self._estimation.objection(pub)

    def _sample(self, pubs: Sequence[Pub], default_shots: int, seed: int) -> Any:
        from qiskit.primitives import BackendSamplerV2
        from qiskit.primitives.containers.sampler_pub import SamplerPub

        if self._sampling is not None:
            return self._sampling.run([SamplerPub.coerce(pub, default_shots) for pub in pubs], seed)
        sampler = BackendSamplerV2(
            backend=seeded(self._backend, seed), options={"default_shots": default_shots}
        )
        return sampler.run(pubs).result()

    def _estimate(self, pubs: Sequence[Pub], default_precision: float, seed: int) -> Any:
        from qiskit.primitives import BackendEstimatorV2

        if self._estimation is not None:
            return self._estimation.run(
                pubs, precision=default_precision, seed=seed, exact=self._estimates_exactly
            )
        estimator = BackendEstimatorV2(
            backend=seeded(self._backend, seed), options={"default_precision": default_precision}
        )
        return estimator.run(pubs).result()

    @cached_property
    def _simulator(self) -> ReducedDevice | BackendV2 | None:
        """What Aer simulates, or None where the backend runs itself."""
        from qexp.engines.local.reduced import ReducedDevice

        if _is_aer(self._backend):
            return self._backend
        return None if self.properties is None else ReducedDevice(self._backend)

    @cached_property
    def _sampling(self) -> Sampling | None:
        from qexp.engines.local.sampling import Sampling

        return None if self._simulator is None else Sampling(self._simulator)

    @cached_property
    def _estimation(self) -> Estimation | None:
        from qexp.engines.local.estimation import Estimation

        return None if self._simulator is None else Estimation(self._simulator)

    @cached_property
    def properties(self) -> Mapping[str, Any] | None:
        """The calibration that is simulated, JSON-able, or None."""
        return calibration(self._backend)

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """Which simulator is used, and how."""
        if self._simulator is None:
            return {"simulator": self._backend.name}
        from qiskit_aer import __version__

        if _is_aer(self._backend):
            name, method = self._backend.name, self._backend.options.method
        else:
            name, method = f"aer_simulator_from({self._backend.name})", "automatic"
        return {"simulator": name, "simulator_method": method, "aer_version": __version__}


def simulation_of(backend: BackendV2, exact: bool) -> Simulation:
    """The simulation of this very backend, kept for the next run: the points of a sweep share it.

    Args:
        backend: See `Simulation`. It must not be changed afterwards.
        exact: See `Simulation`.
    """
    global _newest  # noqa: PLW0603 - of this process
    # Not by equality: backends of the user's own may be equal and have other noise.
    if _newest is None or not _newest.is_of(backend, exact):
        _newest = Simulation(backend, exact)
    return _newest


_newest: Simulation | None = None


def _options_in_force(request: JobRequest) -> dict[str, Any]:
    primitive, declared = request.primitive, request.primitive.options
    seed = declared.get("simulator", {}).get("seed_simulator")
    options: dict[str, Any] = {
        "default_shots": None,
        "dynamical_decoupling": {"enable": False},
        "environment": {"job_tags": list(request.tags)},
        "execution": {"init_qubits": True},
        "simulator": {"seed_simulator": request.seed if seed is None else seed},
        "twirling": {"enable_gates": False, "enable_measure": False},
    }
    if primitive.kind == "sampler":
        shots = request.partition.shots or primitive.shots or declared.get("default_shots")
        options["default_shots"] = shots or _DEFAULT_SHOTS
        options["execution"]["meas_type"] = "classified"
        return options
    return options | {
        "default_precision": request.partition.precision or _default_precision(primitive),
        "resilience_level": 0,
        "resilience": {
            "measure_mitigation": False,
            "zne_mitigation": False,
            "pec_mitigation": False,
        },
    }


def seeded(simulator: BackendV2, seed: int) -> BackendV2:
    """A view of a backend that runs itself, whose runs are decided by one seed.

    Every run gets a seed of its own: Qiskit's primitives make one run per value of shots, all
    with the same seed. A run that fails raises `EngineError`; the primitives would return zeros
    for it.
    """
    from qiskit.providers import BackendV2, Options

    from qexp.engines.local.reduced import run_aer

    sequence = np.random.SeedSequence(seed)
    runs = count()

    class Seeded(BackendV2):
        @cached_property
        def target(self) -> Any:
            return simulator.target

        @property
        def max_circuits(self) -> int | None:
            return simulator.max_circuits

        @classmethod
        def _default_options(cls) -> Options:
            return Options()

        def run(self, run_input: list[QuantumCircuit], **options: Any) -> Any:
            options["seed_simulator"] = as_int(child(sequence, next(runs)))
            result = run_aer(simulator, run_input, **options)
            return SimpleNamespace(result=lambda: result)

    return Seeded(name=simulator.name)


def _is_aer(backend: BackendV2) -> bool:
    from qiskit_aer.backends.aerbackend import AerBackend

    return isinstance(backend, AerBackend)


def _seed(request: JobRequest) -> int:
    """The job's seed, mixed with the seed that the primitive's options declare, if any."""
    options = request.primitive.options
    declared = options.get("simulator", {}).get("seed_simulator", options.get("seed_estimator"))
    if declared is None:
        return request.seed
    return as_int(np.random.SeedSequence([request.seed, declared]))


def _default_precision(primitive: PrimitiveSpec) -> float:
    shots = primitive.options.get("default_shots") or _DEFAULT_SHOTS
    declared = primitive.precision or primitive.options.get("default_precision")
    return float(declared or 1 / math.sqrt(shots))


def _sampler_circuits(pub: Pub) -> int:
    return pub.parameter_values.size


def _estimator_circuits(pub: EstimatorPub) -> int:
    """Number of circuits that `BackendEstimatorV2` measures: bases of all parameter sets."""
    shape = pub.parameter_values.shape
    sets = np.fromiter(np.ndindex(shape), dtype=object).reshape(shape)
    terms: dict[tuple[int, ...], set[str]] = {}
    for index, observable in np.broadcast(sets, pub.observables):
        terms.setdefault(index, set()).update(observable)
    return sum(_bases(frozenset(paulis)) for paulis in terms.values())


@lru_cache(maxsize=1024)
def _bases(paulis: frozenset[str]) -> int:
    from qiskit.quantum_info import PauliList

    return len(PauliList(sorted(paulis)).group_commuting(qubit_wise=True))
