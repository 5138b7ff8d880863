"""Shots of Clifford circuits have the distribution that Aer and the density matrix give."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from scipy.stats import chi2_contingency, chisquare, kstest

from qexp.circuits.ghz import ghz_circuits
from qexp.circuits.mirror import mirror_circuits
from qexp.engines.local.backends import fake
from qexp.engines.local.lattice import lattice
from qexp.simulator import NoisyEstimator, NoisySampler, SimulationError, make_device
from qexp.simulator.circuits import as_plain, restrict_to_active
from qexp.simulator.clifford import CliffordCompiler, Program
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.frames import CliffordFrames, predicted_cost, sample
from qexp.simulator.methods import Methods
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.protocols import Work

SHOTS = 40_000
DEVICES = ["fake_torino", "fake_sherbrooke", "fake_fez", "lattice"]
FALSE_ALARMS = 1e-3
"""Probability that a correct simulation fails any test of this file, with other seeds."""
_TESTS = 40


def compiler_of(device: NoisyDevice, *, approximate: bool = False) -> CliffordCompiler:
    return CliffordCompiler(device, DensityMatrix(device), approximate=approximate)


def backend_of(name: str) -> BackendV2:
    if name == "lattice":
        return lattice(2, 4, error_1q=2e-3, error_2q=2e-2, readout_error=0.03)
    return fake(name)


def circuits(backend: BackendV2) -> list[QuantumCircuit]:
    """Circuits on 5 to 8 qubits, some with resets and delays."""
    sequence = np.random.SeedSequence(3)
    reset = QuantumCircuit(5)
    reset.h(0)
    for qubit in range(4):
        reset.cx(qubit, qubit + 1)
    reset.delay(4000, 2, unit="ns")
    reset.reset(1)
    reset.h(2)
    reset.s(2)
    reset.cx(2, 1)
    reset.h(2)
    reset.measure_all()
    made = [
        *ghz_circuits(num_qubits=[5, 8], seed_sequence=sequence),
        *mirror_circuits(depths=[4, 12], num_circuits=1, num_qubits=6, seed_sequence=sequence),
        reset,
    ]
    manager = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1)
    return [manager.run(circuit) for circuit in made]


def exact(device: NoisyDevice, circuit: QuantumCircuit) -> NDArray[np.float64]:
    """Probabilities of the outcomes, bit 0 least significant."""
    plain = as_plain(circuit)
    assert plain is not None
    ((_, (table,)),) = DensityMatrix(device).probabilities(plain, np.zeros((1, 0)))
    ranks = [circuit.find_bit(bit).index for bit in plain.bits]
    width = len(ranks)
    assert sorted(ranks) == list(range(width))
    outcomes = np.arange(2**width)
    numbers = sum(((outcomes >> k) & 1) << rank for k, rank in enumerate(ranks))
    ordered = np.empty(2**width)
    ordered[numbers] = table
    return ordered


def as_numbers(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(bits.astype(np.int64) @ (1 << np.arange(bits.shape[1])))


def goodness(bits: NDArray[np.uint8], chances: NDArray[np.float64]) -> float:
    """p-value of a chi-square test; what is expected less than 10 times counts as one outcome."""
    observed = np.bincount(as_numbers(bits), minlength=len(chances))
    expected = chances * len(bits)
    rare = expected < 10
    if rare.any():
        observed = np.append(observed[~rare], observed[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    return float(chisquare(observed, expected * observed.sum() / expected.sum()).pvalue)


@pytest.mark.parametrize("name", DEVICES)
def test_shots_have_the_distribution_of_the_density_matrix(name: str) -> None:
    backend = backend_of(name)
    device = NoisyDevice(backend)
    # Errors that are approximated change less than the test could see, see the bound.
    compiler = compiler_of(device, approximate=True)
    for index, circuit in enumerate(circuits(backend)):
        program = compiler.compile(circuit)
        assert program.deviation < 0.1 / np.sqrt(SHOTS) or "torino" in name
        bits = sample(program, SHOTS, np.random.default_rng(index))
        if program.deviation < 0.1 / np.sqrt(SHOTS):
            assert goodness(bits, exact(device, circuit)) > FALSE_ALARMS / _TESTS
        else:
            counted = np.bincount(as_numbers(bits), minlength=2 ** bits.shape[1]) / SHOTS
            assert np.abs(
                counted - exact(device, circuit)
            ).max() < program.deviation + 6 * 0.5 / np.sqrt(SHOTS)


def test_p_values_are_uniform() -> None:
    backend = fake("fake_sherbrooke")
    device = NoisyDevice(backend)
    circuit = circuits(backend)[0]
    program = compiler_of(device).compile(circuit)
    assert program.mean_resets > 0.01
    chances = exact(device, circuit)
    p_values = [
        goodness(sample(program, 20_000, np.random.default_rng(seed)), chances)
        for seed in range(40)
    ]
    assert kstest(p_values, "uniform").pvalue > FALSE_ALARMS / _TESTS


def repetition_code(num_data: int, rounds: int) -> QuantumCircuit:
    """Syndromes of a repetition code on a line, each ancilla reset after it is read."""
    circuit = QuantumCircuit(2 * num_data - 1, rounds * (num_data - 1) + num_data)
    ancillas = range(1, 2 * num_data - 1, 2)
    circuit.x(range(0, 2 * num_data - 1, 2))
    for turn in range(rounds):
        for ancilla in ancillas:
            circuit.cx(ancilla - 1, ancilla)
        for ancilla in ancillas:
            circuit.cx(ancilla + 1, ancilla)
        first = turn * (num_data - 1)
        circuit.measure(ancillas, range(first, first + num_data - 1))
        circuit.reset(ancillas)
    circuit.measure(range(0, 2 * num_data - 1, 2), range(circuit.num_clbits)[-num_data:])
    return circuit


def random_measurements() -> QuantumCircuit:
    """Outcomes that are random but correlated, a bit that is read twice, one that is never."""
    circuit = QuantumCircuit(3, 6)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    circuit.h(0)
    circuit.measure(0, 1)
    circuit.measure(0, 2)
    circuit.cx(1, 2)
    circuit.reset(1)
    circuit.h(1)
    circuit.measure(1, 3)
    circuit.cx(1, 0)
    circuit.measure(0, 3)
    circuit.measure(2, 4)
    return circuit


@pytest.mark.parametrize("name", ["FakeManilaV2", "lattice"])
@pytest.mark.parametrize("circuit", [repetition_code(3, 2), random_measurements()])
def test_measurements_on_the_way_are_those_of_aer(name: str, circuit: QuantumCircuit) -> None:
    backend = backend_of(name)
    device = NoisyDevice(backend)
    isa = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(circuit)
    program = compiler_of(device, approximate=True).compile(isa)
    assert program.deviation < 1e-3
    ours = sample(program, 8000, np.random.default_rng(1))
    active = restrict_to_active(isa)
    result = device.run(
        [active.circuit],
        qubits=active.qubits,
        method="statevector",
        shots=8000,
        seed_simulator=7,
    )
    counts = result.data(0)["counts"]
    theirs = {int(key, 16): count for key, count in counts.items()}
    mine = dict(zip(*np.unique(as_numbers(ours), return_counts=True), strict=True))
    table = np.array([[some.get(key, 0) for key in mine | theirs] for some in (mine, theirs)])
    rare = table.sum(axis=0) < 16
    table = np.hstack([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)])
    assert chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue > FALSE_ALARMS / _TESTS


def test_without_noise_a_repetition_code_sees_nothing() -> None:
    quiet = lattice(1, 9, error_1q=0.0, error_2q=0.0, readout_error=0.0)
    manager = generate_preset_pass_manager(1, backend=quiet, initial_layout=list(range(9)))
    isa = manager.run(repetition_code(5, 3))
    bits = sample(compiler_of(NoisyDevice(quiet)).compile(isa), 500, np.random.default_rng(0))
    assert not bits[:, :12].any()
    assert bits[:, 12:].all()


def wide(backend: BackendV2) -> Program:
    manager = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1)
    (circuit,) = ghz_circuits(num_qubits=100, seed_sequence=np.random.SeedSequence(0))
    return compiler_of(NoisyDevice(backend), approximate=True).compile(manager.run(circuit))


def test_a_hundred_qubits_are_alike_but_for_noise() -> None:
    bits = sample(wide(lattice(10, 10)), 1000, np.random.default_rng(5))
    parity = bits[:, :-1] == bits[:, 1:]
    assert 0.93 < parity.mean() < 1
    assert 0.45 < bits[:, 0].mean() < 0.55


def test_a_seed_gives_the_same_shots_on_every_machine() -> None:
    # A line of fixed gates, so that no other transpiler makes another circuit of it.
    circuit = QuantumCircuit(20, 20)
    circuit.sx(range(20))
    for qubit in range(19):
        circuit.cz(qubit, qubit + 1)
    circuit.reset(7)
    circuit.delay(1000, range(20), unit="ns")
    circuit.sx(range(20))
    circuit.measure(range(20), range(20))
    device = NoisyDevice(lattice(1, 20))
    # Qubits relax, during gates and delays, by resets.
    device.relaxation_times_s = lambda _qubit: (1e-4, 9e-5)  # type: ignore[method-assign]
    program = compiler_of(device).compile(circuit)
    assert program.mean_resets > 0.1
    bits = sample(program, 2000, np.random.default_rng(5))
    # If this changes, archives of such circuits are reproduced as "statistically compatible" only.
    assert hashlib.sha256(bits.tobytes()).hexdigest()[:16] == "432878af364bd61a"


def test_many_shots_are_drawn_in_blocks() -> None:
    program = wide(lattice(10, 10))
    bits = sample(program, 20_000, np.random.default_rng(5))
    first = sample(program, 1 << 14, np.random.default_rng(5))
    np.testing.assert_array_equal(bits[: 1 << 14], first)
    assert not (bits[1 << 14 :] == first[: 20_000 - (1 << 14)]).all()


def test_no_shots_without_qubits_or_bits() -> None:
    compiler = compiler_of(NoisyDevice(lattice(2, 2)))
    rng = np.random.default_rng(0)
    assert sample(compiler.compile(QuantumCircuit(4, 2)), 3, rng).tolist() == [[0, 0]] * 3
    unread = QuantumCircuit(4)
    unread.x(1)
    assert sample(compiler.compile(unread), 3, rng).shape == (3, 0)


def test_the_cost_grows_with_shots_and_resets() -> None:
    program = wide(fake("fake_torino"))
    few, many = predicted_cost(program, 1000), predicted_cost(program, 100_000)
    assert 20 < many.seconds / few.seconds <= 100
    assert few.bytes < many.bytes < 1e9
    assert predicted_cost(wide(lattice(10, 10)), 1000).seconds < few.seconds


def test_the_sampler_takes_frames_where_the_density_matrix_is_too_large() -> None:
    backend = lattice(10, 10)
    manager = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1)
    narrow, broad = (
        manager.run(circuit)
        for circuit in ghz_circuits(num_qubits=[4, 60], seed_sequence=np.random.SeedSequence(0))
    )
    sampler = NoisySampler(backend)
    methods = Methods(NoisyDevice(backend))
    chosen = [methods.for_sampling(pub).method for pub in pubs(narrow, broad)]
    assert chosen == ["density_matrix", "clifford"]
    every = sampler.sample([(narrow,), (broad,), (broad,)], shots=300, seed=4)
    again = sampler.sample([(narrow,), (broad,), (broad,)], shots=300, seed=4, only=range(2, 3))
    bits = [one.data.meas.array for one in every]
    np.testing.assert_array_equal(bits[2], again[0].data.meas.array)
    assert not (bits[1] == bits[2]).all()
    assert sampler.predict((broad,), shots=300).method == "clifford"
    assert "approximated_noise" not in every[1].metadata


def pubs(*circuits: QuantumCircuit) -> list[SamplerPub]:
    return [SamplerPub.coerce((circuit,), 300) for circuit in circuits]


def deep_on(backend: BackendV2) -> QuantumCircuit:
    """A mirror circuit that uses 30 qubits at a time."""
    (circuit,) = mirror_circuits(
        num_qubits=30, depths=[30], num_circuits=1, seed_sequence=np.random.SeedSequence(0)
    )
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(circuit)


def test_the_sampler_says_what_it_approximates() -> None:
    backend = fake("fake_torino")
    (pub,) = pubs(deep_on(backend))
    without = NoisySampler(backend)
    assert without.predict(pub, shots=300).method == "matrix_product_state"
    assert without.predict(pub, shots=300).approximation == {}
    device = pickle.loads(pickle.dumps(make_device(backend, approximate_noise=True)))
    sampler = pickle.loads(pickle.dumps(NoisySampler(device)))
    (result,) = sampler.sample([pub], shots=300, seed=1)
    stated = result.metadata["approximated_noise"]
    assert sampler.predict(pub, shots=300).approximation == stated
    assert 0 < max(stated["errors"].values()) <= stated["deviation"] < 1e-1
    assert all(name.split()[0] in {"sx", "x", "cz"} for name in stated["errors"])


@pytest.mark.parametrize("name", ["lattice", "fake_sherbrooke"])
def test_expectation_values_are_those_of_the_density_matrix(name: str) -> None:
    backend = backend_of(name)
    circuit = QuantumCircuit(5)
    circuit.h(0)
    for qubit in range(4):
        circuit.cx(qubit, qubit + 1)
    circuit.s(2)
    isa = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(circuit)
    terms = ["ZZIII", "IIZZI", "XXYXX", "YXXXX", "IIIII", "XXIII", "ZIIII", "IZIIZ"]
    observables = SparsePauliOp(terms).apply_layout(isa.layout)
    pub = (isa, [[term] for term in observables])
    device = make_device(backend, approximate_noise=True)
    expected = NoisyEstimator(device).estimate([pub], precision=0, seed=0)[0].data.evs
    estimator = NoisyEstimator(device, method="clifford")
    (result,) = estimator.estimate([pub], precision=1 / 128, seed=3)
    assert estimator.predict(pub, precision=0.1).method == "clifford"
    deviation = result.metadata.get("approximated_noise", {"deviation": 0.0})["deviation"]
    assert deviation < 1e-3
    errors = np.abs(result.data.evs - expected) - 2 * deviation
    assert (errors <= 5 * result.data.stds + 1e-12).all()
    assert result.data.evs[4] == 1
    (again,) = estimator.estimate([pub], precision=1 / 128, seed=3)
    np.testing.assert_array_equal(again.data.evs, result.data.evs)


def test_noise_is_not_approximated_where_an_exact_method_is_quick() -> None:
    backend = fake("fake_torino")
    manager = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1)
    narrow, broad = (
        manager.run(circuit)
        for circuit in ghz_circuits(num_qubits=[12, 30], seed_sequence=np.random.SeedSequence(0))
    )
    methods = Methods(NoisyDevice(backend, approximate=True))
    some = pubs(narrow, broad, deep_on(backend))
    chosen = [methods.for_sampling(pub).method for pub in some]
    assert chosen == ["trajectory_tree", "trajectory_tree", "clifford"]
    only = Methods(NoisyDevice(backend, approximate=True), "clifford")
    assert only.for_sampling(pubs(narrow)[0]).approximated_noise


def test_exact_expectation_values_are_not_sampled() -> None:
    backend = lattice(3, 5)
    circuit = QuantumCircuit(15)
    circuit.x(0)
    estimator = NoisyEstimator(backend)
    pub = EstimatorPub.coerce((circuit, "Z" * 15), 0.0)
    refusal = "at most 11 qubits have exact expectation values"
    with pytest.raises(SimulationError, match=refusal):
        estimator.estimate([pub], precision=0, seed=1)
    with pytest.raises(SimulationError, match=refusal):
        estimator.predict(pub, precision=0)


def test_the_noise_of_the_rotations_counts() -> None:
    # Nothing but a rotation has an error that is no mixture there.
    circuit = QuantumCircuit(133)
    circuit.rz(np.pi / 2, 6)
    work = Work(circuit, None, (6,), np.zeros((1, 0)), 100, is_estimated=True)
    device = NoisyDevice(fake("fake_torino"))
    objection = CliffordFrames(device, DensityMatrix(device)).objection(work)
    assert objection is not None
    assert objection.startswith("the error of sx 6 ")
