from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel

from qexp.engines.local.backends import fake
from qexp.simulator import NoisySampler, SimulationError
from qexp.simulator.aer import run_aer
from qexp.simulator.circuits import restrict_to_active
from qexp.simulator.noise import NoisyDevice


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
    ours = NoisyDevice(backend).noise_model(qubits)
    expected = []
    for error in whole.to_dict(serializable=True)["errors"]:
        (where,) = error["gate_qubits"]
        if set(where) <= set(qubits):
            expected.append(error | {"gate_qubits": [[qubits.index(one) for one in where]]})
    assert len(expected) > len(qubits)
    assert canonical(ours.to_dict(serializable=True)["errors"]) == canonical(expected)
    # The errors given to Aer at once are those that it would make of the model.
    made = NoiseModel.to_dict(ours, serializable=True)
    assert canonical(made["errors"]) == canonical(expected)
    assert ours.basis_gates == whole.basis_gates


def test_noise_models_are_kept_up_to_a_number() -> None:
    device = NoisyDevice(fake("FakeSherbrooke"))
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
    restricted = restrict_to_active(isa)
    device = NoisyDevice(backend)
    counts = device.run(
        [restricted.circuit], qubits=restricted.qubits, shots=4000, seed_simulator=1
    ).get_counts()
    expected = np.exp(-300e-6 / backend.target.qubit_properties[restricted.qubits[0]].t1)
    assert counts["1"] / 4000 == pytest.approx(expected, abs=0.05)


def test_a_failure_is_an_error() -> None:
    circuit = QuantumCircuit(1)
    circuit.t(0)
    circuit.measure_all()
    with pytest.raises(SimulationError, match="the simulation failed"):
        run_aer(AerSimulator(method="stabilizer"), [circuit])


def test_a_refusal_of_aer_is_an_error() -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("angle"), 0)
    with pytest.raises(SimulationError, match=r"the simulation failed: .*parameter_binds"):
        run_aer(AerSimulator(), [circuit])


def test_each_error_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, tuple[int, ...]]] = []
    make = NoisyDevice._make_error

    def spy(self: NoisyDevice, name: str, qubits: tuple[int, ...]) -> Any:
        made.append((name, qubits))
        return make(self, name, qubits)

    monkeypatch.setattr(NoisyDevice, "_make_error", spy)
    backend = fake()
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.measure_all()
    isa = generate_preset_pass_manager(1, backend=backend, seed_transpiler=5).run(circuit)
    simulator = NoisySampler(backend)
    for seed in range(3):
        simulator.sample([SamplerPub.coerce((isa,), 10)], shots=10, seed=seed)
    assert len(made) == len(set(made)) > 0
