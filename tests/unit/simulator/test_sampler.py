from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Parameter
from qiskit.circuit.library import quantum_volume
from qiskit.primitives import BackendSamplerV2, DataBin
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator
from scipy.stats import chi2_contingency

from qexp.engines.local.backends import aer, fake
from qexp.simulator import NoisySampler, SimulationError, sampler
from qexp.simulator.circuits import as_plain

NOISY = NoisySampler(fake("FakeManilaV2"))
IDEAL = NoisySampler(aer(5))


def sample(simulator: NoisySampler, pubs: Sequence[SamplerPub], seed: int = 1) -> Any:
    return simulator.sample(pubs, shots=100, seed=seed)


def permuted(shots: int | None = 60) -> SamplerPub:
    """Two registers that share nothing with the order of the qubits, a sweep of shape (2, 3)."""
    qubits, first, second = QuantumRegister(5), ClassicalRegister(9, "first"), Clbit()
    circuit = QuantumCircuit(qubits, first, [second], ClassicalRegister(2, "second"))
    angle = Parameter("angle")
    circuit.rz(angle, 0)
    circuit.sx([0, 3])
    circuit.x(1)
    circuit.measure([1, 3, 0], [8, 10, 3])
    circuit.metadata = {"k": 1}
    return SamplerPub.coerce((circuit, np.linspace(0, 3, 6).reshape(2, 3)), shots)


def halfway() -> SamplerPub:
    """A circuit without a final state to sample."""
    circuit = QuantumCircuit(QuantumRegister(5), ClassicalRegister(3, "first"))
    circuit.sx(4)
    circuit.measure(4, 2)
    # No Clifford gate, so that Aer runs it.
    circuit.rz(0.3, 4)
    circuit.sx(4)
    circuit.measure(4, 0)
    return SamplerPub.coerce((circuit,), 60)


@pytest.mark.parametrize("simulator", [NOISY, IDEAL], ids=["noisy", "ideal"])
def test_results_look_like_those_of_qiskits_sampler(simulator: Any) -> None:
    pubs = [permuted(), halfway(), permuted(30)]
    ours = sample(simulator, pubs)
    theirs = BackendSamplerV2(backend=aer(5)).run(pubs).result()
    assert ours.metadata == theirs.metadata
    for one, other in zip(ours, theirs, strict=True):
        assert one.metadata == other.metadata
        assert type(one) is type(other)
        assert isinstance(one.data, DataBin)
        assert list(one.data) == list(other.data)
        assert one.data.shape == other.data.shape
        for register in one.data:
            mine, its = one.data[register], other.data[register]
            assert (mine.shape, mine.num_shots, mine.num_bits) == (
                its.shape,
                its.num_shots,
                its.num_bits,
            )
            assert (mine.array.dtype, mine.array.shape) == (its.array.dtype, its.array.shape)


def test_bits_are_where_qiskits_sampler_puts_them() -> None:
    pubs = [permuted(), halfway()]
    for one, other in zip(
        sample(IDEAL, pubs),
        BackendSamplerV2(backend=aer(5)).run(pubs).result(),
        strict=True,
    ):
        for register in one.data:
            mine, its = one.data[register].to_bool_array(), other.data[register].to_bool_array()
            # Every bit is certain or a fair coin.
            certain = mine.all(axis=-2) | ~mine.any(axis=-2)
            assert (certain == (its.all(axis=-2) | ~its.any(axis=-2))).all()
            assert (mine[..., 0, :] == its[..., 0, :])[certain].all()


def test_noisy_bits_are_where_ideal_ones_are() -> None:
    (noisy,) = sample(NOISY, [permuted(2000)])
    (ideal,) = sample(IDEAL, [permuted(2000)])
    for register in noisy.data:
        means = [one.data[register].to_bool_array().mean(axis=-2) for one in (noisy, ideal)]
        assert np.abs(means[0] - means[1]).max() < 0.1


def test_shots_are_in_random_order() -> None:
    circuit = QuantumCircuit(5)
    circuit.sx(0)
    circuit.measure_all()
    (result,) = sample(NOISY, [SamplerPub.coerce((circuit,), 4000)])
    flips = result.data.meas.array[:, 0] & 1
    changes = np.count_nonzero(np.diff(flips))
    # About every second shot differs from the one before, +- 32.
    assert 1850 < changes < 2150


