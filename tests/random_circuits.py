"""Circuits of every kind that Qiskit has, drawn at random, and the gates of its library.

    python -m tests.random_circuits 2000

plans and simulates that many PUBs: whatever passes the plan ends with data.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import (
    AnnotatedOperation,
    Clbit,
    ControlModifier,
    Gate,
    InverseModifier,
    Parameter,
    PowerModifier,
    library,
)
from qiskit.circuit.classical import expr
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp, random_clifford, random_unitary
from qiskit_aer import AerSimulator

from qexp.analysis.exact import NotExactError, distribution, statevector
from qexp.archive.circuits import load_circuit
from qexp.core.model import JobRequest, Partition, PrimitiveSpec
from qexp.core.spec import TranspileSpec, WorkloadSpec
from qexp.engines.local.engine import LocalEngine
from qexp.engines.local.simulation import Simulation
from qexp.errors import PlanError
from qexp.planning.build import Planner

PARAMETERS = (Parameter("a"), Parameter("b"))
STANDARD = [
    gate
    for name, gate in library.get_standard_gate_name_mapping().items()
    if name not in {"measure", "reset", "delay"}
]


def angle(rng: Random) -> Any:
    """A number of any kind, a parameter, or an expression of parameters."""
    a, b = PARAMETERS
    number = rng.choice([rng.uniform(-7, 7), 0, -0.0, 1e-300, np.pi / 3, rng.randrange(-3, 4)])
    return rng.choice(
        [
            *[number] * 5,
            np.float64(number),
            a,
            2 * a + number,
            a * b - b / 3,
            (a**2).sin() + b.cos().exp(),
            -(a - b).abs() / 7,
            1 * b,
            number - (a + b + 1),
            -0.5 * -a,
        ]
    )


def proven_circuit(rng: Random, *, parameters: bool = True, loops: bool = True) -> QuantumCircuit:
    """A circuit of standard gates, measurements, resets, delays, matrices and control flow.

    Args:
        rng: Draws it.
        parameters: Whether angles may be parameters.
        loops: Whether it may have loops that need not end.
    """
    registers = [ClassicalRegister(rng.randint(1, 3), f"c{k}") for k in range(rng.randint(1, 2))]
    loose = [Clbit() for _ in range(rng.randint(0, 1))]
    circuit = QuantumCircuit(QuantumRegister(rng.randint(1, 4), "q"), *registers, loose)
    circuit.global_phase = rng.choice([0, 1, rng.uniform(0, 6)])
    add_operations(circuit, rng, depth=2, parameters=parameters, loops=loops)
    return circuit


def add_operations(
    circuit: QuantumCircuit, rng: Random, *, depth: int, parameters: bool, loops: bool
) -> None:
    """Append some instructions to a circuit, or to the block that its builder is in."""
    for _ in range(rng.randint(1, 6)):
        kind = rng.randrange(10)
        qubit, bit = rng.choice(circuit.qubits), rng.choice(circuit.clbits)
        if kind == 0:
            circuit.measure(qubit, bit)
        elif kind == 1:
            circuit.append(
                *rng.choice(
                    [
                        (library.UnitaryGate(random_unitary(2, seed=rng.randrange(99))), [qubit]),
                        (library.Barrier(1), [qubit]),
                        (library.Reset(), [qubit]),
                    ]
                )
            )
        elif kind == 2:
            circuit.delay(
                *rng.choice([(100, qubit), (0.5, qubit, "us"), (rng.random(), qubit, "s")])
            )
        elif kind <= 4 and depth:
            more = {"depth": depth - 1, "parameters": parameters, "loops": loops}
            _add_control_flow(circuit, rng, partial(add_operations, circuit, rng, **more), loops)
        else:
            fitting = [gate for gate in STANDARD if gate.num_qubits <= circuit.num_qubits]
            gate = rng.choice(fitting)
            values = [angle(rng) for _ in gate.params]
            if not parameters:
                values = [0.25 if hasattr(value, "parameters") else value for value in values]
            circuit.append(gate.base_class(*values), rng.sample(circuit.qubits, gate.num_qubits))


def _add_control_flow(
    circuit: QuantumCircuit, rng: Random, fill: Callable[[], None], loops: bool
) -> None:
    register, bit = rng.choice(circuit.cregs), rng.choice(circuit.clbits)
    condition = rng.choice(
        [
            (bit, rng.choice([0, 1, False, True])),
            (register, rng.randrange(2**register.size)),
            expr.lift(bit),
            expr.logic_not(bit),
            expr.less(register, 2 ** (register.size - 1)),
            expr.logic_or(bit, expr.equal(expr.bit_xor(register, 1), 1)),
        ]
    )
    kind = rng.randrange(4 if loops else 3)
    if kind == 0:
        with circuit.if_test(condition) as else_:
            fill()
        if rng.random() < 0.5:
            with else_:
                fill()
    elif kind == 1:
        indices = rng.choice([range(3), (1, 4), (True, 2), np.arange(2)])
        with circuit.for_loop(indices, Parameter("i") if rng.random() < 0.5 else None):
            fill()
            if rng.random() < 0.3:
                circuit.break_loop()
    elif kind == 2:
        with circuit.switch(rng.choice([register, bit])) as case:
            with case(rng.choice([0, True])):
                fill()
            with case(case.DEFAULT):
                fill()
    else:
        with circuit.while_loop(condition):
            fill()


def library_gates() -> dict[str, Any]:
    """Gates of Qiskit's library by name, without their forms."""
    angles = [0.1, 0.2, 0.3]
    unitaries = [random_unitary(2, seed=k).data for k in range(2)]
    return {
        "modular_adder": library.ModularAdderGate(2),
        "half_adder": library.HalfAdderGate(1),
        "full_adder": library.FullAdderGate(1),
        "multiplier": library.MultiplierGate(1),
        "comparator": library.IntegerComparatorGate(1, 1),
        "and": library.AndGate(2),
        "or": library.OrGate(2, [1, -1]),
        "xor": library.BitwiseXorGate(2, 1),
        "inner_product": library.InnerProductGate(2),
        "linear_pauli": library.LinearPauliRotationsGate(1, 0.3, 0.2),
        "polynomial": library.PolynomialPauliRotationsGate(1, [0.1, 0.2]),
        "amplitude": library.LinearAmplitudeFunctionGate(1, 0.5, 0.1, (0, 1), (0, 1)),
        "isometry": library.Isometry(np.array([[0.6], [0], [0.8], [0]]), 0, 0),
        "state": library.StatePreparation([0.8, 0.6j]),
        "state_label": library.StatePreparation("1+"),
        "multiplexer": library.UCGate(unitaries),
        "ucrz": library.UCRZGate([0.1, 0.2]),
        "ucry": library.UCRYGate([0.1, 0.2]),
        "diagonal": library.DiagonalGate([1, -1, 1j, 1]),
        "permutation": library.PermutationGate([2, 0, 1]),
        "linear": library.LinearFunction([[1, 1], [0, 1]]),
        "unitary": library.UnitaryGate(random_unitary(4, seed=2)),
        "hamiltonian": library.HamiltonianGate(np.diag([1.0, -1.0]), 0.3),
        "pauli": library.PauliGate("XYZ"),
        # They commute: Qiskit's matrix of others is without the error of its definition.
        "evolution": library.PauliEvolutionGate(SparsePauliOp(["ZZ", "XX"], [0.3, 0.2]), 0.7),
        "qft": library.QFTGate(3),
        "mcx": library.MCXGate(4),
        "mcp": library.MCPhaseGate(0.3, 3),
        "mcmt": library.MCMTGate(library.ZGate(), 2, 1),
        "gms": library.MSGate(2, 0.3),
        "oracle": library.PhaseOracleGate("a & b"),
        "bit_flip": library.BitFlipOracleGate("a | b"),
        "cu": library.CUGate(0.1, 0.2, 0.3, 0.4),
        "u": library.UGate(*angles),
        "xx_plus_yy": library.XXPlusYYGate(0.3, 0.1),
        "own": own_gate("mine"),
        "own_sx": own_gate("sx_like"),
    }


