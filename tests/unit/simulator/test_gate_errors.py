from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Delay, Measure, Reset
from qiskit.circuit.library import CXGate, SXGate, XGate
from qiskit.providers import QubitProperties
from qiskit.quantum_info import PTM, SuperOp
from qiskit.transpiler import InstructionProperties, Target
from qiskit_aer.noise import QuantumError

from qexp.engines.local.backends import fake
from qexp.simulator.gate_errors import GateErrors
from qexp.simulator.noise import NoisyDevice


def by_terms(error: QuantumError) -> np.ndarray:
    """Transfer matrix of one of Aer's errors: its weighted circuits, one after the other."""
    terms = zip(error.circuits, error.probabilities, strict=True)
    return sum(probability * of_circuit(circuit) for circuit, probability in terms)


def of_circuit(circuit: QuantumCircuit) -> np.ndarray:
    matrix = np.eye(4**circuit.num_qubits)
    for item in circuit.data:
        first, channel = circuit.find_bit(item.qubits[0]).index, by_qiskit(item.operation)
        above = circuit.num_qubits - len(item.qubits) - first
        matrix = np.kron(np.kron(np.eye(4**above), channel), np.eye(4**first)) @ matrix
    return matrix


def by_qiskit(channel: object) -> np.ndarray:
    return PTM(SuperOp(channel)).data.real


def assert_as_aer_has_it(device: NoisyDevice, name: str, qubits: tuple[int, ...]) -> None:
    found, error = GateErrors(device).matrix(name, qubits), device.gate_error(name, qubits)
    if error is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, by_qiskit(error.error), rtol=0, atol=3e-15)
        np.testing.assert_array_equal(found, by_terms(error.error))


@pytest.mark.parametrize("name", ["FakeManilaV2", "FakeSherbrooke", "FakeTorino", "FakeFez"])
def test_the_errors_of_a_device_are_those_of_aer(name: str) -> None:
    backend = fake(name)
    device = NoisyDevice(backend)
    for gate in backend.target.operation_names:
        places = [where for where in backend.target[gate] or () if where is not None]
        for where in places[:: max(1, len(places) // 5)]:
            assert_as_aer_has_it(device, gate, where)


def device_of(target: Target) -> NoisyDevice:
    return NoisyDevice(SimpleNamespace(target=target, name="made"))


@pytest.mark.parametrize("duration_s", [None, 0.0, 1e-15, 3e-8, 1e-3])
@pytest.mark.parametrize("rate", [None, 0.0, 1e-12, 1e-3, 0.9, 1.0])
def test_unusual_rates_and_durations(duration_s: float | None, rate: float | None) -> None:
    times = [(1e-4, 8e-5), (1e-4, 3e-4), (None, 2e-4), (1e-4, None), (None, None), (2e-4, 2e-4)]
    target = Target(num_qubits=6, qubit_properties=[QubitProperties(*both) for both in times])
    made = InstructionProperties(duration=duration_s, error=rate)
    one, two = [(k,) for k in range(6)], [(0, 1), (1, 0), (2, 3), (4, 5), (5, 1), (4, 3)]
    for gate in (SXGate(), XGate(), Reset(), Measure()):
        target.add_instruction(gate, dict.fromkeys(one, made))
    target.add_instruction(CXGate(), dict.fromkeys(two, made))
    device = device_of(target)
    for name, where in [*(("sx", each) for each in one), *(("cx", each) for each in two)]:
        assert_as_aer_has_it(device, name, where)
    assert_as_aer_has_it(device, "reset", (1,))
    assert_as_aer_has_it(device, "measure", (1,))


def test_instructions_without_properties_have_no_error() -> None:
    target = Target(num_qubits=1)
    target.add_instruction(XGate(), {(0,): None})
    target.add_instruction(Delay(1), name="idle")
    errors = GateErrors(device_of(target))
    assert errors.matrix("x", (0,)) is errors.matrix("idle", (0,)) is None
    assert errors.matrix("cx", (0, 1)) is None