@pytest.mark.parametrize("simulator", [NOISY, IDEAL], ids=["noisy", "ideal"])
def test_the_seed_decides_and_equal_pubs_differ(simulator: Any) -> None:
    def bits(seed: int) -> list[Any]:
        pubs = [permuted(), permuted(), halfway(), halfway()]
        return [one.data.first.array for one in sample(simulator, pubs, seed)]

    once, again, other = bits(1), bits(1), bits(2)
    assert all((one == same).all() for one, same in zip(once, again, strict=True))
    for index in range(4):
        assert (once[index] != other[index]).any()
    assert (once[0] != once[1]).any()
    assert (once[2] != once[3]).any()


def test_shots_are_split_into_calls_whose_seeds_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    run = AerSimulator.run

    def spy(self: AerSimulator, circuits: Any, **options: Any) -> Any:
        calls.append((options["seed_simulator"], options["shots"]))
        return run(self, circuits, **options)

    monkeypatch.setattr(AerSimulator, "run", spy)
    monkeypatch.setattr(sampler, "_MAX_SHOTS", 1000)
    (result,) = sample(NoisySampler(aer(8)), [shot_by_shot(2500)], 3)
    assert [shots for _, shots in calls] == [1000, 1000, 500]
    seeds = [seed for seed, _ in calls]
    assert np.diff(seeds).tolist() == [2113, 2113]
    # 2500 shots of 8 fair coins show nearly all 256 outcomes.
    assert len(result.data.meas.get_counts()) > 240


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_exact_and_shot_by_shot_put_bits_in_the_same_places(data: st.DataObject) -> None:
    num_bits = data.draw(st.integers(1, 20))
    qubits = data.draw(st.lists(st.integers(0, 4), max_size=5, unique=True))
    places = data.draw(st.permutations(range(num_bits)))[: len(qubits)]
    flipped = data.draw(st.sets(st.integers(0, 4)))
    circuit = QuantumCircuit(5, num_bits)
    for qubit in flipped:
        circuit.x(qubit)
    circuit.measure(qubits[: len(places)], places)
    expected = sum(
        1 << place for qubit, place in zip(qubits, places, strict=False) if qubit in flipped
    )
    pub = SamplerPub.coerce((circuit,), 200)
    for simulator in (NOISY, IDEAL):
        (result,) = sample(simulator, [pub])
        counts = result.data.c.get_int_counts()
        assert max(counts, key=counts.__getitem__) == expected


def test_circuits_that_the_density_matrix_can_sample() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.reset(0)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.delay(100, 1)
    circuit.measure([1, 0], [0, 1])
    plain = as_plain(circuit)
    assert plain is not None
    assert plain.qubits == (0, 1)
    assert plain.bits == tuple(circuit.clbits)
    assert (plain.gates, plain.pair_gates) == (6, 1)
    assert as_plain(halfway().circuit) is None
    overwritten = QuantumCircuit(2, 1)
    overwritten.measure([0, 1], [0, 0])
    assert as_plain(overwritten) is None
    conditional = QuantumCircuit(1, 1)
    with conditional.if_test((conditional.clbits[0], 1)):
        conditional.x(0)
    assert as_plain(conditional) is None


def test_a_delay_can_have_a_parameter() -> None:
    t1_s = fake().target.qubit_properties[0].t1
    circuit, delay = QuantumCircuit(5, 1), Parameter("delay")
    circuit.x(0)
    circuit.delay(delay, 0, unit="s")
    circuit.measure(0, 0)
    assert as_plain(circuit) is None
    pub = SamplerPub.coerce((circuit, [0.0, t1_s]), 2000)
    counts = sample(NOISY, [pub])[0].data.c
    assert counts.get_counts(0)["1"] > 1800
    assert counts.get_counts(1)["1"] == pytest.approx(2000 / np.e, abs=150)