def own_gate(name: str, num_qubits: int = 1) -> Gate:
    """A gate of the user's own: U(1, 0.3, 0.2) on its first qubit."""
    circuit = QuantumCircuit(QuantumRegister(num_qubits, "own"), name=name)
    circuit.u(1.0, 0.3, 0.2, 0)
    return circuit.to_gate()


def forms(gate: Any) -> Iterator[tuple[str, Any]]:
    """Yield a gate's forms: its inverse, repetition and power, and those under control."""
    yield "plain", gate
    if not isinstance(gate, library.Isometry | library.PermutationGate):
        # Qiskit has no other forms of these.
        yield "inverse", gate.inverse()
        yield "twice_inverse", gate.inverse().inverse()
        yield "repeat", gate.repeat(2)
        yield "control", gate.control(1)
        yield "open_control", gate.control(1, ctrl_state=0)
    yield "annotated", AnnotatedOperation(gate, [InverseModifier(), ControlModifier(1)])
    yield "power", AnnotatedOperation(gate, PowerModifier(2))


def holding(operation: Any) -> QuantumCircuit:
    """Return a circuit of one operation."""
    circuit = QuantumCircuit(operation.num_qubits)
    circuit.append(operation, circuit.qubits)
    return circuit


def clifford(seed: int) -> Any:
    """Return an operation that is no gate."""
    return random_clifford(2, seed=seed)


def drawn_pub(rng: Random) -> tuple[str, tuple[Any, ...]]:
    """Draw a PUB: a primitive, and a tuple of circuit, observables and parameter values."""
    circuit = proven_circuit(rng, loops=False) if rng.random() < 0.4 else _of_library(rng)
    names = sorted(parameter.name for parameter in circuit.parameters)
    values = [[rng.uniform(-3, 3) for _ in names] for _ in range(2)] if names else None
    if circuit.num_clbits == 0 and rng.random() < 0.3:
        letters = rng.choice(["IXYZ", "IXYZ01+-rl"])
        observables = ["".join(rng.choices(letters, k=circuit.num_qubits)) for _ in range(2)]
        return "estimator", (circuit, observables, values and np.array(values)[:, None])
    if rng.random() < 0.8:
        circuit.measure_all()
    return "sampler", (circuit, values)


