"""The fast description of a circuit agrees with Qiskit and with the definition of its identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit, generate_preset_pass_manager, qasm3
from qiskit.circuit import ClassicalRegister, Clbit, Measure, Parameter, QuantumRegister, Qubit
from qiskit.circuit.library import CU3Gate, GlobalPhaseGate, Initialize
from qiskit_ibm_runtime.fake_provider import FakeManilaV2, FakeSherbrooke

from qexp.archive.circuit_digest import circuit_sha256, describe
from qexp.circuits.efficient_su2 import efficient_su2_pubs
from qexp.circuits.ghz import ghz_circuits
from qexp.circuits.ising import ising_pubs
from qexp.circuits.mirror import mirror_circuits
from qexp.circuits.quantum_volume import quantum_volume_circuits
from qexp.circuits.random import random_circuits
from tests.unit.archive.test_circuit_digest import DIFFERENT

GENERATORS: dict[str, Callable[..., Iterator[Any]]] = {
    "random": lambda **seed: random_circuits(num_circuits=3, **seed),
    "random with resets": lambda **seed: random_circuits(num_circuits=3, reset=True, **seed),
    "random with conditions": lambda **seed: random_circuits(
        num_circuits=3, conditional=True, **seed
    ),
    "ghz": lambda **seed: ghz_circuits(num_qubits=[3, 5], method="log", **seed),
    "ising": lambda **seed: ising_pubs(steps=[0, 2], num_qubits=4, **seed),
    "mirror": lambda **seed: mirror_circuits(depths=[2], num_circuits=2, num_qubits=4, **seed),
    "quantum volume": lambda **seed: quantum_volume_circuits(num_circuits=1, num_qubits=3, **seed),
    "efficient su2": lambda **seed: efficient_su2_pubs(
        num_qubits=3, su2_gates=["ry", "rz"], parameter_sets=[2], **seed
    ),
}
BACKENDS = {
    "logical": None,
    "5 qubits": FakeManilaV2(),
    "127 qubits": FakeSherbrooke(),
}


def assert_described(circuit: QuantumCircuit) -> str:
    """Compare the description with the slow way; return the OpenQASM 3 text."""
    found = describe(circuit, str)
    assert found["sha256"] == circuit_sha256(circuit)
    assert (found["depth"], found["size"]) == (circuit.depth(), circuit.size())
    return found["qasm3"]


def statements(circuit: QuantumCircuit) -> list[tuple[Any, ...]]:
    """Return the instructions as far as OpenQASM 3, and Qiskit's reader of it, keeps them."""
    return [
        (
            "u" if item.name == "id" else item.name,
            [0.0] * 3 if item.name == "id" else [float(value) for value in item.operation.params],
            getattr(item.operation, "unit", None),
            [circuit.find_bit(bit).index for bit in item.qubits],
            [circuit.find_bit(bit).index for bit in item.clbits],
        )
        for item in circuit.data
    ]


def assert_reads_back(text: str, circuit: QuantumCircuit) -> None:
    loaded = qasm3.loads(text)
    turns = np.exp(1j * (loaded.global_phase - circuit.global_phase))
    assert turns == pytest.approx(1, abs=1e-14)
    assert statements(loaded) == statements(circuit)
    registers = [[(r.name, r.size) for r in each.cregs] for each in (loaded, circuit)]
    assert registers[0] == registers[1]
    if circuit.layout is None:
        assert [(r.name, r.size) for r in loaded.qregs] == [(r.name, r.size) for r in circuit.qregs]


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize("generate", GENERATORS.values(), ids=GENERATORS)
def test_circuits_of_every_generator_are_described(generate, backend) -> None:
    passes = (
        None if backend is None else generate_preset_pass_manager(1, backend, seed_transpiler=1)
    )
    for pub in generate(seed_sequence=np.random.SeedSequence(5)):
        circuit = pub[0] if isinstance(pub, tuple) else pub
        circuit = circuit if passes is None else passes.run(circuit)
        text = assert_described(circuit)
        if circuit.parameters or {"if_else", "unitary"} & set(circuit.count_ops()):
            assert text == qasm3.dumps(circuit)
        else:
            assert_reads_back(text, circuit)


