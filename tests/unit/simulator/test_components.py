"""A circuit in components has the distribution of the whole circuit."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer import AerSimulator
from scipy.stats import chisquare

from qexp.engines.local.backends import fake
from qexp.simulator import NoisySampler, make_device
from qexp.simulator.circuits import as_plain
from qexp.simulator.components import ComponentSampler, components
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.noise import NoisyDevice

MANILA = make_device(fake("FakeManilaV2"))
SEED = np.random.SeedSequence(5)


def apart() -> tuple[QuantumCircuit, np.ndarray]:
    """A pair, two single qubits with a parameter each, and an idle one, read out of order."""
    first, second = ClassicalRegister(3, "first"), ClassicalRegister(2, "second")
    circuit = QuantumCircuit(QuantumRegister(5, "q"), first, second)
    for qubit in (0, 4):
        circuit.rz(0.3, qubit)
        circuit.sx(qubit)
        circuit.rz(Parameter(f"angle_{qubit}"), qubit)
        circuit.sx(qubit)
    circuit.sx(1)
    circuit.cx(1, 2)
    circuit.delay(4000, 4)
    circuit.barrier()
    circuit.measure([1, 0, 2, 4], [first[2], first[0], second[1], second[0]])
    return circuit, np.array([[[0.4, 1.1], [0.4, -2.0]], [[3.0, 0.0], [-1.0, 0.2]]])


def test_components_are_found() -> None:
    circuit, _ = apart()
    found = components(circuit)
    assert [one.bits for one in found] == [(0,), (2, 4), (3,)]
    assert [one.name for one in found[2].instructions] == [
        "rz",
        "sx",
        "rz",
        "sx",
        "delay",
        "measure",
    ]


def test_outcomes_have_the_distribution_of_the_whole_circuit() -> None:
    circuit, values = apart()
    shots = 20_000
    sampled = ComponentSampler(MANILA).sample(circuit, values, shots, SEED)
    assert sampled.method == "density_matrix"
    assert {name: bits.shape for name, bits in sampled.registers.items()} == {
        "first": (2, 2, shots, 3),
        "second": (2, 2, shots, 2),
    }
    assert not sampled.registers["first"][..., 1].any()
    plain = as_plain(circuit)
    assert plain is not None
    assert isinstance(MANILA, NoisyDevice)
    (_, expected), *_ = DensityMatrix(MANILA).probabilities(plain, values.reshape(4, 2))
    index_of = {bit: k for k, bit in enumerate(circuit.clbits)}
    joined = np.concatenate([sampled.registers["first"], sampled.registers["second"]], axis=-1)
    read = joined.reshape(4, shots, 5)[..., [index_of[bit] for bit in plain.bits]]
    for bits, probabilities in zip(read, expected, strict=True):
        outcomes = bits @ (1 << np.arange(len(plain.bits)))
        counts = np.bincount(outcomes, minlength=len(probabilities))
        likely = probabilities * shots > 5
        scale = counts[likely].sum() / probabilities[likely].sum()
        assert chisquare(counts[likely], probabilities[likely] * scale).pvalue > 1e-3


def test_the_sequence_decides_every_bit() -> None:
    circuit, values = apart()
    one, same, other = (
        ComponentSampler(MANILA).sample(circuit, values, 50, seed).registers["first"]
        for seed in (SEED, SEED, np.random.SeedSequence(6))
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_equal_single_qubits_have_shots_of_their_own() -> None:
    circuit = QuantumCircuit(5, 5)
    circuit.sx(range(5))
    circuit.measure(range(5), range(5))
    bits = ComponentSampler(MANILA).sample(circuit, np.zeros((1, 0)), 4000, SEED).registers["c"][0]
    correlations = np.corrcoef(bits.T)[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 0.07
    assert bits.mean(axis=0) == pytest.approx(0.5, abs=0.06)


def test_wide_devices_are_sampled_qubit_by_qubit() -> None:
    device = make_device(fake("FakeTorino"))
    circuit = QuantumCircuit(133, 133)
    circuit.sx(7)
    circuit.cz(7, 8)
    circuit.x(132)
    circuit.measure(range(133), range(133))
    bits = ComponentSampler(device).sample(circuit, np.zeros((0,)), 500, SEED).registers["c"]
    assert bits.shape == (500, 133)
    assert bits[:, 132].mean() > 0.8
    assert 0.35 < bits[:, 7].mean() < 0.65
    assert np.median(bits.mean(axis=0)) < 0.1


def test_circuits_with_control_flow_and_given_simulators_are_sampled_whole() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    given = make_device(AerSimulator())
    bits = ComponentSampler(given).sample(circuit, np.zeros((3, 0)), 20, SEED).registers["c"]
    assert bits.shape == (3, 20, 2)
    assert bits.all()
    noisy = ComponentSampler(MANILA).sample(circuit, np.zeros((1, 0)), 400, SEED).registers["c"][0]
    assert (noisy[:, 0] == noisy[:, 1]).mean() > 0.85


def test_a_circuit_of_one_component_is_sampled_as_any_other() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    found = ComponentSampler(MANILA).sample(circuit, np.zeros((1, 0)), 30, SEED).registers["c"][0]
    pub = SamplerPub(circuit, BindingsArray({}, shape=(1,)), 30)
    alone = NoisySampler(MANILA).sample([pub], shots=30, seed=1)[0].data.c
    assert found.shape == alone.to_bool_array()[0].shape
    assert 5 < found[:, 0].sum() < 25
