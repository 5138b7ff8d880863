"""A circuit's identity is the same in every process, and another one for another circuit."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import (
    AnnotatedOperation,
    ClassicalRegister,
    ControlModifier,
    InverseModifier,
    Parameter,
    ParameterVector,
    PowerModifier,
    QuantumRegister,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import (
    HGate,
    MCXGate,
    PauliEvolutionGate,
    QFTGate,
    RXGate,
    UnitaryGate,
    XGate,
)
from qiskit.quantum_info import Clifford, SparsePauliOp, random_unitary

from qexp.archive.circuit_digest import circuit_sha256, listing
from qexp.archive.circuits import circuit_cells, load_circuit
from qexp.planning.faithful import is_proven
from tests.random_circuits import proven_circuit

IN_ANOTHER_PROCESS = """
import numpy as np
from qexp.archive.circuits import circuit_cells, load_circuit
from qexp.archive.circuit_digest import circuit_sha256
from qexp.circuits.random import random_circuits
sequence = np.random.SeedSequence(7)
print(*map(circuit_sha256, random_circuits(num_circuits=60, seed_sequence=sequence)))
"""


def test_random_circuits_have_the_same_identities_in_every_process() -> None:
    found = set()
    for hash_seed in ("1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", IN_ANOTHER_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(set(done.stdout.split())) == 60
        found.add(done.stdout)
    assert len(found) == 1


def rotation(angle: object) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.rx(angle, 0)
    return circuit


def holding(operation: object, qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.append(operation, range(qubits))
    return circuit


def delayed(duration: float, unit: str) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.delay(duration, 0, unit)
    return circuit


def custom(angle: float) -> QuantumCircuit:
    return holding(rotation(angle).to_gate(), 1)


def phased(phase: float) -> QuantumCircuit:
    return QuantumCircuit(1, global_phase=phase)


def conditional(value: int, *, gate: str = "x") -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(2, "c"))
    circuit.measure(0, 0)
    with circuit.if_test((circuit.cregs[0], value)) as otherwise:
        getattr(circuit, gate)(1)
    with otherwise:
        circuit.y(1)
    return circuit


def compared(bit: int, limit: int) -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(1, "q"), ClassicalRegister(3, "c"))
    small = expr.less(circuit.cregs[0], limit)
    counter = circuit.add_var("counter", expr.lift(1, types.Uint(8)))
    circuit.store(counter, expr.bit_xor(counter, 5))
    with circuit.while_loop(expr.logic_and(expr.lift(circuit.clbits[bit]), small)):
        circuit.x(0)
        circuit.measure(0, bit)
    return circuit


def looped(steps: int) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    with circuit.for_loop(range(steps), Parameter("i")) as step:
        circuit.rx(step, 0)
    return circuit


def chosen(*labels: int) -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(1, "q"), ClassicalRegister(2, "c"))
    with circuit.switch(circuit.cregs[0]) as case:
        with case(*labels):
            circuit.x(0)
        with case(case.DEFAULT):
            circuit.h(0)
    return circuit


def boxed(unit: str) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    with circuit.box(duration=100, unit=unit):
        circuit.x(0)
    return circuit


def registers(*names: str) -> QuantumCircuit:
    return QuantumCircuit(QuantumRegister(1, "q"), *(ClassicalRegister(1, name) for name in names))


def large_unitary(seed: int) -> QuantumCircuit:
    matrix = random_unitary(64, seed=0).data
    if seed:
        # A change that NumPy's own text of a large array does not show.
        matrix = matrix @ np.diag(np.exp(1j * np.r_[[0.0] * 32, 1e-9, [0.0] * 31]))
    return holding(UnitaryGate(matrix), 6)


def evolved(time: float, pauli: str) -> QuantumCircuit:
    return holding(PauliEvolutionGate(SparsePauliOp([pauli, "ZZ"]), time), 2)


def stored_and_loaded(circuit: QuantumCircuit) -> QuantumCircuit:
    return load_circuit(circuit_cells(circuit, "here", str)["qpy"], "here")


DIFFERENT = {
    "angle": [lambda: rotation(0.1), lambda: rotation(np.nextafter(0.1, 1))],
    "parameter": [lambda: rotation(Parameter("a")), lambda: rotation(Parameter("b"))],
    "expression": [
        lambda: rotation(2 * Parameter("a") + ParameterVector("p", 12)[10] / 3),
        lambda: rotation(2 * Parameter("a") + ParameterVector("p", 12)[2] / 3),
    ],
    "delay": [lambda: delayed(100, "dt"), lambda: delayed(100, "ns")],
    "custom gate": [lambda: custom(0.1), lambda: custom(0.2)],
    "global phase": [lambda: phased(0.0), lambda: phased(1.0)],
    "condition": [lambda: conditional(1), lambda: conditional(2)],
    "block": [lambda: conditional(1), lambda: conditional(1, gate="z")],
    "classical bit": [lambda: compared(0, 3), lambda: compared(1, 3)],
    "classical value": [lambda: compared(0, 3), lambda: compared(0, 4)],
    "loop": [lambda: looped(3), lambda: looped(4)],
    "case": [lambda: chosen(1), lambda: chosen(1, 2)],
    "box": [lambda: boxed("dt"), lambda: boxed("ns")],
    "registers": [lambda: registers("a", "b"), lambda: registers("b", "a")],
    "matrix": [lambda: large_unitary(0), lambda: large_unitary(1)],
    "evolution": [lambda: evolved(1.0, "XX"), lambda: evolved(1.0, "XY")],
    "control state": [
        lambda: holding(MCXGate(3, ctrl_state=0), 4),
        lambda: holding(MCXGate(3, ctrl_state=5), 4),
    ],
    "annotated": [
        lambda: holding(AnnotatedOperation(HGate(), InverseModifier()), 1),
        lambda: holding(AnnotatedOperation(RXGate(0.5), InverseModifier()), 1),
    ],
    "clifford": [
        lambda: holding(Clifford(holding(HGate(), 1)), 1),
        lambda: holding(Clifford(holding(XGate(), 1)), 1),
    ],
    "library gate": [lambda: holding(QFTGate(2), 2), lambda: QuantumCircuit(2)],
}


@pytest.mark.parametrize("builders", DIFFERENT.values(), ids=DIFFERENT)
def test_identity_depends_only_on_content_that_decides_the_circuit(builders) -> None:
    identities = []
    for build in builders:
        circuit = build()
        identities.append(circuit_sha256(circuit))
        assert "0x" not in listing(circuit).replace("0x0.", "").replace("0x1.", "")
        again = build()
        again.name, again.metadata = "other", {"k": "v"}
        assert circuit_sha256(again) == identities[-1]
        assert circuit_sha256(stored_and_loaded(circuit)) == identities[-1]
    assert len(set(identities)) == len(identities)


@given(st.randoms(use_true_random=False))
def test_circuits_of_proven_operations_survive_qpy(rng: Random) -> None:
    """Such circuits are stored without being read back, see `qexp.planning.faithful`."""
    circuit = proven_circuit(rng)
    assert is_proven(circuit)
    assert listing(stored_and_loaded(circuit)) == listing(circuit)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PowerModifier(2), PowerModifier(2.0)),
        (PowerModifier(np.float64(-1)), PowerModifier(-1)),
        (ControlModifier(np.int64(1)), ControlModifier(1)),
    ],
)
def test_equal_numbers_of_modifiers_are_one_identity(one: Any, other: Any) -> None:
    circuits = [
        holding(AnnotatedOperation(HGate(), each), AnnotatedOperation(HGate(), each).num_qubits)
        for each in (one, other)
    ]
    found = {circuit_sha256(each) for each in (*circuits, *map(stored_and_loaded, circuits))}
    assert len(found) == 1


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "ps", "dt"])
@pytest.mark.parametrize("duration", [100, 2.5, Parameter("t")])
def test_delays_keep_their_unit(duration, unit: str) -> None:
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(1, "c"))
    duration = 100 if unit == "dt" and isinstance(duration, float) else duration
    circuit.delay(duration, 0, unit)
    with circuit.if_test((circuit.clbits[0], 1)), circuit.for_loop(range(2)):
        circuit.delay(duration, 1, unit)
    loaded = stored_and_loaded(circuit)
    assert loaded == circuit
    assert loaded.parameters == circuit.parameters
    inner = loaded.data[1].operation.blocks[0].data[0].operation.blocks[0].data[0].operation
    for delay in (loaded.data[0].operation, inner):
        assert (delay.unit, delay.duration) == (unit, duration)