@pytest.mark.parametrize("builders", DIFFERENT.values(), ids=DIFFERENT)
def test_circuits_that_only_qiskit_can_write(builders) -> None:
    for build in builders:
        assert_described(build())


def loose_bits() -> QuantumCircuit:
    circuit = QuantumCircuit(
        [Qubit()], QuantumRegister(2, "q"), [Clbit()], ClassicalRegister(1, "c")
    )
    circuit.cx(0, 2)
    circuit.measure([0, 1], [0, 1])
    return circuit


def overlapping_registers() -> QuantumCircuit:
    register = QuantumRegister(3, "q")
    circuit = QuantumCircuit(register, QuantumRegister(name="r", bits=register[1:]))
    circuit.cz(0, 2)
    return circuit


def numbers_of_other_types() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    for value in (1, np.float64(0.25), np.int64(2), 0, -0.0, 0.0, 2**60, Parameter("a")):
        circuit.rx(value, 0)
    return circuit


def not_finite() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.rx(float("nan"), 0)
    circuit.u(float("inf"), 0.0, -1, 0)
    return circuit


def without_qubits() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.append(GlobalPhaseGate(0.5), [])
    circuit.barrier()
    return circuit


def initialised() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.append(Initialize([0, 1]), [0])
    circuit.cx(0, 1)
    return circuit


def derived_measurement() -> QuantumCircuit:
    class Mine(Measure):
        pass

    circuit = QuantumCircuit(1, 1)
    circuit.append(Mine(label="mine"), [0], [0])
    return circuit


def with_variables() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.add_var("flag", circuit.clbits[0])
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize(
    "build",
    [
        loose_bits,
        overlapping_registers,
        numbers_of_other_types,
        not_finite,
        without_qubits,
        initialised,
        derived_measurement,
        with_variables,
        QuantumCircuit,
    ],
)
def test_odd_circuits_are_described(build: Callable[[], QuantumCircuit]) -> None:
    text = assert_described(build())
    try:
        by_qiskit = qasm3.dumps(build())
    except (qasm3.QASM3ExporterError, ValueError):
        by_qiskit = ""
    assert text.count("\n") == by_qiskit.count("\n")


def test_barriers_and_delays_take_part_in_the_depth_as_in_qiskit() -> None:
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    circuit.barrier(0, 1)
    circuit.delay(100, 1)
    circuit.ccx(1, 2, 0)
    circuit.measure([2, 2], [0, 1])
    circuit.reset(1)
    assert_described(circuit)


def test_control_flow_is_counted_by_qiskit() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    assert_described(circuit)


GATES = st.sampled_from(
    ["h", "sx", "rz", "u", "cx", "ecr", "cu3", "ccx", "rzz", "measure", "reset"]
)


@given(
    st.lists(st.tuples(GATES, st.permutations(range(4)), st.floats(-1e9, 1e9)), max_size=12),
    st.floats(-3, 3),
)
def test_any_sequence_of_gates_reads_back(drawn, phase: float) -> None:
    circuit = QuantumCircuit(QuantumRegister(4, "q"), ClassicalRegister(4, "c"), global_phase=phase)
    sizes = {"cx": 2, "ecr": 2, "rzz": 2, "ccx": 3}
    angles = {"rz": 1, "u": 3, "rzz": 1}
    for name, order, angle in drawn:
        if name == "measure":
            circuit.measure(order[0], order[1])
        elif name == "cu3":
            circuit.append(CU3Gate(angle, 0.0, -angle), order[:2])
        else:
            params = [angle] * angles.get(name, 0)
            getattr(circuit, name)(*params, *order[: sizes.get(name, 1)])
    assert_reads_back(assert_described(circuit), circuit)
