"""The one place where a simulation method is chosen for each circuit.

The costs are rough times in microseconds, measured once on one core. Only their order matters, and
the choice must not depend on the machine: the method decides which shots a seed gives.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from qiskit import QuantumCircuit
from qiskit.circuit import Gate
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.simulator.aer import SimulationError
from qexp.simulator.circuits import ActiveCircuit, PlainCircuit, as_plain, restrict_to_active
from qexp.simulator.clifford import CliffordCompiler, NoCliffordError, Program
from qexp.simulator.devices import Device, GivenSimulator
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.observables import support

Method: TypeAlias = Literal[
    "density_matrix",  # the noisy state is evolved once (`density_matrix`)
    "clifford",  # frames of Paulis (`clifford`)
    "pure_state",  # the state without noise is evolved once, by Aer
    "statevector",  # one state per shot, by Aer
    "matrix_product_state",  # the same
    "automatic",  # Aer chooses
    "given",  # the method of a given Aer simulator
]

# A density matrix of 32 MiB, of which there are a few copies; a pure state of 16 MiB.
MAX_NOISY_QUBITS = 11
MAX_PURE_QUBITS = 20

# A larger state vector does not fit the memory of an ordinary machine.
_MAX_STATEVECTOR_QUBITS = 26

# The methods of Aer that give what "pure_state" gives.
_PURE_METHODS = frozenset({"automatic", "statevector", "density_matrix"})

_EVOLVED = frozenset({"density_matrix", "pure_state"})


@dataclass(frozen=True)
class Choice:
    """The method for one circuit, with the circuit in the form that the method takes."""

    method: Method
    active: ActiveCircuit  # for Aer; its `qubits` are empty where it was not restricted
    plain: PlainCircuit | None = None  # for "density_matrix" alone
    program: Program | None = None  # for "clifford" alone

    @property
    def is_on_aer(self) -> bool:
        """Whether Aer runs the circuit."""
        return self.plain is None and self.program is None

    @property
    def aer_options(self) -> dict[str, str]:
        """Aer's option for the method; none for a given simulator, which has one."""
        return {} if self.method == "given" else {"method": self.method}


def choose_for_sampling(
    pub: SamplerPub, device: Device, compiler: CliffordCompiler | None = None
) -> Choice:
    """Choose the method that samples the shots of a PUB in the least time.

    Args:
        pub: The PUB.
        device: The device to simulate.
        compiler: Compiles its Clifford circuits; None: Aer runs them.
    """
    if isinstance(device, GivenSimulator):
        return Choice("given", ActiveCircuit(pub.circuit, ()))
    plain = as_plain(pub.circuit)
    if plain is not None and is_density_matrix_cheaper(plain, pub.shots):
        return Choice("density_matrix", ActiveCircuit(pub.circuit, ()), plain)
    if compiler is not None:
        with suppress(NoCliffordError):
            program = compiler.compile(pub.circuit)
            return Choice("clifford", ActiveCircuit(pub.circuit, ()), program=program)
    active = restrict_to_active(pub.circuit)
    return Choice(cheapest_trajectories(active.circuit), active)


def choose_for_estimation(pub: EstimatorPub, device: Device, shots: int | None) -> Choice:
    """Choose the method that estimates the observables of a PUB in the least time.

    Args:
        pub: The PUB.
        device: The device to simulate.
        shots: Shots per basis and parameter set; None for exact expectation values.

    Raises:
        SimulationError: The PUB has no exact expectation values, see `exact_objection`.
    """
    choice = _choose_evolution(pub, device)
    if shots is None:
        if choice.method not in _EVOLVED:
            raise SimulationError(f"circuit '{pub.circuit.name}': {exact_objection(pub, device)}")
        return choice
    plain = choice.plain
    if plain is None or not plain.gates or is_density_matrix_cheaper(plain, shots):
        return choice
    return _choose_trajectories(choice.active)


