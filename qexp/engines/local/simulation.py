"""Simulation of jobs with Qiskit's backend primitives on one `AerSimulator`."""

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
from qexp.errors import EngineError

if TYPE_CHECKING:
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub

# Aer seeds circuit k of a run with seed + 2113 k and, where it simulates shot by shot, shot j of
# that circuit with seed + 2113 k + j (src/controllers/controller_execute.hpp of Qiskit Aer).
_AER_SEED_STRIDE = 2113

_DEFAULT_SHOTS = 4096


class Simulation:
    """Runs jobs on a backend; the simulator and its noise model are made once.

    Args:
        backend: An Aer simulator, which is used as it is; a backend with calibration data, which
            is simulated with the noise that they tell; or any other backend, which runs itself.
    """

    def __init__(self, backend: BackendV2) -> None:
        self._backend = backend

    def run(self, request: JobRequest, pubs: Sequence[Pub]) -> Simulated:
        """Simulate one job: all circuits with equal shots in one call, seeded by the job's seed.

        Raises:
            EngineError: If the simulator reports a failure.
        """
        from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2

        options = options_in_force(request)
        backend = seeded(self._simulator, _seed(request))
        if request.primitive.kind == "sampler":
            sampler = BackendSamplerV2(
                backend=backend, options={"default_shots": options["default_shots"]}
            )
            result: Any = sampler.run(pubs).result()
            executions: Callable[[Any], int] = _sampler_circuits
        else:
            estimator = BackendEstimatorV2(
                backend=backend, options={"default_precision": options["default_precision"]}
            )
            result = estimator.run(pubs).result()
            executions = _estimator_circuits
        return Simulated(
            result=result,
            executions=tuple(
                executions(pub) * pub_result.metadata["shots"]
                for pub, pub_result in zip(pubs, result, strict=True)
            ),
            options=options,
            backend_properties=self._properties,
            info=self._info,
        )

    @cached_property
    def _simulator(self) -> BackendV2:
        from qiskit_aer import AerSimulator

        if _is_aer(self._backend) or self._properties is None:
            return self._backend
        return AerSimulator.from_backend(self._backend)

    @cached_property
    def _properties(self) -> Mapping[str, Any] | None:
        return calibration(self._backend)

    @cached_property
    def _info(self) -> Mapping[str, Any]:
        if not _is_aer(self._simulator):
            return {"simulator": self._simulator.name}
        from qiskit_aer import __version__

        return {
            "simulator": self._simulator.name,
            "simulator_method": self._simulator.options.method,
            "aer_version": __version__,
        }


def options_in_force(request: JobRequest) -> dict[str, Any]:
    """What the simulation does, in the terms of IBM's options, whatever was declared."""
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
    """A view of a simulator whose runs are decided by one seed and never share random numbers.

    Every run gets a seed of its own: Qiskit's primitives make one run per value of shots, all
    with the same seed. Within a run on Aer, empty circuits are put between the circuits, so
    that the seeds of the shots of two circuits do not overlap: without them, shot 2113 of a
    circuit equals shot 0 of the next one, where both are the same circuit and Aer simulates
    shot by shot. The empty circuits cost next to nothing.

    A run that fails raises `EngineError`; the primitives would return zeros for it.
    """
    from qiskit import QuantumCircuit
    from qiskit.providers import BackendV2, Options

    sequence = np.random.SeedSequence(seed)
    runs = count()
    aer = _is_aer(simulator)

    class Seeded(BackendV2):
        @cached_property
        def target(self) -> Any:
            return simulator.target

        @property
        def max_circuits(self) -> int | None:
            return None if aer else simulator.max_circuits

        @classmethod
        def _default_options(cls) -> Options:
            return Options()

        def run(self, run_input: list[QuantumCircuit], **options: Any) -> Any:
            options["seed_simulator"] = as_int(child(sequence, next(runs)))
            stride = math.ceil(options["shots"] / _AER_SEED_STRIDE) if aer else 1
            spacing = [QuantumCircuit(1)] * (stride - 1)
            spaced = [circuit for real in run_input for circuit in (real, *spacing)]
            result = simulator.run(spaced, **options).result()
            if not result.success:
                failed = [str(one.status) for one in result.results if not one.success]
                raise EngineError(f"Simulation failed: {'; '.join(failed) or result.status}")
            result.results = result.results[::stride]
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
