"""Estimator PUBs on a simulated device: expectation values from sampled shots, or exact.

The semantics are those of Qiskit's `BackendEstimatorV2`: the Paulis that a parameter set needs are
grouped into bases that commute qubit by qubit, each basis is measured with as many shots as the
precision asks for, and standard errors are those of these shots. Only the cost differs: a state
that can be evolved is evolved once per parameter set, whatever is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives import (
    BackendEstimatorV2,
    BaseEstimatorV2,
    DataBin,
    PrimitiveJob,
    PrimitiveResult,
    PubResult,
)
from qiskit.primitives.containers.estimator_pub import EstimatorPub, EstimatorPubLike
from qiskit.providers import BackendV2

from qexp.simulator.aer import SimulationError, as_int, child
from qexp.simulator.devices import Device, SelfRunning, make_device
from qexp.simulator.methods import KEPT_CHOICES, Choice, Methods, exact_objection
from qexp.simulator.observables import (
    Moments,
    count_circuits,
    group_into_bases,
    restricted_observables,
    selections,
    shots_for,
)
from qexp.simulator.parts import PART, Part
from qexp.simulator.protocols import Measurement, Prediction
from qexp.simulator.states import PURE, EvolvedStates, evolve_pure
from qexp.simulator.trajectories import SampledCircuits

_ByTerm: TypeAlias = dict[str, NDArray[np.float64]]


class NoisyEstimator(BaseEstimatorV2):
    """Estimates observables with the noise of a backend.

    Example:
        >>> estimator = NoisyEstimator(FakeManilaV2(), default_precision=0)  # no shot noise
        >>> evs = estimator.run([(isa_circuit, isa_observables)]).result()[0].data.evs

    Args:
        backend: See `NoisySampler`.
        default_precision: Target standard error of PUBs that carry none, where `run` has none
            either. 0 gives the exact expectation values of the noisy circuits.
        seed: See `NoisySampler`.
        method: See `NoisySampler`.
    """

    def __init__(
        self,
        backend: BackendV2 | Device | SelfRunning,
        *,
        default_precision: float = 0.015625,
        seed: int | None = None,
        method: str | None = None,
    ) -> None:
        self._device = make_device(backend)
        self._method = method
        self._default_precision = default_precision
        self._seed = seed
        self._group = lru_cache(maxsize=1024)(group_into_bases)
        if not isinstance(self._device, SelfRunning):
            self._methods = Methods(self._device, method, self._group)
            # By the very PUB: whoever asks for the method of one has it estimated next.
            self._choose = lru_cache(maxsize=KEPT_CHOICES)(self._methods.for_estimation)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle device and arguments, without the noise, which is made again as it was."""
        make = partial[Any](type(self), self._device, default_precision=self._default_precision)
        return partial(make, seed=self._seed, method=self._method), ()

    def run(
        self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None
    ) -> PrimitiveJob[PrimitiveResult[PubResult]]:
        """Estimate observables in a thread.

        Args:
            pubs: ISA PUBs.
            precision: Target standard error of the PUBs that carry none; 0 is exact.

        Returns:
            A job. Its `result()` raises `SimulationError` where the simulation fails or a PUB has
            no exact expectation values.
        """
        precision = self._default_precision if precision is None else precision
        coerced = [EstimatorPub.coerce(pub, precision) for pub in pubs]
        seed = as_int(np.random.SeedSequence()) if self._seed is None else self._seed
        job = PrimitiveJob(self.estimate, coerced, precision=precision, seed=seed)
        job._submit()
        return job

    def estimate(
        self,
        pubs: Iterable[EstimatorPubLike],
        *,
        precision: float,
        seed: int,
        only: range | None = None,
        sets: range | None = None,
    ) -> PrimitiveResult[PubResult]:
        """Estimate observables in this thread.

        Args:
            pubs: ISA PUBs. Where their precision is 0, expectation values keep the noise of the
                device, have the standard error 0, and 0 `shots` in their metadata.
            precision: Target standard error of the PUBs that carry none.
            seed: Decides all samples. PUBs and parameter sets have streams of their own.
            only: Indices of the PUBs to estimate, see `NoisySampler.sample`; None: all.
            sets: Those of its parameter sets, in an order of their own, see `NoisySampler.sample`.

        Raises:
            SimulationError: The simulator reports a failure, or a PUB has no exact expectation
                values.
        """
        coerced = [EstimatorPub.coerce(pub, precision) for pub in pubs]
        wanted = range(len(coerced)) if only is None else only
        device, sequence = self._device, np.random.SeedSequence(seed)
        if not isinstance(device, SelfRunning):
            results = [self._estimate(coerced[k], device, child(sequence, k), sets) for k in wanted]
            return PrimitiveResult(results, metadata={"version": 2})
        for pub in coerced:
            if not pub.precision:
                raise SimulationError(f"circuit '{pub.circuit.name}': {self.exact_objection(pub)}")
        done = BackendEstimatorV2(backend=device.seeded(seed)).run(coerced).result()
        return PrimitiveResult([done[k] for k in wanted], metadata=done.metadata)

    def predict(self, pub: EstimatorPubLike, *, precision: float) -> Prediction:
        """Predict by which method a PUB is estimated, and what that costs.

        Raises:
            SimulationError: See `estimate`.
        """
        if isinstance(self._device, SelfRunning):
            return Prediction("own", None, on_aer=True)
        return self._chosen(EstimatorPub.coerce(pub, precision))[0].prediction

    def block_sets(self, pub: EstimatorPubLike, *, precision: float) -> int:
        """Return the size of the blocks of parameter sets, see `NoisySampler.block_sets`."""
        coerced, device = EstimatorPub.coerce(pub, precision), self._device
        if isinstance(device, SelfRunning):
            return coerced.parameter_values.size
        return self._measurement(coerced, device, np.random.SeedSequence(0)).chunk

    def objection(self, pub: EstimatorPub, *, exact: bool) -> str | None:
        """Return why the only method cannot estimate a PUB, as a clause about it, or None."""
        if isinstance(self._device, SelfRunning):
            return None
        return self._methods.objection(pub, exact=exact)

    def exact_objection(self, pub: EstimatorPub) -> str | None:
        """Return why a PUB has no exact expectation values, as a clause about it, or None."""
        if isinstance(self._device, SelfRunning):
            name = self._device.backend.name
            return f"backend {name} simulates itself, which gives no exact expectation values"
        return exact_objection(pub, self._device)

    def count_circuits(self, pub: EstimatorPub) -> int:
        """Return the number of circuits of a PUB: the bases of every parameter set."""
        return count_circuits(pub, self._group)

    def _chosen(self, pub: EstimatorPub) -> tuple[Choice, int | None]:
        """Return the method of a PUB, and the shots of each basis and set; None: exact values."""
        shots = shots_for(pub.precision) if pub.precision else None
        return self._choose(pub, shots), shots

    def _estimate(
        self,
        pub: EstimatorPub,
        device: Device,
        sequence: np.random.SeedSequence,
        sets: range | None,
    ) -> PubResult:
        choice, shots = self._chosen(pub)
        measurement = self._measurement(pub, device, sequence)
        places, (evs, spreads) = self._combine(pub, choice.active.qubits, measurement, sets)
        stds = spreads / np.sqrt(shots) if shots else np.zeros_like(spreads)
        metadata = {
            "target_precision": pub.precision,
            "shots": shots or 0,
            "circuit_metadata": pub.circuit.metadata,
            **choice.approximated_noise,
        }
        if places is not None:
            metadata[PART] = Part(pub.shape, places)
        return PubResult(DataBin(evs=evs, stds=stds, shape=evs.shape), metadata=metadata)

    def _measurement(
        self, pub: EstimatorPub, device: Device, sequence: np.random.SeedSequence
    ) -> Measurement:
        """Return the PUB's circuit in the form that the method measures."""
        choice, shots = self._chosen(pub)
        if choice.simulation is not None:
            return choice.simulation.measurement(sequence)
        sets, parameters = pub.parameter_values, pub.circuit.parameters
        rows = sets.as_array(parameters).reshape(sets.size, len(parameters))
        columns = dict(zip(parameters, rows.T, strict=True))
        circuit, qubits = choice.active.circuit, choice.active.qubits
        if choice.method == "pure_state":
            evolve = evolve_pure(circuit, columns, device)
            return EvolvedStates(evolve, [PURE] * len(qubits), shots, sequence)
        assert shots is not None
        return SampledCircuits(choice, columns, device, shots, sequence)

    def _combine(
        self,
        pub: EstimatorPub,
        qubits: Sequence[int],
        measurement: Measurement,
        wanted: range | None,
    ) -> tuple[NDArray[np.intp] | None, Moments]:
        """Return expectation values, and their standard errors times the root of the shots.

        As in `BackendEstimatorV2`, the errors of an observable's terms add up as if all were fully
        correlated: `sum_k |a_k| sqrt(Var(P_k))`.

        Returns:
            Flat indices of those of the wanted parameter sets, or None: in the PUB's shape.
        """
        observables = restricted_observables(pub, qubits)
        selected = selections(pub)
        evs, spreads = np.zeros((2, pub.size))
        # Sets with equal observables are measured together, in chunks that fit the memory.
        order = np.argsort(selected.of_set, kind="stable")
        order = order if wanted is None else order[wanted.start : wanted.stop]
        for start in range(0, len(order), measurement.chunk):
            chunk = order[start : start + measurement.chunk]
            measurement.prepare(chunk)
            for row in np.unique(selected.of_set[chunk]):
                sets = chunk[selected.of_set[chunk] == row]
                terms = [observables[index] for index in selected.observables[row]]
                means, deviations = self._measure_terms(measurement, sets, terms)
                for observable, places in zip(terms, selected.positions[sets].T, strict=True):
                    for term, coefficient in observable.items():
                        evs[places] += coefficient * means[term]
                        spreads[places] += abs(coefficient) * deviations[term]
        if len(order) == pub.parameter_values.size:
            return None, (evs.reshape(pub.shape), spreads.reshape(pub.shape))
        places = selected.positions[order].ravel()
        return places, (evs[places], spreads[places])

    def _measure_terms(
        self,
        measurement: Measurement,
        sets: NDArray[np.intp],
        observables: Sequence[dict[str, float]],
    ) -> tuple[_ByTerm, _ByTerm]:
        """Return the mean and the standard deviation of each term, shape `(sets,)`."""
        bases = self._group(frozenset(term for each in observables for term in each))
        means: _ByTerm = {}
        deviations: _ByTerm = {}
        for basis, (mean, variance) in zip(bases, measurement.measure(sets, bases), strict=True):
            means.update(zip(basis.terms, mean.T, strict=True))
            deviations.update(zip(basis.terms, np.sqrt(variance).T, strict=True))
        return means, deviations