def test_a_gate_with_a_label_of_its_own_has_no_noise_as_in_aer() -> None:
    circuit = QuantumCircuit(5, 1)
    for _ in range(400):
        circuit.x(0, label="mine")
    circuit.measure(0, 0)
    labelled = sample(NOISY, [SamplerPub.coerce((circuit,), 2000)])[0].data.c
    plain = AerSimulator.from_backend(fake("FakeManilaV2"))
    theirs = plain.run(circuit, shots=2000, seed_simulator=1).result().get_counts()
    assert abs(labelled.get_counts()["0"] - theirs["0"]) < 40
    for instruction in range(400):
        circuit.data[instruction] = circuit.data[instruction].replace(
            operation=QuantumCircuit(1).x(0)[0].operation
        )
    noisy = sample(NOISY, [SamplerPub.coerce((circuit,), 2000)])[0].data.c
    assert noisy.get_counts()["0"] < labelled.get_counts()["0"] - 40


def coin_flips(num_qubits: int = 8, shots: int = 100) -> SamplerPub:
    circuit = QuantumCircuit(num_qubits)
    circuit.h(range(num_qubits))
    circuit.measure_all()
    return SamplerPub.coerce((circuit,), shots)


def shot_by_shot(shots: int) -> SamplerPub:
    """A PUB that Aer cannot sample from one final state: it resets in the middle."""
    circuit = QuantumCircuit(8)
    circuit.h(range(8))
    circuit.reset(0)
    circuit.h(0)
    circuit.measure_all()
    return SamplerPub.coerce((circuit,), shots)


@pytest.mark.parametrize("shots", [2000, 3000, 5000])
def test_no_stretch_of_shots_repeats_in_the_next_equal_circuit(shots: int) -> None:
    pubs = [shot_by_shot(shots), shot_by_shot(shots)]
    first, second = (one.data.meas.array for one in sample(NoisySampler(aer(8)), pubs))
    for shift in range(0, shots, 2113):
        # 8 fair coins agree by chance once in 256 shots.
        assert (first[shift:] == second[: shots - shift]).mean() < 0.05


def test_pubs_of_different_shots_do_not_share_random_numbers() -> None:
    pubs = [shot_by_shot(300), shot_by_shot(500)]
    short, long = (one.data.meas.array for one in sample(NoisySampler(aer(8)), pubs))
    assert (short == long[:300]).mean() < 0.05


def test_results_keep_the_order_and_shots_of_the_pubs() -> None:
    flipped = QuantumCircuit(2)
    flipped.x(0)
    flipped.measure_all()
    idle = QuantumCircuit(2)
    idle.measure_all()
    pubs = [
        SamplerPub.coerce((circuit,), shots)
        for circuit, shots in ((idle, 10), (flipped, 5000), (idle, 5000), (flipped, 10))
    ]
    counts = [one.data.meas.get_counts() for one in sample(NoisySampler(aer(2)), pubs)]
    assert counts == [{"00": 10}, {"01": 5000}, {"00": 5000}, {"01": 10}]


def test_all_circuits_go_to_aer_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    run = AerSimulator.run

    def spy(self: AerSimulator, circuits: Any, **options: Any) -> Any:
        calls.append(len(circuits))
        return run(self, circuits, **options)

    monkeypatch.setattr(AerSimulator, "run", spy)
    sample(NoisySampler(aer(8)), [coin_flips()] * 5)
    assert calls == [5]


def test_an_idle_qubit_may_have_a_delay_with_a_parameter() -> None:
    delay = Parameter("delay")
    circuit = halfway().circuit.copy()
    circuit.delay(delay, 1)
    circuit.rz(Parameter("angle"), 4)
    pub = SamplerPub.coerce((circuit, {("angle", "delay"): [0.1, 100.0]}), 10)
    assert sample(NOISY, [pub])[0].data.first.num_shots == 10


@pytest.mark.parametrize(
    "method", ["statevector", "matrix_product_state", "automatic", "trajectory_tree"]
)
def test_methods_give_the_same_distribution(method: str) -> None:
    volume = quantum_volume(5, 3, seed=2)
    volume.measure_all()
    passes = generate_preset_pass_manager(1, backend=fake(), seed_transpiler=5)
    pub = SamplerPub.coerce((passes.run(volume),), 1000)
    tables = [np.bincount(sample(NOISY, [pub], 7)[0].data.meas.array.ravel(), minlength=32)]
    shots = sample(NoisySampler(fake(), method=method), [pub], 7)[0].data.meas.array.ravel()
    both = np.array([tables[0], np.bincount(shots, minlength=32)])
    assert chi2_contingency(both[:, both.sum(axis=0) > 0]).pvalue > 0.01


