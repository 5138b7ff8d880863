"""Wide circuits are simulated in parts; the parts have to add up."""

from __future__ import annotations

import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, generate_preset_pass_manager
from qiskit.circuit import Parameter

from tests.emulator import TORINO
from tests.emulator.devices import devices
from tests.emulator.narrow import blocks, components
from tests.emulator.simulate import WIDEST_QUBITS, excited_alone, sample

DEVICE = devices()[TORINO]
FLIPPED = (3, 4, 9, 15)


def test_many_qubits_in_two_registers() -> None:
    width = WIDEST_QUBITS + 4
    circuit = QuantumCircuit(
        QuantumRegister(width), ClassicalRegister(5, "low"), ClassicalRegister(width - 5, "high")
    )
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.x(FLIPPED)
    circuit.measure(range(width), range(width))
    isa = generate_preset_pass_manager(1, target=DEVICE.target, seed_transpiler=3).run(circuit)
    pub = (isa, np.zeros((2, 0)), 300)
    (found,) = sample(DEVICE, [pub], None)
    assert {name: bits.shape for name, bits in found.items()} == {
        "low": (2, 300, 5),
        "high": (2, 300, width - 5),
    }
    bits = np.concatenate([found["low"], found["high"]], axis=-1)
    ones = bits.mean(axis=(0, 1))
    assert np.array_equal(np.flatnonzero(ones[2:] > 0.5) + 2, FLIPPED)
    assert (bits[..., 0] == bits[..., 1]).mean() > 0.75
    (again,) = sample(DEVICE, [pub], None)
    assert np.array_equal(found["high"], again["high"])


def test_a_lone_qubit_is_as_noisy_as_in_aer() -> None:
    angles = [Parameter(name) for name in ("a", "b", "c")]
    circuit = QuantumCircuit(DEVICE.num_qubits, 3)
    qubits = (3, 50, 90)
    for clbit, qubit in enumerate(qubits):
        circuit.rz(angles[clbit], qubit)
        circuit.sx(qubit)
        circuit.rz(angles[clbit - 1], qubit)
        circuit.sx(qubit)
        circuit.rz(0.3, qubit)
        circuit.sx(qubit)
        circuit.x(qubit)
        circuit.measure(qubit, clbit)
    values = np.random.default_rng(1).uniform(0, 2 * np.pi, (4, 3))
    (simulated,) = sample(DEVICE, [(circuit, values, 10_000)], None)
    predicted = [excited_alone(DEVICE, circuit, qubit, values) for qubit in qubits]
    for clbit, excited in enumerate(predicted):
        assert excited is not None
        assert np.allclose(excited, simulated["c"][..., clbit].mean(axis=-1), atol=0.025)


def test_a_qubit_that_is_used_after_its_measurement_is_not_simple() -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    circuit.x(0)
    assert excited_alone(DEVICE, circuit, 0, np.zeros((0,))) is None


def test_components_meet_over_gates_and_shared_bits_but_not_over_barriers() -> None:
    circuit = QuantumCircuit(5, 2)
    circuit.cz(0, 1)
    circuit.barrier()
    circuit.measure(1, 0)
    circuit.measure(2, 0)
    circuit.x(3)
    circuit.measure(4, 1)
    parts = sorted(components(circuit), key=lambda part: min(part[0]))
    assert parts == [({0, 1, 2}, {0}), ({3}, set()), ({4}, {1})]
    assert blocks(parts) == [({0, 1, 2, 3, 4}, {0, 1})]
