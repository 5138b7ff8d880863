from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.circuit.classical import expr
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel

from qexp.engines.local.backends import fake
from qexp.engines.local.reduced import ReducedDevice, reduce_circuit, run_aer
from qexp.errors import EngineError

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
    """As routing leaves them: the block is as wide as the device, and most of it is idle."""
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
def test_a_reduced_circuit_does_the_same_on_its_active_qubits(
    make: Callable[[], QuantumCircuit], qubits: tuple[int, ...]
) -> None:
    circuit = make()
    reduced = reduce_circuit(circuit)
    assert reduced.qubits == qubits
    assert reduced.circuit.num_qubits == len(qubits)
    assert reduced.circuit.cregs == circuit.cregs
    simulator = AerSimulator(seed_simulator=1)
    before, after = (
        run_aer(simulator, [one], shots=20).get_counts() for one in (circuit, reduced.circuit)
    )
    assert len(before) == 1
    assert before == after


def test_variables_are_kept() -> None:
    """Aer 0.18 cannot run this one, reduced or not."""
    circuit = wide()
    circuit.measure(8, 0)
    seen = circuit.add_var("seen", expr.lift(circuit.cregs[0]))
    with circuit.if_test(expr.equal(seen, 1)):
        circuit.x(9)
    reduced = reduce_circuit(circuit)
    assert reduced.qubits == (8, 9)
    assert list(reduced.circuit.iter_declared_vars()) == [seen]
    (block,) = reduced.circuit.data[-1].operation.blocks
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
    reduced = reduce_circuit(circuit)
    assert reduced.qubits == (5,)
    assert [one.name for one in reduced.circuit.data] == ["x", "delay", "measure"]


def test_qubits_can_be_kept() -> None:
    circuit = wide()
    circuit.x(5)
    assert reduce_circuit(circuit, keep=[8, 2, 5]).qubits == (2, 5, 8)


def test_a_circuit_always_has_a_qubit() -> None:
    assert reduce_circuit(wide()).qubits == (0,)


def test_a_circuit_without_idle_qubits_is_left_as_it_is() -> None:
    circuit = QuantumCircuit(2)
    circuit.cz(0, 1)
    reduced = reduce_circuit(circuit)
    assert reduced.circuit is circuit
    assert reduced.qubits == (0, 1)


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
    reduced = reduce_circuit(circuit).circuit
    assert reduced.parameters == circuit.parameters
    assert (reduced.cregs, reduced.clbits) == (circuit.cregs, circuit.clbits)
    assert (reduced.name, reduced.metadata) == ("n", {"k": 1})
    assert reduced.find_bit(reduced.data[-1].clbits[0]).index == 4


def canonical(errors: list[dict[str, Any]]) -> list[str]:
    return sorted(
        json.dumps({key: value for key, value in one.items() if key != "id"}, sort_keys=True)
        for one in errors
    )


@pytest.mark.parametrize(
    ("name", "qubits"), [("FakeManilaV2", (1, 2, 4)), ("FakeSherbrooke", (33, 39, 40, 126))]
)
def test_the_noise_is_that_of_the_device_renumbered(name: str, qubits: tuple[int, ...]) -> None:
    backend = fake(name)
    whole = NoiseModel.from_backend(backend)
    ours = ReducedDevice(backend).noise_model(qubits)
    expected = []
    for error in whole.to_dict(serializable=True)["errors"]:
        (where,) = error["gate_qubits"]
        if set(where) <= set(qubits):
            expected.append(error | {"gate_qubits": [[qubits.index(one) for one in where]]})
    assert len(expected) > len(qubits)
    assert canonical(ours.to_dict(serializable=True)["errors"]) == canonical(expected)
    # What Aer is told at once is what it would make of the model.
    made = NoiseModel.to_dict(ours, serializable=True)
    assert canonical(made["errors"]) == canonical(expected)
    assert ours.basis_gates == whole.basis_gates


def test_noise_models_are_kept_up_to_a_number() -> None:
    device = ReducedDevice(fake("FakeSherbrooke"))
    first = device.noise_model((0,))
    assert device.noise_model((0,)) is first
    for qubit in range(1, 70):
        device.noise_model((qubit,))
    assert device.noise_model((0,)) is not first


def test_delays_relax() -> None:
    backend = fake("FakeSherbrooke")
    circuit = QuantumCircuit(127, 1)
    circuit.x(50)
    circuit.delay(300, 50, unit="us")
    circuit.measure(50, 0)
    isa = generate_preset_pass_manager(0, backend=backend).run(circuit)
    reduced = reduce_circuit(isa)
    device = ReducedDevice(backend)
    counts = device.run(
        [reduced.circuit], reduced.qubits, shots=4000, seed_simulator=1
    ).get_counts()
    expected = np.exp(-300e-6 / backend.target.qubit_properties[reduced.qubits[0]].t1)
    assert counts["1"] / 4000 == pytest.approx(expected, abs=0.05)


def test_a_failure_is_an_error() -> None:
    circuit = QuantumCircuit(1)
    circuit.t(0)
    circuit.measure_all()
    with pytest.raises(EngineError, match="Simulation failed"):
        run_aer(AerSimulator(method="stabilizer"), [circuit])


def test_what_aer_refuses_is_an_error() -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("angle"), 0)
    with pytest.raises(EngineError, match=r"Simulation failed: .*parameter_binds"):
        run_aer(AerSimulator(), [circuit])
