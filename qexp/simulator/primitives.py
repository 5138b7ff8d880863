"""Qiskit's V2 primitives on a simulated device."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from qiskit.primitives import (
    BaseEstimatorV2,
    BaseSamplerV2,
    PrimitiveJob,
    PrimitiveResult,
    PubResult,
    SamplerPubResult,
)
from qiskit.primitives.containers.estimator_pub import EstimatorPub, EstimatorPubLike
from qiskit.primitives.containers.sampler_pub import SamplerPub, SamplerPubLike
from qiskit.providers import BackendV2

from qexp.simulator.seeds import as_int
from qexp.simulator.simulator import Simulator


class NoisySampler(BaseSamplerV2):
    """Samples circuits with the noise of a backend.

    Example:
        >>> sampler = NoisySampler(FakeManilaV2(), seed=7)
        >>> counts = sampler.run([isa_circuit], shots=1000).result()[0].data.meas.get_counts()

    Args:
        backend: See `Simulator`; or a `Simulator`, whose noise is then shared.
        default_shots: Shots where neither `run` nor the PUB says.
        seed: Decides every bit, the same in each `run`; None: another seed each time.
    """

    def __init__(
        self, backend: BackendV2 | Simulator, *, default_shots: int = 1024, seed: int | None = None
    ) -> None:
        self._simulator = backend if isinstance(backend, Simulator) else Simulator(backend)
        self._default_shots = default_shots
        self._seed = seed

    def run(
        self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None
    ) -> PrimitiveJob[PrimitiveResult[SamplerPubResult]]:
        """Sample PUBs.

        Args:
            pubs: ISA PUBs.
            shots: Shots of the PUBs that carry none.

        Returns:
            A job. Its `result()` raises `SimulationError` where the simulation fails.
        """
        shots = self._default_shots if shots is None else shots
        coerced = [SamplerPub.coerce(pub, shots) for pub in pubs]
        job = PrimitiveJob(self._simulator.sample, coerced, shots=shots, seed=_seed(self._seed))
        job._submit()
        return job


class NoisyEstimator(BaseEstimatorV2):
    """Estimates observables with the noise of a backend.

    Example:
        >>> estimator = NoisyEstimator(FakeManilaV2(), default_precision=0)  # no shot noise
        >>> evs = estimator.run([(isa_circuit, isa_observables)]).result()[0].data.evs

    Args:
        backend: See `NoisySampler`.
        default_precision: Target standard error where neither `run` nor the PUB says. 0 gives the
            exact expectation values of the noisy circuits.
        seed: See `NoisySampler`.
    """

    def __init__(
        self,
        backend: BackendV2 | Simulator,
        *,
        default_precision: float = 0.015625,
        seed: int | None = None,
    ) -> None:
        self._simulator = backend if isinstance(backend, Simulator) else Simulator(backend)
        self._default_precision = default_precision
        self._seed = seed

    def run(
        self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None
    ) -> PrimitiveJob[PrimitiveResult[PubResult]]:
        """Estimate observables.

        Args:
            pubs: ISA PUBs.
            precision: Target standard error of the PUBs that carry none; 0 is exact.

        Returns:
            A job. Its `result()` raises `SimulationError` where the simulation fails or a PUB has
            no exact expectation values.
        """
        precision = self._default_precision if precision is None else precision
        coerced = [EstimatorPub.coerce(pub, precision) for pub in pubs]
        job = PrimitiveJob(
            self._simulator.estimate, coerced, precision=precision, seed=_seed(self._seed)
        )
        job._submit()
        return job


def _seed(seed: int | None) -> int:
    return as_int(np.random.SeedSequence()) if seed is None else seed
