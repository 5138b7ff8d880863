"""Expectation values on the embedded simulator: from sampled shots, or exact.

The semantics are those of Qiskit's `BackendEstimatorV2`: the Paulis that a parameter set needs are
grouped into bases that commute qubit by qubit, each basis is measured with as many shots as the
precision asks for, and the standard errors are those of these shots. What differs is the cost, see
`evolution.Evolved`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qexp.core.estimate import shots_for
from qexp.core.seeds import child
from qexp.engines.local.evolution import (
    TO_Z,
    Device,
    Evolved,
    Measured,
    Readers,
    Sampled,
    pauli_states,
    state_vectors,
)
from qexp.engines.local.exact import ExactDevice, as_final
from qexp.engines.local.methods import is_exact_cheaper, trajectories
from qexp.engines.local.observables import bases, pairs, restricted, support
from qexp.engines.local.reduced import ReducedDevice, reduce_circuit, run_aer
from qexp.errors import EngineError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.primitives import PrimitiveResult, PubResult
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.result import Result
    from qiskit_aer import AerSimulator
    from qiskit_aer.noise import NoiseModel

    from qexp.engines.local.exact import Final
    from qexp.engines.local.reduced import Reduced

# A state of 32 MiB, which is held a few times; a distribution of 8 MiB.
_MAX_NOISY_QUBITS = 11
_MAX_PURE_QUBITS = 20

# Of Aer's methods, those that give the same as what is used instead of them.
_EVOLVING_METHODS = frozenset({"automatic", "statevector", "density_matrix"})


class Estimation:
    """Estimates observables on one device; what it learns of the device's readout is kept.

    Args:
        device: A noisy device, of which the qubits that a circuit uses are simulated, or an Aer
            simulator, which is used as it is.
    """

    def __init__(self, device: ReducedDevice | AerSimulator) -> None:
        self._device: Device
        self._exact: ExactDevice | None = None
        if isinstance(device, ReducedDevice):
            self._device = device
            self._exact = ExactDevice(device)
            self._reduces = self._evolves = True
        else:
            self._device = _AsItIs(device)
            # The noise of a simulator belongs to its own numbers of qubits, and its method may
            # be what is to be seen.
            self._reduces = device.options.noise_model is None
            self._evolves = self._reduces and device.options.method in _EVOLVING_METHODS
        self._readers = Readers(self._device)

    def run(
        self, pubs: Iterable[EstimatorPub], *, precision: float, seed: int, exact: bool = False
    ) -> PrimitiveResult[PubResult]:
        """Estimate the observables of PUBs, noise included.

        Args:
            pubs: ISA PUBs.
            precision: Target standard error for PUBs that carry none, `> 0`.
            seed: Decides all samples; every PUB draws from a stream of its own.
            exact: Expectation values of the noisy circuits without the noise of sampling:
                standard errors are 0, precisions are ignored, and the metadata tell of
                `target_precision` 0 and of 0 `shots`.

        Raises:
            EngineError: A simulation failed, or `exact` was asked of what has an `objection`.
        """
        from qiskit.primitives import PrimitiveResult

        sequence = np.random.SeedSequence(seed)
        results = [
            self._estimate(pub, None if exact else pub.precision or precision, child(sequence, k))
            for k, pub in enumerate(pubs)
        ]
        return PrimitiveResult(results, metadata={"version": 2})

    def objection(self, pub: EstimatorPub) -> str | None:
        """Why a PUB has no exact expectation values here, said of its circuit; None if it has."""
        reduced = self._reduced(pub)
        if self._final(pub.circuit, reduced) is not None or self._is_pure(reduced):
            return None
        limit = _MAX_PURE_QUBITS if self._exact is None else _MAX_NOISY_QUBITS
        if len(reduced.qubits) > limit:
            why = f"it acts on {len(reduced.qubits)} qubits, and at most {limit} qubits"
        elif not self._evolves:
            why = "the simulator has a noise model or method of its own, and only others"
        else:
            why = "it measures, is dynamic or has a delay of a parameter, and only plain circuits"
        return (
            f"{why} have exact expectation values here; set "
            f"engine.exact_expectation_values=false to sample them"
        )

    def _estimate(
        self, pub: EstimatorPub, precision: float | None, sequence: np.random.SeedSequence
    ) -> PubResult:
        from qiskit.primitives import DataBin, PubResult

        shots = None if precision is None else shots_for(precision)
        reduced = self._reduced(pub)
        evs, spreads = _combined(pub, reduced.qubits, self._measured(pub, reduced, shots, sequence))
        stds = spreads / np.sqrt(shots) if shots else np.zeros_like(spreads)
        return PubResult(
            DataBin(evs=evs, stds=stds, shape=pub.shape),
            metadata={
                "target_precision": precision or 0.0,
                "shots": shots or 0,
                "circuit_metadata": pub.circuit.metadata,
            },
        )

    def _measured(
        self,
        pub: EstimatorPub,
        reduced: Reduced,
        shots: int | None,
        sequence: np.random.SeedSequence,
    ) -> Measured:
        """The cheapest way to simulate a PUB's circuit."""
        sets, parameters = pub.parameter_values, pub.circuit.parameters
        rows = sets.as_array(parameters).reshape(sets.size, len(parameters))
        columns = dict(zip(parameters, rows.T, strict=True))
        circuit, qubits, width = reduced.circuit, reduced.qubits, len(reduced.qubits)
        final = self._final(pub.circuit, reduced)
        if self._exact is not None and final is not None and _is_worthwhile(final, shots):
            evolve = pauli_states(final, rows, self._exact)
            readers = [self._readers.of(qubit) for qubit in qubits]
            return Evolved(evolve, readers, shots, sequence)
        if self._is_pure(reduced):
            evolve_purely = state_vectors(circuit, columns, self._device)
            return Evolved(evolve_purely, [TO_Z] * width, shots, sequence)
        if shots is None:
            raise EngineError(f"Circuit '{circuit.name}': {self.objection(pub)}")
        model = self._device.noise_model(qubits)
        gates = None if model.is_ideal() else model.basis_gates
        options: dict[str, Any] = {}
        if self._exact is not None:
            # Worker processes are what runs in parallel with a noisy device, not threads.
            options["max_parallel_threads"] = 1
            # Aer itself knows about narrow circuits.
            options["method"] = trajectories(circuit) if width > _MAX_NOISY_QUBITS else "automatic"
        return Sampled(circuit, columns, qubits, self._device, options, gates, shots, sequence)

    def _reduced(self, pub: EstimatorPub) -> Reduced:
        keep = support(pub) if self._reduces else range(pub.circuit.num_qubits)
        return reduce_circuit(pub.circuit, keep)

    def _final(self, circuit: QuantumCircuit, reduced: Reduced) -> Final | None:
        """The circuit as one whose state is evolved with noise, if it can be."""
        if self._exact is None or len(reduced.qubits) > _MAX_NOISY_QUBITS:
            return None
        return _evolvable(circuit, reduced.qubits)

    def _is_pure(self, reduced: Reduced) -> bool:
        """Whether a state vector says it all."""
        narrow = len(reduced.qubits) <= _MAX_PURE_QUBITS
        return self._exact is None and self._evolves and narrow and _is_unitary(reduced.circuit)


