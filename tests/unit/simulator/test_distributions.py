"""The simulator gives what `AerSimulator.from_backend` gives, over all generators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qasm3, qpy
from qiskit.primitives import BackendSamplerV2
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import BackendV2
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator
from scipy.stats import chi2_contingency, chisquare

from experiments.chsh import pubs as chsh_pubs
from experiments.relaxation import circuits as relaxation_circuits
from qexp.circuits.broadcast import estimator_pubs, sampler_pubs
from qexp.circuits.efficient_su2 import efficient_su2_pubs
from qexp.circuits.ghz import ghz_circuits
from qexp.circuits.ising import ising_pubs
from qexp.circuits.mirror import mirror_circuits
from qexp.circuits.qasm import qasm_circuits
from qexp.circuits.qpy import qpy_circuits
from qexp.circuits.quantum_volume import quantum_volume_circuits
from qexp.circuits.random import random_circuits
from qexp.engines.local.backends import fake
from qexp.simulator import NoisySampler
from qexp.simulator.circuits import as_plain
from qexp.simulator.density_matrix import DensityMatrix
from qexp.simulator.noise import NoisyDevice
from qexp.simulator.walk import Gap

SHOTS = 20_000

EARLY = "trajectory_tree that measures qubits once they are done, as on more qubits"
METHODS = ["density_matrix", "trajectory_tree", EARLY]

# Probability that any of the tests of distributions here fails although all is right, if its seed
# is changed: divided by their number (Bonferroni).
FALSE_ALARM = 0.01

# Aer drops what is smaller than 1e-8 of a channel that is no mixture of unitaries (T2 > T1).
TOLERANCE = 1e-8

SU2: dict[str, Any] = {"su2_gates": ["ry", "rz"], "parameter_sets": [2]}


def from_files(name: str) -> Iterator[Any]:
    """Circuits that are read from files: one with an angle of its own, one that resets."""
    rotated = QuantumCircuit(3, 3)
    rotated.ry(0.7, 0)
    rotated.cx(0, 2)
    rotated.measure([0, 1, 2], [2, 0, 1])
    again = QuantumCircuit(2)
    again.h(0)
    again.cx(0, 1)
    again.reset(0)
    again.measure_all()
    with TemporaryDirectory() as folder:
        for index, circuit in enumerate((rotated, again)):
            if name == "qasm":
                Path(folder, f"{index}.qasm").write_text(qasm3.dumps(circuit))
            else:
                with Path(folder, f"{index}.qpy").open("wb") as file:
                    qpy.dump(circuit, file)
        read = qasm_circuits if name == "qasm" else qpy_circuits
        yield from read(files=f"{folder}/*.{name}", seed_sequence=np.random.SeedSequence(0))


GENERATORS: dict[str, Callable[[np.random.SeedSequence], Iterator[Any]]] = {
    "random": lambda seed: random_circuits(num_circuits=4, seed_sequence=seed),
    "random_reset": lambda seed: random_circuits(num_circuits=2, reset=True, seed_sequence=seed),
    "ghz": lambda seed: ghz_circuits(num_qubits=[3, 5], seed_sequence=seed),
    "quantum_volume": lambda seed: quantum_volume_circuits(
        num_circuits=2, num_qubits=4, seed_sequence=seed
    ),
    "mirror": lambda seed: mirror_circuits(depths=[2, 8], num_circuits=1, seed_sequence=seed),
    "ising": lambda seed: ising_pubs(steps=[0, 2], num_qubits=4, seed_sequence=seed),
    "efficient_su2": lambda seed: efficient_su2_pubs(**SU2, seed_sequence=seed),
    "efficient_su2_measured": lambda seed: efficient_su2_pubs(
        **SU2, measure=True, seed_sequence=seed
    ),
    "broadcast_sampler": lambda seed: sampler_pubs(parameter_sets=[2], seed_sequence=seed),
    "broadcast_estimator": lambda seed: estimator_pubs(parameter_sets=[3, 2], seed_sequence=seed),
    "qasm": lambda _: from_files("qasm"),
    "qpy": lambda _: from_files("qpy"),
    "chsh": lambda _: chsh_pubs(num_angles=3),
    "relaxation": lambda _: relaxation_circuits(num_delays=3, longest_us=200),
}
CONDITIONAL = {"conditional": True, "num_qubits": 3, "depth": 4, "max_operands": 2}


@pytest.fixture(params=["FakeManilaV2", "FakeSherbrooke"], scope="module")
def backend(request: pytest.FixtureRequest) -> BackendV2:
    return fake(request.param)


@pytest.fixture(scope="module")
def plain(backend: BackendV2) -> AerSimulator:
    # Threads give the same and would only wait for one another.
    return AerSimulator.from_backend(backend, max_parallel_threads=1)


@dataclass(frozen=True)
class Case:
    """PUBs of one generator, and the exact probabilities of each of their circuits."""

    pubs: list[SamplerPub]
    probabilities: list[NDArray[np.float64]]


@pytest.fixture(scope="module")
def cases(backend: BackendV2, plain: AerSimulator) -> dict[str, Case]:
    pubs = {name: measured_pubs(name, backend) for name in GENERATORS}
    circuits = {name: [one for pub in found for one in bound(pub)] for name, found in pubs.items()}
    # All in one call: the noise of a whole device takes Aer a second each time.
    known = iter(exact_by_aer(plain, [one for some in circuits.values() for one in some]))
    return {name: Case(pubs[name], list(islice(known, len(circuits[name])))) for name in GENERATORS}


def measured_pubs(name: str, backend: BackendV2) -> list[SamplerPub]:
    """ISA Sampler PUBs with the circuits of a generator."""
    manager = generate_preset_pass_manager(1, backend=backend, seed_transpiler=4)
    pubs = []
    for pub_like in GENERATORS[name](np.random.SeedSequence(11)):
        pub: Any = (
            EstimatorPub.coerce(pub_like)
            if isinstance(pub_like, tuple) and not pub_like[0].num_clbits
            else SamplerPub.coerce(pub_like)
        )
        circuit = pub.circuit
        if not circuit.num_clbits:
            circuit = circuit.measure_all(inplace=False)
        isa = manager.run(circuit)
        pubs.append(SamplerPub(isa, pub.parameter_values, SHOTS))
    return pubs


def bound(pub: SamplerPub) -> list[QuantumCircuit]:
    return list(np.ravel(pub.parameter_values.bind_all(pub.circuit)))


def exact_by_aer(plain: AerSimulator, circuits: Sequence[QuantumCircuit]) -> list[NDArray[Any]]:
    """Probabilities of the measured bits, in the order of the bits, by the whole device's noise.

    Aer does not save probabilities with readout errors: these are added as a channel of their own.
    """
    saving, reads = [], []
    for circuit in circuits:
        # Every bit and the qubit that is read into it.
        read = {
            circuit.find_bit(one.clbits[0]).index: circuit.find_bit(one.qubits[0]).index
            for one in circuit.data
            if one.name == "measure"
        }
        saved = circuit.copy_empty_like()
        for instruction in circuit.data:
            if instruction.name != "measure":
                saved.append(instruction)
        saved.save_probabilities(sorted(set(read.values())))
        saving.append(saved)
        reads.append([read[bit] for bit in sorted(read)])
    result = plain.run(saving, method="density_matrix", shots=1).result()
    assert result.success
    known = readouts(plain)
    return [
        reading(known, read) @ result.data(index)["probabilities"]
        for index, read in enumerate(reads)
    ]


def reading(known: dict[int, NDArray[np.float64]], read: Sequence[int]) -> NDArray[np.float64]:
    """Probabilities of the bits that are read (rows) where the qubits have values (columns)."""
    qubits = sorted(set(read))
    rows, columns = np.indices((2 ** len(read), 2 ** len(qubits)))
    matrix = np.ones(rows.shape)
    for bit, qubit in enumerate(read):
        matrix *= known[qubit][(rows >> bit) & 1, (columns >> qubits.index(qubit)) & 1]
    return matrix


def readouts(plain: AerSimulator) -> dict[int, NDArray[np.float64]]:
    """Probabilities to read 0 and 1 (rows) where 0 and 1 (columns) is, of each qubit."""
    return {
        error["gate_qubits"][0][0]: np.array(error["probabilities"]).T
        for error in plain.options.noise_model.to_dict()["errors"]
        if error["type"] == "roerror"
    }


def sample(
    backend: BackendV2, pubs: Sequence[SamplerPub], seed: int = 5, method: str | None = None
) -> Any:
    return NoisySampler(backend, method=method).sample(pubs, shots=SHOTS, seed=seed)


def outcomes(data: Any) -> NDArray[np.int64]:
    """Every shot as one number over all registers, of shape (sets, shots)."""
    numbers: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    for register in reversed(list(data)):
        bits = data[register]
        value = np.zeros(bits.array.shape[:-1], dtype=np.int64)
        for byte in range(bits.array.shape[-1]):
            value = (value << 8) | bits.array[..., byte]
        numbers = (numbers << bits.num_bits) | value
    return numbers.reshape(-1, numbers.shape[-1])


@pytest.mark.parametrize("name", GENERATORS)
def test_probabilities_are_those_of_the_whole_device(
    name: str, backend: BackendV2, cases: dict[str, Case]
) -> None:
    device = DensityMatrix(NoisyDevice(backend))
    ours = []
    for pub in cases[name].pubs:
        plain = as_plain(pub.circuit)
        assert plain is not None
        values = pub.parameter_values.as_array(pub.circuit.parameters)
        tables = device.probabilities(plain, values.reshape(pub.parameter_values.size, -1))
        # In the order of the bits, as Aer's.
        ranks = np.argsort([pub.circuit.find_bit(bit).index for bit in plain.bits])
        width = len(ranks)
        for _, table in tables:
            axes = [width - int(rank) for rank in reversed(ranks)]
            split = table.reshape(-1, *(2,) * width).transpose(0, *axes)
            ours.extend(split.reshape(len(table), -1))
    for one, other in zip(ours, cases[name].probabilities, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", GENERATORS)
def test_shots_follow_the_probabilities_of_plain_aer(
    name: str,
    method: str,
    backend: BackendV2,
    cases: dict[str, Case],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if method == EARLY:
        monkeypatch.setattr(Gap, "is_worth_measuring", lambda *_: True)
        method = "trajectory_tree"
    sampled = sample(backend, cases[name].pubs, method=method)
    numbers = [row for one in sampled for row in outcomes(one.data)]
    p_values = [
        goodness(row, chances)
        for row, chances in zip(numbers, cases[name].probabilities, strict=True)
    ]
    assert min(p_values) > FALSE_ALARM / (len(p_values) * len(GENERATORS) * 2 * len(METHODS))


def goodness(row: NDArray[np.int64], chances: NDArray[np.float64]) -> float:
    """p-value of a chi-square test; what is expected less than 10 times counts as one outcome."""
    observed = np.bincount(row, minlength=len(chances))
    expected = chances * len(row)
    rare = expected < 10
    if rare.any():
        observed = np.append(observed[~rare], observed[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    if len(expected) == 1:
        return 1.0
    return float(chisquare(observed, expected * observed.sum() / expected.sum()).pvalue)


def test_the_test_tells_noise_from_no_noise(cases: dict[str, Case]) -> None:
    case = cases["quantum_volume"]
    (row,) = outcomes(sample(AerSimulator(), case.pubs[:1])[0].data)
    assert goodness(row, case.probabilities[0]) < 1e-6


def dynamic(backend: BackendV2) -> list[QuantumCircuit]:
    """Circuits whose shots are simulated one by one."""
    manager = generate_preset_pass_manager(1, backend=backend, seed_transpiler=4)
    random = random_circuits(
        num_circuits=2, reset=True, **CONDITIONAL, seed_sequence=np.random.SeedSequence(2)
    )
    teleport = QuantumCircuit(QuantumRegister(3), ClassicalRegister(2, "m"))
    teleport.ry(1.1, 0)
    teleport.h(1)
    teleport.cx(1, 2)
    teleport.cx(0, 1)
    teleport.h(0)
    teleport.measure([0, 1], [0, 1])
    with teleport.if_test((teleport.clbits[1], 1)):
        teleport.x(2)
    with teleport.if_test((teleport.clbits[0], 1)):
        teleport.z(2)
    teleport.delay(20_000, 2)
    out = ClassicalRegister(1, "out")
    teleport.add_register(out)
    teleport.measure(2, out[0])
    return [manager.run(circuit) for circuit in (*random, teleport)]


@pytest.mark.parametrize("method", [None, "trajectory_tree"])
def test_dynamic_circuits_have_the_distribution_of_plain_aer(
    method: str | None, backend: BackendV2, plain: AerSimulator
) -> None:
    assert_alike(backend, plain, dynamic(backend), shots=1500, method=method)


def chain(num_qubits: int) -> QuantumCircuit:
    """Little entanglement: a matrix product state is cheapest."""
    circuit = QuantumCircuit(num_qubits)
    circuit.ry(1.0, 0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def dense(num_qubits: int) -> QuantumCircuit:
    """Much entanglement: a state vector is cheapest."""
    circuit = QuantumCircuit(num_qubits)
    for layer in range(6):
        circuit.ry(0.3 + 0.1 * layer, range(num_qubits))
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.cz(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def test_wide_circuits_have_the_distribution_of_plain_aer() -> None:
    backend = fake("FakeSherbrooke")
    # A line of neighbours on the device.
    manager = generate_preset_pass_manager(
        1, backend=backend, seed_transpiler=4, initial_layout=list(range(20, 32))
    )
    circuits = [manager.run(circuit) for circuit in (chain(12), dense(12))]
    plain = AerSimulator.from_backend(backend, max_parallel_threads=1)
    for method in ("matrix_product_state", "statevector", "trajectory_tree"):
        assert_alike(backend, plain, circuits, shots=200, by=np.bitwise_count, method=method)


def assert_alike(
    backend: BackendV2,
    plain: AerSimulator,
    circuits: Sequence[QuantumCircuit],
    *,
    shots: int,
    by: Callable[[Any], Any] = lambda numbers: numbers,
    method: str | None = None,
) -> None:
    """Shots of both have the same distribution, of their outcomes or of something of these."""
    pubs = [SamplerPub.coerce((circuit,), shots) for circuit in circuits]
    ours = [by(outcomes(one.data)[0]) for one in sample(backend, pubs, method=method)]
    sampler = BackendSamplerV2(backend=plain, options={"seed_simulator": 3})
    theirs = [by(outcomes(one.data)[0]) for one in sampler.run(pubs).result()]
    for one, other in zip(ours, theirs, strict=True):
        both = np.unique(np.concatenate([one, other]))
        table = np.array([[np.sum(row == value) for value in both] for row in (one, other)])
        common = table.sum(axis=0) >= 10
        table = np.column_stack([table[:, common], table[:, ~common].sum(axis=1) + 1])
        assert math.isclose(table.sum(), 2 * shots + 2)
        assert chi2_contingency(table).pvalue > 0.001