def exact_objection(pub: EstimatorPub, device: Device) -> str | None:
    """Return why a PUB has no exact expectation values, as a clause about its circuit, or None."""
    choice = _choose_evolution(pub, device)
    if choice.method in _EVOLVED:
        return None
    width = len(choice.active.qubits)
    limit = MAX_NOISY_QUBITS if isinstance(device, NoisyDevice) else MAX_PURE_QUBITS
    if width > limit:
        why = f"it acts on {width} qubits, and at most {limit} qubits"
    elif isinstance(device, GivenSimulator) and not _is_plain_aer(device):
        why = "the simulator has a noise model or method of its own, and only others"
    else:
        why = "it measures, is dynamic or has a delay of a parameter, and only plain circuits"
    return f"{why} have exact expectation values here"


def is_density_matrix_cheaper(plain: PlainCircuit, shots: int) -> bool:
    """Compare one evolution of the density matrix with a state vector per shot."""
    width = len(plain.qubits)
    if width > MAX_NOISY_QUBITS:
        return False
    density_matrix_us = 6 * plain.gates + (plain.pair_gates + width) * (25 + 0.004 * 4**width)
    return density_matrix_us < shots * plain.gates * _statevector_us(width)


def cheapest_trajectories(circuit: QuantumCircuit) -> Method:
    """Choose Aer's method for one state per shot.

    The cost of a matrix product state is that of its bond dimension, which at most doubles with
    every gate across the bond (gates on two qubits of IBM's devices have operator Schmidt rank 2)
    and is at most 2 to the number of qubits on its shorter side.
    """
    width = circuit.num_qubits
    if width > _MAX_STATEVECTOR_QUBITS:
        return "matrix_product_state"
    crossings = [0] * max(width - 1, 1)
    index = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    for instruction in circuit.data:
        if len(instruction.qubits) > 1:
            places = [index[qubit] for qubit in instruction.qubits]
            for bond in range(min(places), max(places)):
                crossings[bond] += 1
    ranks = [min(count, i + 1, width - 1 - i) for i, count in enumerate(crossings)]
    bond_dimension = 2 ** max(ranks)
    matrix_product_us = 10 + 0.1 * bond_dimension**3
    return "matrix_product_state" if matrix_product_us < _statevector_us(width) else "statevector"


def _choose_evolution(pub: EstimatorPub, device: Device) -> Choice:
    """Choose to evolve the state once where that is possible, else to run every shot."""
    # The noise of a given simulator belongs to its own qubit numbers.
    is_fixed = isinstance(device, GivenSimulator) and device.noise is not None
    keep = range(pub.circuit.num_qubits) if is_fixed else support(pub)
    active = restrict_to_active(pub.circuit, keep)
    width = len(active.qubits)
    if isinstance(device, GivenSimulator):
        is_pure = _is_plain_aer(device) and width <= MAX_PURE_QUBITS and _is_unitary(active.circuit)
        return Choice("pure_state" if is_pure else "given", active)
    plain = as_plain(pub.circuit) if width <= MAX_NOISY_QUBITS else None
    if plain is None or plain.measured:
        return _choose_trajectories(active)
    return Choice("density_matrix", active, replace(plain, qubits=active.qubits))


def _choose_trajectories(active: ActiveCircuit) -> Choice:
    """Choose how Aer runs every shot of an Estimator's circuit; narrow ones are left to it."""
    is_narrow = len(active.qubits) <= MAX_NOISY_QUBITS
    return Choice("automatic" if is_narrow else cheapest_trajectories(active.circuit), active)


def _is_plain_aer(device: GivenSimulator) -> bool:
    return device.noise is None and device.method in _PURE_METHODS


def _is_unitary(circuit: QuantumCircuit) -> bool:
    return all(
        instruction.is_standard_gate()
        or instruction.name in {"barrier", "delay"}
        or isinstance(instruction.operation, Gate)
        for instruction in circuit.data
    )


def _statevector_us(width: int) -> float:
    """Return the time of one gate in one shot, with its noise."""
    return 2 + 0.01 * 2.0**width
