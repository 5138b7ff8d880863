"""A circuit means the same to the generator, the transpiler, the simulator and the archive."""

from __future__ import annotations

import io
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import AnnotatedOperation, ControlModifier, Gate, Parameter
from qiskit.circuit.library import QFTGate, RXGate, RZGate, UGate
from qiskit.providers import BackendV2
from qiskit.quantum_info import Operator
from qiskit.transpiler import Target
from qiskit_aer import AerSimulator

from qexp.archive.circuit_digest import circuit_sha256
from qexp.archive.circuits import load_circuit, write_circuits
from qexp.planning.faithful import UnfaithfulError, faithful, is_proven
from tests.random_circuits import (
    clifford,
    forms,
    holding,
    library_gates,
    own_gate,
    proven_circuit,
)

UNREADABLE = [
    "modular_adder",
    "half_adder",
    "comparator",
    "and",
    "isometry",
    "multiplexer",
    "oracle",
]


def stored(circuit: QuantumCircuit) -> QuantumCircuit:
    stream = io.BytesIO()
    write_circuits([circuit], stream)
    return load_circuit(stream.getvalue(), "here")


@given(st.randoms(use_true_random=False))
def test_a_circuit_of_proven_operations_is_not_touched(manila: BackendV2, rng: Random) -> None:
    circuit = proven_circuit(rng)
    assert faithful(circuit, manila.target) is circuit


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("name", library_gates())
def test_every_form_of_a_library_gate_is_stored_as_it_is_meant(
    manila: BackendV2, name: str
) -> None:
    gate = library_gates()[name]
    for _, form in forms(gate):
        circuit = holding(form)
        found = faithful(circuit, manila.target)
        loaded = stored(found)
        assert circuit_sha256(loaded) == circuit_sha256(found)
        assert Operator(loaded) == Operator(circuit)
        # So is the circuit of the archive when it is run again.
        assert faithful(loaded, manila.target) is loaded


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_back_is_replaced_by_its_definition(
    manila: BackendV2, name: str
) -> None:
    circuit = holding(library_gates()[name])
    assert faithful(circuit, manila.target) is not circuit


def test_an_operation_that_is_no_gate_stays(manila: BackendV2) -> None:
    circuit = holding(clifford(11))
    assert faithful(circuit, manila.target) is circuit


def test_what_neither_survives_nor_has_a_definition_is_refused(manila: BackendV2) -> None:
    class Opaque(Gate):
        def __init__(self) -> None:
            super().__init__("opaque", 1, [lambda: None])

        def validate_parameter(self, parameter: Any) -> Any:
            return parameter

    with pytest.raises(UnfaithfulError, match="its instruction 'opaque' is not the same after"):
        faithful(holding(Opaque()), manila.target)


class OwnRz(Gate):
    """A rotation about another axis than its name says."""

    def __init__(self, angle: Any) -> None:
        super().__init__("rz", 1, [angle])

    def _define(self) -> None:
        self.definition = QuantumCircuit(1)
        self.definition.rx(self.params[0], 0)


class OwnSx(Gate):
    """A gate that has a matrix only."""

    def __init__(self) -> None:
        super().__init__("sx", 1, [])

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array([[0, 1], [1, 0]], dtype=complex)


def controlled(matrix: Any) -> Operator:
    """A gate under the control of qubit 0."""
    return Operator(np.kron(np.eye(2), np.diag([1, 0])) + np.kron(matrix, np.diag([0, 1])))


def nested() -> Gate:
    circuit = QuantumCircuit(1, name="outer")
    circuit.append(OwnRz(0.3), [0])
    return circuit.to_gate()


RX, U = Operator(RXGate(0.3)).data, Operator(UGate(1.0, 0.3, 0.2)).data
OWN = {
    "definition": (lambda: OwnRz(0.3), Operator(RX)),
    "matrix": (OwnSx, Operator(np.array([[0, 1], [1, 0]]))),
    "within another": (nested, Operator(RX)),
    "control": (lambda: OwnRz(0.3).control(), controlled(RX)),
    "annotated": (lambda: AnnotatedOperation(OwnRz(0.3), ControlModifier(1)), controlled(RX)),
    **{
        name: (lambda name=name: own_gate(name), Operator(U))
        for name in ("x", "id", "qft", "clifford", "delay", "barrier", "if_else", "u2")
    },
    **{
        name: (lambda name=name: own_gate(name, 2), Operator(np.kron(np.eye(2), U)))
        for name in ("cx", "ryy", "unitary", "permutation", "box")
    },
}


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize(("build", "meant"), OWN.values(), ids=OWN)
def test_an_own_gate_with_a_known_name_keeps_its_meaning(
    manila: BackendV2, build: Any, meant: Operator, level: int
) -> None:
    circuit = holding(build())
    found = faithful(circuit, manila.target)
    isa = generate_preset_pass_manager(level, manila, seed_transpiler=1).run(found)
    width = manila.num_qubits - circuit.num_qubits
    assert Operator.from_circuit(isa).equiv(Operator(np.eye(2**width)).tensor(meant))
    assert circuit_sha256(stored(found)) == circuit_sha256(found)


def test_names_of_the_devices_own_instructions_are_known() -> None:
    circuit = holding(own_gate("multiplexer", 2))
    assert faithful(circuit, AerSimulator().target).count_ops() == {"u": 1}


def test_an_own_gate_in_control_flow_is_replaced(manila: BackendV2) -> None:
    circuit = QuantumCircuit(1, 1)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.append(OwnRz(Parameter("angle")), [0])
    found = faithful(circuit, manila.target)
    assert found.data[0].operation.blocks[0].count_ops() == {"rx": 1}


def test_an_own_definition_of_a_standard_gate_is_that_gate(manila: BackendV2) -> None:
    definition = QuantumCircuit(1, name="rz")
    definition.p(0.3, 0)
    circuit = holding(definition.to_gate())
    circuit.data[0] = circuit.data[0].replace(operation=_with_angle(definition, 0.3))
    found = faithful(circuit, manila.target)
    assert found.data[0].operation == RZGate(0.3)
    assert is_proven(found)
    # Its phase matters where it is controlled.
    control = holding(_with_angle(definition, 0.3).control())
    assert Operator(stored(faithful(control, manila.target))) == controlled(
        np.diag([1, np.exp(0.3j)])
    )


def _with_angle(definition: QuantumCircuit, angle: float) -> Gate:
    gate = Gate("rz", 1, [angle])
    gate.definition = definition
    return gate


def test_a_standard_gate_of_the_library_is_no_own_gate() -> None:
    circuit = holding(QFTGate(2))
    assert faithful(circuit, Target(num_qubits=2)) is circuit
