from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Parameter
from qiskit.primitives import BackendSamplerV2, DataBin
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer import AerSimulator

from qexp.engines.local import sampling
from qexp.engines.local.backends import aer, fake
from qexp.engines.local.exact import as_final
from qexp.engines.local.methods import is_exact_cheaper, trajectories
from qexp.engines.local.reduced import ReducedDevice
from qexp.engines.local.sampling import Sampling

NOISY = ReducedDevice(fake("FakeManilaV2"))


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
    """What no final state can be sampled for."""
    circuit = QuantumCircuit(QuantumRegister(5), ClassicalRegister(3, "first"))
    circuit.sx(4)
    circuit.measure(4, 2)
    circuit.sx(4)
    circuit.measure(4, 0)
    return SamplerPub.coerce((circuit,), 60)


@pytest.mark.parametrize("simulator", [NOISY, aer(5)], ids=["noisy", "ideal"])
def test_results_look_like_those_of_qiskits_sampler(simulator: Any) -> None:
    pubs = [permuted(), halfway(), permuted(30)]
    ours = Sampling(simulator).run(pubs, 1)
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
        Sampling(aer(5)).run(pubs, 1),
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
    (noisy,) = Sampling(NOISY).run([permuted(2000)], 1)
    (ideal,) = Sampling(aer(5)).run([permuted(2000)], 1)
    for register in noisy.data:
        means = [one.data[register].to_bool_array().mean(axis=-2) for one in (noisy, ideal)]
        assert np.abs(means[0] - means[1]).max() < 0.1


def test_shots_are_in_random_order() -> None:
    circuit = QuantumCircuit(5)
    circuit.sx(0)
    circuit.measure_all()
    (result,) = Sampling(NOISY).run([SamplerPub.coerce((circuit,), 4000)], 1)
    flips = result.data.meas.array[:, 0] & 1
    changes = np.count_nonzero(np.diff(flips))
    # About every second shot differs from the one before, +- 32.
    assert 1850 < changes < 2150


@pytest.mark.parametrize("simulator", [NOISY, aer(5)], ids=["noisy", "ideal"])
def test_the_seed_decides_and_equal_pubs_differ(simulator: Any) -> None:
    def bits(seed: int) -> list[Any]:
        pubs = [permuted(), permuted(), halfway(), halfway()]
        return [one.data.first.array for one in Sampling(simulator).run(pubs, seed)]

    once, again, other = bits(1), bits(1), bits(2)
    assert all((one == same).all() for one, same in zip(once, again, strict=True))
    for index in range(4):
        assert (once[index] != other[index]).any()
    assert (once[0] != once[1]).any()
    assert (once[2] != once[3]).any()


def test_shots_are_split_into_calls_whose_seeds_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = QuantumCircuit(8)
    circuit.h(range(8))
    circuit.reset(0)
    circuit.h(0)
    circuit.measure_all()
    calls: list[tuple[int, int]] = []
    run = AerSimulator.run

    def spy(self: AerSimulator, circuits: Any, **options: Any) -> Any:
        calls.append((options["seed_simulator"], options["shots"]))
        return run(self, circuits, **options)

    monkeypatch.setattr(AerSimulator, "run", spy)
    monkeypatch.setattr(sampling, "_MAX_SHOTS", 1000)
    (result,) = Sampling(aer(8)).run([SamplerPub.coerce((circuit,), 2500)], 3)
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
    for simulator in (NOISY, aer(5)):
        (result,) = Sampling(simulator).run([pub], 1)
        counts = result.data.c.get_int_counts()
        assert max(counts, key=counts.__getitem__) == expected


def test_what_the_density_matrix_can_sample() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.reset(0)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.delay(100, 1)
    circuit.measure([1, 0], [0, 1])
    final = as_final(circuit)
    assert final is not None
    assert final.qubits == (0, 1)
    assert final.bits == tuple(circuit.clbits)
    assert (final.gates, final.pair_gates) == (6, 1)
    assert as_final(halfway().circuit) is None
    overwritten = QuantumCircuit(2, 1)
    overwritten.measure([0, 1], [0, 0])
    assert as_final(overwritten) is None
    conditional = QuantumCircuit(1, 1)
    with conditional.if_test((conditional.clbits[0], 1)):
        conditional.x(0)
    assert as_final(conditional) is None


def test_a_delay_can_have_a_parameter() -> None:
    t1_s = NOISY.target.qubit_properties[0].t1
    circuit, delay = QuantumCircuit(5, 1), Parameter("delay")
    circuit.x(0)
    circuit.delay(delay, 0, unit="s")
    circuit.measure(0, 0)
    assert as_final(circuit) is None
    pub = SamplerPub.coerce((circuit, [0.0, t1_s]), 2000)
    counts = Sampling(NOISY).run([pub], 1)[0].data.c
    assert counts.get_counts(0)["1"] > 1800
    assert counts.get_counts(1)["1"] == pytest.approx(2000 / np.e, abs=150)


def test_a_gate_with_a_label_of_its_own_has_no_noise_as_in_aer() -> None:
    circuit = QuantumCircuit(5, 1)
    for _ in range(400):
        circuit.x(0, label="mine")
    circuit.measure(0, 0)
    labelled = Sampling(NOISY).run([SamplerPub.coerce((circuit,), 2000)], 1)[0].data.c
    plain = AerSimulator.from_backend(fake("FakeManilaV2"))
    theirs = plain.run(circuit, shots=2000, seed_simulator=1).result().get_counts()
    assert abs(labelled.get_counts()["0"] - theirs["0"]) < 40
    for instruction in range(400):
        circuit.data[instruction] = circuit.data[instruction].replace(
            operation=QuantumCircuit(1).x(0)[0].operation
        )
    noisy = Sampling(NOISY).run([SamplerPub.coerce((circuit,), 2000)], 1)[0].data.c
    assert noisy.get_counts()["0"] < labelled.get_counts()["0"] - 40


@pytest.mark.parametrize(("width", "shots", "exact"), [(5, 100, True), (11, 1, False)])
def test_the_density_matrix_is_for_narrow_circuits_with_many_shots(
    width: int, shots: int, exact: bool
) -> None:
    circuit = QuantumCircuit(width)
    for qubit in range(width - 1):
        circuit.cz(qubit, qubit + 1)
    circuit.measure_all()
    final = as_final(circuit)
    assert final is not None
    assert is_exact_cheaper(final, shots) is exact


def test_wide_circuits_of_little_entanglement_are_matrix_product_states() -> None:
    chain = QuantumCircuit(20)
    for qubit in range(19):
        chain.cz(qubit, qubit + 1)
    dense = QuantumCircuit(20)
    for _ in range(20):
        for qubit in range(19):
            dense.cz(qubit, qubit + 1)
    assert trajectories(chain) == "matrix_product_state"
    assert trajectories(dense) == "statevector"
    assert trajectories(QuantumCircuit(100)) == "matrix_product_state"
    assert trajectories(QuantumCircuit(1)) == "statevector"