def _of_library(rng: Random) -> QuantumCircuit:
    gates = list(library_gates().values())
    _, operation = rng.choice(list(forms(rng.choice(gates))))
    circuit = QuantumCircuit(operation.num_qubits)
    for qubit in circuit.qubits:
        if rng.random() < 0.5:
            circuit.h(qubit)
    if rng.random() < 0.3:
        circuit.add_register(ClassicalRegister(1, "bit"))
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.append(operation, circuit.qubits)
    else:
        circuit.append(operation, circuit.qubits)
    return circuit


def ends_with_data_or_a_refusal(rng: Random, backends: Sequence[BackendV2]) -> bool:
    """Plan and simulate a PUB that is drawn, for a backend and at a level that are drawn.

    Returns:
        False where the plan refuses it.
    """
    kind, pub_like = drawn_pub(rng)
    backend, level = rng.choice(backends), rng.randrange(4)
    try:
        result = planned_and_simulated(kind, pub_like, backend, level)
    except PlanError as error:
        if "\n" in str(error):
            raise
        return False
    return result is not None


def planned_and_simulated(
    kind: str, pub_like: tuple[Any, ...], backend: BackendV2, level: int
) -> Any:
    """Plan and simulate a PUB; compare the circuit that was meant with the one that is run.

    Args:
        kind: The primitive.
        pub_like: Circuit, observables of an Estimator, parameter values.
        backend: The backend.
        level: The level of optimisation.

    Returns:
        The result of the PUB.

    Raises:
        PlanError: The plan refuses it.
    """
    primitive = PrimitiveSpec(
        "sampler" if kind == "sampler" else "estimator",
        shots=10 if kind == "sampler" else None,
        precision=None if kind == "sampler" else 0.1,
    )
    spec = WorkloadSpec("main", lambda _: [], primitive, TranspileSpec(level))
    planner = Planner({"main": spec}, {"main": [primitive]}, 7, backend, LocalEngine(), {})
    [planned] = planner.plan("main", 0, [pub_like])
    if isinstance(planned, PlanError):
        raise planned
    [(row, *_)] = planned
    isa = load_circuit(row.isa_qpy, "isa")
    cells = row.cells["pubs/main"]
    names = json.loads(cells["parameter_names_json"])
    values = [path for path in row.cells if path.startswith("parameters/")]
    bindings = {tuple(names): row.cells[path]["values"] for path in values}
    if kind == "sampler":
        pub: Any = SamplerPub.coerce((isa, bindings, 10))
        logical: Any = SamplerPub.coerce(pub_like, 10)
        _assert_same_distribution(logical, pub)
    else:
        observables = json.loads(cells["isa_observables_json"])
        pub = EstimatorPub.coerce((isa, observables, bindings, 0.1))
        logical = EstimatorPub.coerce(pub_like, 0.1)
        _assert_same_values(logical, pub)
    partition = Partition(0, "main", 0, 1, primitive.shots, primitive.precision, 1, 1, 1.0, "end")
    request = JobRequest(partition, primitive, lambda: [pub], (), seed=3)
    (result,) = Simulation(backend).run(request, [pub]).result
    assert result.data.shape == pub.shape == logical.shape
    return result


def _first_set(pub: Any) -> QuantumCircuit:
    values = pub.parameter_values
    return values.bind(pub.circuit, (0,) * values.ndim)


def _assert_same_distribution(logical: Any, isa: Any) -> None:
    """Compare the outcomes without noise of the first parameter set, where they are exact."""
    if isa.circuit.num_clbits != sum(register.size for register in logical.circuit.cregs):
        return
    try:
        one, other = (distribution(_first_set(pub), 10).as_dict() for pub in (logical, isa))
    except NotExactError:
        return
    assert {key: one.get(key, 0) for key in one | other} == pytest.approx(
        {key: other.get(key, 0) for key in one | other}, abs=1e-6
    )


def _assert_same_values(logical: Any, isa: Any) -> None:
    """Compare the first expectation value without noise, where there are gates only."""
    try:
        one, other = (statevector(_first_set(pub), 10) for pub in (logical, isa))
    except NotExactError:
        return
    values = [
        state.expectation_value(
            SparsePauliOp.from_sparse_observable(pub.observables.slice((0,) * pub.observables.ndim))
        )
        for state, pub in ((one, logical), (other, isa))
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-6)


def main(count: int) -> None:
    """Try many PUBs; print what went wrong."""
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    backends, refused = (FakeManilaV2(), AerSimulator()), 0
    for seed in range(count):
        print(f"\r{seed} of {count}, {refused} refused", end="", flush=True)
        try:
            refused += not ends_with_data_or_a_refusal(Random(seed), backends)
        except Exception as error:
            print(f"\nseed {seed}: {type(error).__name__}: {error}")
    print()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
