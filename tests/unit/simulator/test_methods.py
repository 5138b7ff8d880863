from __future__ import annotations

from collections.abc import Callable

import pytest
from qiskit import QuantumCircuit
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.transpiler import generate_preset_pass_manager

from qexp.engines.local.backends import fake
from qexp.simulator import NoisySampler
from qexp.simulator.devices import make_device
from qexp.simulator.methods import Choice, Methods, aer_costs, method_names


def chain(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def dense(num_qubits: int, layers: int = 8) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    for layer in range(layers):
        circuit.ry(0.3 + 0.1 * layer, range(num_qubits))
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.cz(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def choose(circuit: QuantumCircuit, shots: int = 4096) -> Choice:
    backend = fake("FakeTorino")
    passes = generate_preset_pass_manager(1, backend=backend, seed_transpiler=3)
    pub = SamplerPub.coerce((passes.run(circuit),), shots)
    device = make_device(backend)
    return Methods(device).for_sampling(pub)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "width", "method"),
    [
        (dense, 5, "density_matrix"),
        (dense, 10, "density_matrix"),
        (dense, 11, "trajectory_tree"),
        (dense, 16, "trajectory_tree"),
        (chain, 12, "trajectory_tree"),
        (chain, 24, "trajectory_tree"),
        (chain, 100, "trajectory_tree"),
        (dense, 40, "trajectory_tree"),
    ],
)
def test_the_cheapest_method_is_chosen(
    make: Callable[[int], QuantumCircuit], width: int, method: str
) -> None:
    assert choose(make(width)).method == method


def test_many_shots_of_very_noisy_circuits_are_left_to_aer() -> None:
    circuit = dense(12)
    circuit.remove_final_measurements()
    # Each shot has a history of its own.
    for _ in range(3):
        circuit.reset(range(12))
        circuit.h(range(12))
    circuit.measure_all()
    assert choose(circuit, 100).method == "trajectory_tree"
    assert choose(circuit, 100_000).method == "automatic"


def test_costs_are_predicted_before_anything_is_simulated() -> None:
    simulation = choose(dense(14)).simulation
    assert simulation is not None
    assert 0.05 < simulation.cost.seconds < 20
    assert 16 * 2**14 < simulation.cost.bytes < 2**26


def test_matrix_product_states_are_for_little_entanglement() -> None:
    def cheaper(circuit: QuantumCircuit) -> str:
        costs = aer_costs(circuit)
        return min(costs, key=costs.__getitem__)

    assert cheaper(chain(20)) == "matrix_product_state"
    assert cheaper(dense(20, 40)) == "statevector"
    assert cheaper(QuantumCircuit(100)) == "matrix_product_state"
    assert cheaper(QuantumCircuit(1)) == "statevector"


@pytest.mark.parametrize("extra", [None, "barrier", "delay"])
@pytest.mark.parametrize("width", [30, 133])
def test_a_wide_circuit_is_predicted_as_it_is_simulated(width: int, extra: str | None) -> None:
    circuit = QuantumCircuit(133, 1)
    # There and back, so that no qubit is done before all are in use.
    for qubit in (*range(width - 1), *reversed(range(width - 1))):
        circuit.sx(qubit)
        circuit.rz(0.3, qubit)
        circuit.ecr(qubit, qubit + 1)
    if extra == "barrier":
        circuit.barrier()
    elif extra == "delay":
        circuit.delay(100, 132)
    circuit.measure(0, 0)
    device = make_device(fake("FakeTorino"))
    pub = SamplerPub.coerce(circuit, 1000)
    choice = Methods(device).for_sampling(pub)  # type: ignore[arg-type]
    assert choice.method == "matrix_product_state"
    predicted = choice.prediction.cost
    assert "active" not in vars(choice)
    active = choice.active
    assert len(active.qubits) == width
    assert predicted is not None
    assert predicted.seconds == pytest.approx(1000 * 40e-6 * len(active.circuit.data))
    assert predicted.bytes == 256 * width


def test_the_names_of_methods() -> None:
    assert method_names() == (
        "density_matrix",
        "trajectory_tree",
        "clifford",
        "statevector",
        "matrix_product_state",
        "automatic",
    )


@pytest.mark.parametrize("method", ["density_matrix", "trajectory_tree", "clifford", "statevector"])
def test_barriers_and_delays_reach_idle_qubits(method: str) -> None:
    circuit = QuantumCircuit(5, 2)
    circuit.x(0)
    circuit.barrier(0, 2)
    circuit.barrier(1, 4)
    circuit.delay(100, 3, "dt")
    circuit.measure([0, 1], [0, 1])
    sampler = NoisySampler(fake("FakeManilaV2"), seed=1, method=method)
    counts = sampler.run([circuit], shots=1000).result()[0].data.c.get_counts()
    assert counts["01"] > 900
