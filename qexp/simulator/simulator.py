"""A backend as a simulator: one seed per call, and what was learnt of the noise is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.primitives import (
    BackendEstimatorV2,
    BackendSamplerV2,
    PrimitiveResult,
    PubResult,
    SamplerPubResult,
)
from qiskit.primitives.containers.estimator_pub import EstimatorPub, EstimatorPubLike
from qiskit.primitives.containers.sampler_pub import SamplerPub, SamplerPubLike
from qiskit.providers import BackendV2, Options
from qiskit_aer import __version__ as aer_version
from qiskit_aer.backends.aerbackend import AerBackend

from qexp.simulator.aer import GivenSimulator, SimulationError, run_aer
from qexp.simulator.estimation import Estimation
from qexp.simulator.methods import exact_objection
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.observables import count_circuits, group_into_bases
from qexp.simulator.sampling import Sampling
from qexp.simulator.seeds import as_int, child


class Simulator:
    """Simulates PUBs on a backend.

    It can be pickled, for worker processes, as long as the backend can: noise that was made for
    circuits so far is not part of it, and changes no result.

    Args:
        backend: An Aer simulator, which is used as it is; a backend with calibration data, whose
            active qubits are simulated with the noise of its target; or any other backend, which
            runs the circuits itself. It must not be changed afterwards.
    """

    def __init__(self, backend: BackendV2) -> None:
        self.backend = backend
        self._group = lru_cache(maxsize=1024)(group_into_bases)

    def __reduce__(self) -> tuple[type[Simulator], tuple[BackendV2]]:
        return type(self), (self.backend,)

    def sample(
        self, pubs: Iterable[SamplerPubLike], *, shots: int, seed: int
    ) -> PrimitiveResult[SamplerPubResult]:
        """Sample PUBs with the semantics of `BackendSamplerV2`.

        Args:
            pubs: ISA PUBs.
            shots: Shots of the PUBs that carry none.
            seed: Decides every bit. PUBs and parameter sets have streams of their own, so that
                equal circuits get different shots.

        Raises:
            SimulationError: The simulator reports a failure.
        """
        coerced = [SamplerPub.coerce(pub, shots) for pub in pubs]
        if self._sampling is not None:
            return self._sampling.run(coerced, seed)
        return BackendSamplerV2(backend=_seeded(self.backend, seed)).run(coerced).result()

    def estimate(
        self, pubs: Iterable[EstimatorPubLike], *, precision: float, seed: int
    ) -> PrimitiveResult[PubResult]:
        """Estimate observables with the semantics of `BackendEstimatorV2`.

        Args:
            pubs: ISA PUBs.
            precision: Target standard error of the PUBs that carry none; 0 gives the exact
                expectation values of the noisy circuits.
            seed: Decides all samples. PUBs and parameter sets have streams of their own.

        Raises:
            SimulationError: The simulator reports a failure, or a PUB of precision 0 has no exact
                expectation values, see `exact_objection`.
        """
        coerced = [EstimatorPub.coerce(pub, precision) for pub in pubs]
        if self._estimation is not None:
            return self._estimation.run(coerced, seed)
        for pub in coerced:
            if not pub.precision:
                raise SimulationError(f"circuit '{pub.circuit.name}': {self.exact_objection(pub)}")
        return BackendEstimatorV2(backend=_seeded(self.backend, seed)).run(coerced).result()

    def exact_objection(self, pub: EstimatorPub) -> str | None:
        """Return why a PUB has no exact expectation values, as a clause about it, or None."""
        if self._device is None:
            return (
                f"backend {self.backend.name} simulates itself, which gives no exact expectation "
                f"values"
            )
        return exact_objection(pub, self._device)

    def count_circuits(self, pub: EstimatorPub) -> int:
        """Return how many circuits are measured for a PUB: the bases of every parameter set."""
        return count_circuits(pub, self._group)

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """Name, method and version of the simulator."""
        if self._device is None:
            return {"simulator": self.backend.name}
        if isinstance(self._device, GivenSimulator):
            name, method = self.backend.name, self._device.method
        else:
            name, method = f"aer_simulator_from({self.backend.name})", "automatic"
        return {"simulator": name, "simulator_method": method, "aer_version": aer_version}

    @cached_property
    def _device(self) -> NoisyDevice | GivenSimulator | None:
        """What Aer simulates; None for a backend that runs the circuits itself."""
        if isinstance(self.backend, AerBackend):
            return GivenSimulator(self.backend)
        properties = getattr(self.backend, "properties", None)
        if not callable(properties) or properties() is None:
            return None
        return NoisyDevice(self.backend)

    @cached_property
    def _sampling(self) -> Sampling | None:
        return None if self._device is None else Sampling(self._device)

    @cached_property
    def _estimation(self) -> Estimation | None:
        return None if self._device is None else Estimation(self._device, self._group)


def _seeded(backend: BackendV2, seed: int) -> BackendV2:
    """Return a view of a backend that runs itself, whose runs are decided by one seed.

    Each run gets another seed: Qiskit's primitives make one run per value of shots, all with the
    same seed. A run that fails raises `SimulationError`; the primitives would return zeros for it.
    """
    sequence = np.random.SeedSequence(seed)
    runs = count()

    class Seeded(BackendV2):
        @cached_property
        def target(self) -> Any:
            return backend.target

        @property
        def max_circuits(self) -> int | None:
            return backend.max_circuits

        @classmethod
        def _default_options(cls) -> Options:
            return Options()

        def run(self, run_input: list[QuantumCircuit], **options: Any) -> Any:
            options["seed_simulator"] = as_int(child(sequence, next(runs)))
            result = run_aer(backend, run_input, **options)
            return SimpleNamespace(result=lambda: result)

    return Seeded(name=backend.name)
