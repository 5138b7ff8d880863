from __future__ import annotations

from collections.abc import Callable

import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.circuit.classical import expr
from qiskit_aer import AerSimulator

from qexp.simulator.aer import run_aer
from qexp.simulator.circuits import restrict_to_active

WIDTH = 12


def wide() -> QuantumCircuit:
    return QuantumCircuit(QuantumRegister(WIDTH, "q"), ClassicalRegister(3, "c"))


def if_else() -> QuantumCircuit:
    circuit = wide()
    circuit.x(7)
    circuit.measure(7, 0)
    with circuit.if_test((circuit.cregs[0], 1)) as otherwise:
        circuit.x(3)
    with otherwise:
        circuit.x(9)
    circuit.measure([3, 9], [1, 2])
    return circuit


def nested() -> QuantumCircuit:
    circuit = wide()
    circuit.x(7)
    circuit.measure(7, 0)
    with circuit.for_loop(range(3)), circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(3)
    circuit.measure(3, 1)
    return circuit


def loop_with_break() -> QuantumCircuit:
    circuit = wide()
    with circuit.for_loop(range(4)):
        circuit.x(3)
        circuit.measure(3, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.x(9)
            circuit.break_loop()
    circuit.measure([3, 9], [1, 2])
    return circuit


def while_loop() -> QuantumCircuit:
    circuit = wide()
    circuit.x(5)
    circuit.measure(5, 0)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.x([5, 8])
        circuit.measure(5, 0)
    circuit.measure(8, 1)
    return circuit


def switch() -> QuantumCircuit:
    circuit = wide()
    circuit.x([1, 2])
    circuit.measure(2, 1)
    with circuit.switch(circuit.cregs[0]) as case:
        with case(1):
            circuit.x(4)
        with case(2, 3):
            circuit.x(11)
        with case(case.DEFAULT):
            circuit.x(6)
    circuit.measure([11, 4], [0, 2])
    return circuit


def wide_blocks() -> QuantumCircuit:
    """Routing makes a block as wide as the device, and most of it is idle."""
    body = QuantumCircuit(WIDTH)
    body.x(4)
    body.barrier()
    circuit = wide()
    circuit.x(2)
    circuit.measure(2, 0)
    circuit.if_else((circuit.clbits[0], 1), body, None, range(WIDTH), [])
    circuit.measure(4, 1)
    return circuit


def resets() -> QuantumCircuit:
    circuit = wide()
    circuit.x([6, 10])
    circuit.reset(6)
    circuit.barrier()
    circuit.measure([6, 10], [0, 2])
    return circuit


@pytest.mark.parametrize(
    ("make", "qubits"),
    [
        (if_else, (3, 7, 9)),
        (nested, (3, 7)),
        (loop_with_break, (3, 9)),
        (while_loop, (5, 8)),
        (switch, (1, 2, 4, 6, 11)),
        (wide_blocks, (2, 4)),
        (resets, (6, 10)),
    ],
)
def test_a_restricted_circuit_does_the_same_on_its_active_qubits(
    make: Callable[[], QuantumCircuit], qubits: tuple[int, ...]
) -> None:
    circuit = make()
    restricted = restrict_to_active(circuit)
    assert restricted.qubits == qubits
    assert restricted.circuit.num_qubits == len(qubits)
    assert restricted.circuit.cregs == circuit.cregs
    simulator = AerSimulator(seed_simulator=1)
    before, after = (
        run_aer(simulator, [one], shots=20).get_counts() for one in (circuit, restricted.circuit)
    )
    assert len(before) == 1
    assert before == after


def test_variables_are_kept() -> None:
    """Aer 0.18 cannot run this one, restricted or not."""
    circuit = wide()
    circuit.measure(8, 0)
    seen = circuit.add_var("seen", expr.lift(circuit.cregs[0]))
    with circuit.if_test(expr.equal(seen, 1)):
        circuit.x(9)
    restricted = restrict_to_active(circuit)
    assert restricted.qubits == (8, 9)
    assert list(restricted.circuit.iter_declared_vars()) == [seen]
    (block,) = restricted.circuit.data[-1].operation.blocks
    assert list(block.iter_captured_vars()) == list(
        circuit.data[-1].operation.blocks[0].iter_captured_vars()
    )


def test_idle_qubits_are_those_of_barriers_and_delays_only() -> None:
    circuit = wide()
    circuit.x(5)
    circuit.delay(100, 5)
    circuit.delay(100, 6)
    circuit.barrier()
    circuit.measure(5, 0)
    restricted = restrict_to_active(circuit)
    assert restricted.qubits == (5,)
    assert [one.name for one in restricted.circuit.data] == ["x", "delay", "measure"]


def test_qubits_can_be_kept() -> None:
    circuit = wide()
    circuit.x(5)
    assert restrict_to_active(circuit, keep=[8, 2, 5]).qubits == (2, 5, 8)


def test_a_circuit_always_has_a_qubit() -> None:
    assert restrict_to_active(wide()).qubits == (0,)


def test_a_circuit_without_idle_qubits_is_left_as_it_is() -> None:
    circuit = QuantumCircuit(2)
    circuit.cz(0, 1)
    restricted = restrict_to_active(circuit)
    assert restricted.circuit is circuit
    assert restricted.qubits == (0, 1)


def test_parameters_bits_and_metadata_are_kept() -> None:
    angle, phase = Parameter("angle"), Parameter("phase")
    circuit = QuantumCircuit(
        QuantumRegister(4),
        ClassicalRegister(2, "a"),
        ClassicalRegister(3, "b"),
        global_phase=phase,
        metadata={"k": 1},
        name="n",
    )
    circuit.rz(2 * angle + 1, 2)
    circuit.measure(2, 4)
    restricted = restrict_to_active(circuit).circuit
    assert restricted.parameters == circuit.parameters
    assert (restricted.cregs, restricted.clbits) == (circuit.cregs, circuit.clbits)
    assert (restricted.name, restricted.metadata) == ("n", {"k": 1})
    assert restricted.find_bit(restricted.data[-1].clbits[0]).index == 4
