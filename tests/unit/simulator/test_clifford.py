from __future__ import annotations

import math

import numpy as np
import pytest
import stim
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Gate, Parameter
from qiskit.circuit.library import (
    CXGate,
    CZGate,
    ECRGate,
    HGate,
    IGate,
    PhaseGate,
    RXGate,
    RZGate,
    RZZGate,
    SdgGate,
    SGate,
    SwapGate,
    SXdgGate,
    SXGate,
    XGate,
    YGate,
    ZGate,
)
from qiskit.quantum_info import Operator

from qexp.engines.local.backends import fake
from qexp.engines.local.lattice import lattice
from qexp.simulator.clifford import CliffordCompiler, NoCliffordError
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.noise import NoisyDevice


def compiler_of(device: NoisyDevice, *, approximate: bool = False) -> CliffordCompiler:
    return CliffordCompiler(device, DensityMatrix(device), approximate=approximate)


LATTICE = compiler_of(NoisyDevice(lattice(2, 3)))
TORINO = NoisyDevice(fake("fake_torino"))

GATES = [
    *(gate() for gate in (IGate, XGate, YGate, ZGate, SGate, SdgGate, SXGate, SXdgGate, HGate)),
    *(gate() for gate in (CZGate, CXGate, ECRGate, SwapGate)),
    *(
        gate(quarters * math.pi / 2)
        for gate in (RZGate, PhaseGate, RXGate, RZZGate)
        for quarters in range(-3, 6)
    ),
]


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: f"{gate.name} {gate.params}")
def test_gates_are_those_of_qiskit(gate: Gate) -> None:
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(gate, range(gate.num_qubits))
    (program,) = LATTICE.compile(circuit).gates
    every = stim.Circuit()
    every.append("I", range(gate.num_qubits))
    unitary = (every + program).to_tableau().to_unitary_matrix(endian="little")
    assert Operator(unitary).equiv(Operator(gate), atol=1e-6)


def clifford(name: str) -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(6), ClassicalRegister(2, "c"))
    match name:
        case "angle":
            circuit.rz(0.3, 1)
        case "nearly":
            circuit.rz(math.pi / 2 + 1e-8, 1)
        case "t":
            circuit.t(1)
        case "parameter":
            circuit.rz(Parameter("a"), 1)
        case "delay":
            circuit.delay(Parameter("a"), 1)
        case "control":
            circuit.measure(0, 0)
            with circuit.if_test((circuit.clbits[0], 1)):
                circuit.x(1)
        case "own":
            circuit.append(Gate("cz", 2, []), [0, 1])
        case "kraus":
            circuit.initialize([1, 0], 0)
    circuit.measure([0, 1], [0, 1])
    return circuit


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("angle", "rz(0.3), which is no Clifford gate"),
        ("nearly", "rz(1.5708), which is no Clifford gate"),
        ("t", "'t'"),
        ("parameter", "it has parameters"),
        ("delay", "a delay of a parameter"),
        ("control", "'if_else'"),
        ("own", "'cz'"),
        ("kraus", "'initialize'"),
    ],
)
def test_other_circuits_are_objected_to(name: str, why: str) -> None:
    objection = LATTICE.objection(clifford(name))
    assert objection is not None
    assert why in objection
    with pytest.raises(NoCliffordError):
        LATTICE.compile(clifford(name))


def test_angles_may_be_off_by_rounding() -> None:
    circuit = QuantumCircuit(6, 1)
    for quarters in range(-5, 6):
        circuit.rz(quarters * math.pi / 2 + 5e-10, 0)
    bound = QuantumCircuit(6, 1)
    angle = Parameter("a")
    bound.rz(2 * angle, 0)
    assert LATTICE.objection(circuit) is None
    assert LATTICE.objection(bound.assign_parameters([math.pi / 4])) is None


def test_only_the_used_qubits_are_simulated() -> None:
    circuit = QuantumCircuit(6, 2)
    circuit.barrier()
    circuit.delay(100, 5)
    circuit.sx(4)
    circuit.cz(4, 1)
    circuit.measure([4, 1], [1, 0])
    program = LATTICE.compile(circuit)
    assert (program.num_qubits, program.num_clbits) == (2, 2)
    assert [step.name for step in program.steps] == ["SQRT_X", "NOISE", "CZ", "NOISE", "M", "M"]
    # cz 4 1: the first qubit of the gate is the second of those that are used.
    assert program.steps[2].qubits == (1, 0)
    assert [read.clbit for read in program.reads] == [1, 0]
    assert program.mean_resets == 0
    assert program.approximation == {}


def test_the_qubits_may_be_others_of_the_device() -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.sx(0)
    circuit.cz(0, 1)
    # Both have T2 > T1 by more than the depolarisation of their gates covers.
    worst = compiler_of(TORINO, approximate=True).compile(circuit, (5, 6))
    assert worst.approximated.keys() == {"cz 5 6"}
    assert compiler_of(TORINO).compile(circuit, (0, 1)).approximated == {}


def test_noise_that_is_no_mixture_is_approximated_by_choice_alone() -> None:
    circuit = QuantumCircuit(133, 1)
    for _ in range(3):
        circuit.sx(6)
    circuit.measure(6, 0)
    objection = compiler_of(TORINO).objection(circuit)
    assert objection is not None
    assert objection.startswith("the error of sx 6 is no mixture of Paulis and resets")
    program = compiler_of(TORINO, approximate=True).compile(circuit)
    (error,) = program.approximated.items()
    assert error == ("sx 6", pytest.approx(3.8063e-5, rel=1e-4))
    assert program.deviation == pytest.approx(3 * error[1])
    assert program.approximation == {
        "errors": program.approximated,
        "deviation": program.deviation,
    }


def test_a_label_takes_the_place_of_the_name() -> None:
    circuit = QuantumCircuit(6, 1)
    circuit.append(SXGate(label="x"), [0])
    circuit.append(SXGate(label="quiet"), [0])
    program = LATTICE.compile(circuit)
    assert [step.name for step in program.steps] == ["SQRT_X", "NOISE", "SQRT_X"]
    assert np.isclose(program.steps[1].noise.probabilities[0], 1 - 1.5 * 3e-4)