def looping() -> SamplerPub:
    circuit = QuantumCircuit(5, 1)
    with circuit.for_loop(range(2)):
        circuit.x(0)
    circuit.measure(0, 0)
    return SamplerPub.coerce((circuit,), 10)


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("density_matrix", "it is dynamic.*, by density_matrix"),
        ("trajectory_tree", "it has the operation for_loop, by trajectory_tree"),
    ],
)
def test_a_method_that_cannot_do_a_circuit_says_why(method: str, why: str) -> None:
    sampler = NoisySampler(fake(), method=method)
    assert re.search(why, sampler.objection(looping()) or "")
    with pytest.raises(SimulationError, match=why):
        sample(sampler, [looping()])


def test_an_ideal_simulator_takes_the_stabilizer_method_for_wide_clifford_circuits() -> None:
    wide = QuantumCircuit(60)
    wide.h(0)
    for qubit in range(59):
        wide.cx(qubit, qubit + 1)
    wide.measure_all()
    bits = sample(NoisySampler(aer(60)), [SamplerPub.coerce((wide,), 200)])[0].data.meas.array
    assert {row.tobytes().hex() for row in bits} == {"0" * 16, "0" + "f" * 15}


def test_a_failed_simulation_is_an_error_not_zeros() -> None:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.t(0)
    circuit.measure_all()
    with pytest.raises(SimulationError, match="the simulation failed"):
        sample(NoisySampler(aer(1, "stabilizer")), [SamplerPub.coerce((circuit,), 10)])


@pytest.mark.parametrize("simulator", [NOISY, IDEAL], ids=["noisy", "ideal"])
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**31 - 1))
@settings(max_examples=10, deadline=None)
def test_some_of_the_pubs_have_the_shots_that_they_have_among_all(
    simulator: NoisySampler, first: int, count: int, seed: int
) -> None:
    pubs = [permuted(), halfway(), halfway(), permuted(30), halfway()]
    only = range(first, min(first + count, len(pubs)))
    every = sample(simulator, pubs, seed)
    some = simulator.sample(pubs, shots=100, seed=seed, only=only)
    assert len(some) == len(only)
    for index, one in zip(only, some, strict=True):
        for name, bits in one.data.items():
            np.testing.assert_array_equal(bits.array, every[index].data[name].array)


def test_methods_and_costs_are_predicted() -> None:
    plain, dynamic = permuted(), halfway()
    ours, aers = NOISY.predict(plain, shots=100), NOISY.predict(dynamic, shots=100)
    assert (ours.method, ours.on_aer) == ("density_matrix", False)
    assert (aers.method, aers.on_aer) == ("statevector", True)
    for one in (ours, aers):
        assert one.cost is not None
        assert 0 < one.cost.seconds < 1
    ideal = IDEAL.predict(plain, shots=100)
    assert (ideal.method, ideal.cost, ideal.on_aer, ideal.approximation) == (
        "given",
        None,
        True,
        {},
    )


def test_an_expression_without_a_derivative_is_simulated() -> None:
    circuit, angle = QuantumCircuit(5, 1), Parameter("angle")
    circuit.sx(0)
    circuit.rz(np.pi * angle.sign(), 0)
    circuit.sx(0)
    circuit.measure(0, 0)
    [result] = sample(NOISY, [SamplerPub.coerce((circuit, [[-2.5], [0.0]]), 1000)])
    # sx rz(-pi) sx is the identity, sx sx a NOT.
    ones = [result.data.c[k].get_counts().get("1", 0) for k in range(2)]
    assert ones[0] < 100
    assert ones[1] > 900


def test_a_qubit_may_be_read_into_many_bits() -> None:
    circuit = QuantumCircuit(5, 70)
    circuit.x(0)
    for bit in range(70):
        circuit.measure(0, bit)
    [result] = sample(NOISY, [SamplerPub.coerce((circuit,), 20)])
    assert result.data.c.bitcount().min() > 35