def _combined(
    pub: EstimatorPub, qubits: Sequence[int], measured: Measured
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expectation values, and their standard errors times the square root of the shots.

    As in `BackendEstimatorV2`, the errors of an observable's terms add up as if all were fully
    correlated: `sum_k |a_k| sqrt(Var(P_k))`.
    """
    observables = restricted(pub, qubits)
    met, places = pairs(pub)
    selections, selection_of = np.unique(met, axis=0, return_inverse=True)
    selection_of = selection_of.reshape(-1)
    evs, spreads = np.zeros((2, pub.size))
    # Sets with equal observables are measured together, in chunks of what fits the memory.
    order = np.argsort(selection_of, kind="stable")
    for start in range(0, len(order), measured.chunk):
        chunk = order[start : start + measured.chunk]
        measured.take(chunk)
        for number in np.unique(selection_of[chunk]):
            sets = chunk[selection_of[chunk] == number]
            selected = [observables[index] for index in selections[number]]
            needed = bases(frozenset(term for one in selected for term in one))
            means: dict[str, Any] = {}
            deviations: dict[str, Any] = {}
            for basis, (mean, variance) in zip(needed, measured.measure(sets, needed), strict=True):
                means.update(zip(basis.terms, mean.T, strict=True))
                deviations.update(zip(basis.terms, np.sqrt(variance).T, strict=True))
            for observable, place in zip(selected, places[sets].T, strict=True):
                for term, coefficient in observable.items():
                    evs[place] += coefficient * means[term]
                    spreads[place] += abs(coefficient) * deviations[term]
    return evs.reshape(pub.shape), spreads.reshape(pub.shape)


def _evolvable(circuit: QuantumCircuit, qubits: tuple[int, ...]) -> Final | None:
    """The circuit on these of its qubits, if its state can be evolved with noise."""
    from qiskit.circuit import ParameterExpression

    final = as_final(circuit)
    # The noise of a delay is made from a number.
    if (
        final is None
        or final.measured
        or any(
            isinstance(instruction.params[0], ParameterExpression)
            for instruction in circuit.data
            if instruction.name == "delay"
        )
    ):
        return None
    return replace(final, qubits=qubits)


def _is_worthwhile(final: Final, shots: int | None) -> bool:
    return shots is None or not final.gates or is_exact_cheaper(final, shots)


def _is_unitary(circuit: QuantumCircuit) -> bool:
    from qiskit.circuit import Gate

    return all(
        instruction.is_standard_gate()
        or instruction.name in {"barrier", "delay"}
        or isinstance(instruction.operation, Gate)
        for instruction in circuit.data
    )


class _AsItIs:
    """An Aer simulator that decides itself about noise and method."""

    def __init__(self, simulator: AerSimulator) -> None:
        self._simulator = simulator

    def run(
        self,
        circuits: Sequence[QuantumCircuit],
        qubits: tuple[int, ...],  # noqa: ARG002 - part of the protocol
        **options: Any,
    ) -> Result:
        return run_aer(self._simulator, circuits, **options)

    def noise_model(
        self,
        qubits: tuple[int, ...],  # noqa: ARG002 - part of the protocol
    ) -> NoiseModel:
        from qiskit_aer.noise import NoiseModel

        return self._simulator.options.noise_model or NoiseModel()
