"""Expectation values of Estimator PUBs, from sampled shots or exact.

The semantics are those of Qiskit's `BackendEstimatorV2`: the Paulis that a parameter set needs are
grouped into bases that commute qubit by qubit, each basis is measured with as many shots as the
precision asks for, and standard errors are those of these shots. Only the cost differs: a state
that can be evolved is evolved once per parameter set, whatever is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives import DataBin, PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from qexp.simulator.aer import GivenSimulator
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.methods import Choice, choose_for_estimation
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.observables import (
    Basis,
    Moments,
    group_into_bases,
    restricted_observables,
    selections,
    shots_for,
)
from qexp.simulator.seeds import child
from qexp.simulator.states import PURE, EvolvedStates, NoisyOperators, evolve_noisy, evolve_pure
from qexp.simulator.trajectories import SampledCircuits

_ByTerm: TypeAlias = dict[str, NDArray[np.float64]]


class Measurement(Protocol):
    """A circuit with parameter sets that can be measured in any basis."""

    @property
    def chunk(self) -> int:
        """How many parameter sets to prepare at a time."""
        ...

    def prepare(self, sets: NDArray[np.intp]) -> None:
        """Get ready to measure these parameter sets."""
        ...

    def measure(self, sets: NDArray[np.intp], bases: Sequence[Basis]) -> list[Moments]:
        """Return the moments of each basis for some of the prepared sets."""
        ...


class Estimation:
    """Estimates observables on one device.

    Args:
        device: A noisy device, or an Aer simulator that is used as it is.
        group: Groups terms into bases, see `group_into_bases`.
    """

    def __init__(
        self,
        device: NoisyDevice | GivenSimulator,
        group: Callable[[frozenset[str]], tuple[Basis, ...]] = group_into_bases,
    ) -> None:
        self._device = device
        self._group = group
        if isinstance(device, NoisyDevice):
            self._density_matrix = DensityMatrix(device)
            self._operators = NoisyOperators(device)

    def run(self, pubs: Sequence[EstimatorPub], seed: int) -> PrimitiveResult[PubResult]:
        """Estimate the observables of PUBs.

        Args:
            pubs: ISA PUBs with a precision: the target standard error, or 0 for exact expectation
                values. Those keep the noise of the device, have the standard error 0, and have 0
                `shots` in their metadata.
            seed: Decides all samples. PUBs and parameter sets have streams of their own.

        Returns:
            Data and metadata as `BackendEstimatorV2` returns them.

        Raises:
            SimulationError: Aer reports a failure, or a PUB has no exact expectation values.
        """
        sequence = np.random.SeedSequence(seed)
        results = [self._estimate(pub, child(sequence, k)) for k, pub in enumerate(pubs)]
        return PrimitiveResult(results, metadata={"version": 2})

    def _estimate(self, pub: EstimatorPub, sequence: np.random.SeedSequence) -> PubResult:
        shots = shots_for(pub.precision) if pub.precision else None
        choice = choose_for_estimation(pub, self._device, shots)
        measurement = self._measurement(pub, choice, shots, sequence)
        evs, spreads = self._combine(pub, choice.active.qubits, measurement)
        stds = spreads / np.sqrt(shots) if shots else np.zeros_like(spreads)
        return PubResult(
            DataBin(evs=evs, stds=stds, shape=pub.shape),
            metadata={
                "target_precision": pub.precision,
                "shots": shots or 0,
                "circuit_metadata": pub.circuit.metadata,
            },
        )

    def _measurement(
        self,
        pub: EstimatorPub,
        choice: Choice,
        shots: int | None,
        sequence: np.random.SeedSequence,
    ) -> Measurement:
        """Return the PUB's circuit, ready for the method that was chosen."""
        sets, parameters = pub.parameter_values, pub.circuit.parameters
        rows = sets.as_array(parameters).reshape(sets.size, len(parameters))
        columns = dict(zip(parameters, rows.T, strict=True))
        circuit, qubits = choice.active.circuit, choice.active.qubits
        if choice.plain is not None:
            operators = [self._operators.of_qubit(qubit) for qubit in qubits]
            evolve = evolve_noisy(choice.plain, rows, self._density_matrix)
            return EvolvedStates(evolve, operators, shots, sequence)
        if choice.method == "pure_state":
            evolve = evolve_pure(circuit, columns, self._device)
            return EvolvedStates(evolve, [PURE] * len(qubits), shots, sequence)
        assert shots is not None
        method = None if choice.method == "given" else choice.method
        return SampledCircuits(circuit, columns, qubits, self._device, method, shots, sequence)

    def _combine(
        self, pub: EstimatorPub, qubits: Sequence[int], measurement: Measurement
    ) -> Moments:
        """Return expectation values, and their standard errors times the root of the shots.

        As in `BackendEstimatorV2`, the errors of an observable's terms add up as if all were fully
        correlated: `sum_k |a_k| sqrt(Var(P_k))`.
        """
        observables = restricted_observables(pub, qubits)
        selected = selections(pub)
        evs, spreads = np.zeros((2, pub.size))
        # Sets with equal observables are measured together, in chunks that fit the memory.
        order = np.argsort(selected.of_set, kind="stable")
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
        return evs.reshape(pub.shape), spreads.reshape(pub.shape)

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
