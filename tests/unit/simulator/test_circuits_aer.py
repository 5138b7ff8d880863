from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Duration, Parameter
from qiskit.circuit.classical import expr, types
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer import AerSimulator

from qexp.core.model import PrimitiveSpec
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.local.engine import LocalEngine
from qexp.engines.runtime_local import RuntimeLocalEngine
from qexp.simulator import NoisySampler, aer_objection

Condition = Callable[[Any, Any], Any]


def measured(a: int = 1, b: int = 0) -> QuantumCircuit:
    """Registers a and b, of two bits each, with these values."""
    circuit = QuantumCircuit(
        QuantumRegister(5, "q"), ClassicalRegister(2, "a"), ClassicalRegister(2, "b")
    )
    for qubit, value in enumerate([a & 1, a >> 1, b & 1, b >> 1]):
        if value:
            circuit.x(qubit)
    circuit.measure(range(4), range(4))
    return circuit


def variables(circuit: QuantumCircuit) -> None:
    circuit.add_var("x", expr.lift(3, types.Uint(4)))
    circuit.add_var("flag", expr.lift(True))


def given(circuit: QuantumCircuit) -> None:
    circuit.add_input("angle", types.Uint(8))


def in_a_block(circuit: QuantumCircuit) -> None:
    with circuit.if_test((circuit.clbits[0], 1)), circuit.if_test((circuit.clbits[1], 0)):
        circuit.add_var("inner", expr.lift(1, types.Uint(2)))
        circuit.x(1)


def stored_in_part(circuit: QuantumCircuit) -> None:
    circuit.store(expr.index(circuit.cregs[0], 1), expr.lift(True))


def switch(circuit: QuantumCircuit) -> None:
    with circuit.switch(expr.bit_and(*circuit.cregs)) as case, case(0):
        circuit.x(1)


def stretched(circuit: QuantumCircuit) -> None:
    circuit.delay(circuit.add_stretch("gap"), 1)


def delayed_by_expression(circuit: QuantumCircuit) -> None:
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.delay(expr.lift(Duration.dt(8)), 1)


def saved(circuit: QuantumCircuit) -> None:
    circuit.save_statevector()


def nested_on(target: Any) -> Callable[[QuantumCircuit], None]:
    """A condition within a block, on a bit that belongs to no register."""

    def declare(circuit: QuantumCircuit) -> None:
        circuit.add_bits([Clbit()])
        with circuit.if_test((circuit.clbits[0], 1)), circuit.if_test(target(circuit.clbits[-1])):
            circuit.x(1)

    return declare


def on(condition: Condition) -> Callable[[QuantumCircuit], None]:
    def declare(circuit: QuantumCircuit) -> None:
        with circuit.if_test(condition(*circuit.cregs)):
            circuit.x(1)

    return declare


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (variables, "the classical variable 'x', which"),
        (given, "the classical variable 'angle', which"),
        (in_a_block, "the classical variable 'inner', which"),
        (stored_in_part, "the classical expression Index, which"),
        (switch, "a switch on an expression"),
        (stretched, "a delay of a stretch"),
        (delayed_by_expression, "a delay of a stretch or of an expression"),
        (saved, "'save_statevector', whose data a primitive does not return"),
        (nested_on(lambda bit: (bit, 1)), "that belongs to no register"),
        (nested_on(expr.logic_not), "that belongs to no register"),
        (on(lambda a, _b: expr.logic_not(a)), "taken as true or false"),
        (on(lambda a, b: expr.logic_and(expr.less(a, b), b)), "taken as true or false"),
        (on(lambda a, _b: expr.index(a, 1)), "expression Index"),
        (on(lambda a, _b: expr.equal(expr.shift_left(a, 1), 2)), "operation SHIFT_LEFT"),
        (on(lambda a, b: expr.equal(expr.add(a, b), 2)), "operation ADD"),
        (on(lambda _a, _b: expr.less(expr.lift(1.0), expr.lift(2.0))), "of type Float"),
        (on(lambda _a, _b: expr.less(Duration.dt(1), Duration.dt(2))), "of type Duration"),
    ],
)
def test_unsupported_classical_values_are_refused(
    declare: Callable[[QuantumCircuit], None], said: str
) -> None:
    circuit = measured()
    declare(circuit)
    for pub in (SamplerPub.coerce((circuit,), 10), EstimatorPub.coerce((circuit, "IIIIZ"))):
        for engine in (LocalEngine(), RuntimeLocalEngine()):
            assert said in (
                engine.pub_objection(AerSimulator(), PrimitiveSpec("sampler"))(pub) or ""
            )
        assert IBMEngine().pub_objection(AerSimulator(), PrimitiveSpec("sampler"))(pub) is None


CONDITIONS: dict[str, tuple[Condition, Callable[[int, int], bool]]] = {
    "value": (lambda _a, _b: expr.lift(True), lambda _a, _b: True),
    "bit_not": (lambda a, _b: expr.equal(expr.bit_not(a), 2), lambda a, _b: a == 1),
    "bit_and": (lambda a, b: expr.equal(expr.bit_and(a, b), 1), lambda a, b: a & b == 1),
    "bit_or": (lambda a, b: expr.equal(expr.bit_or(a, b), 3), lambda a, b: a | b == 3),
    "bit_xor": (lambda a, b: expr.not_equal(expr.bit_xor(a, b), 2), lambda a, b: a ^ b != 2),
    "less": (expr.less, lambda a, b: a < b),
    "less_equal": (expr.less_equal, lambda a, b: a <= b),
    "greater": (expr.greater, lambda a, b: a > b),
    "greater_equal": (expr.greater_equal, lambda a, b: a >= b),
    "bits": (
        lambda a, b: expr.logic_or(expr.logic_and(a[0], b[1]), expr.logic_not(b[0])),
        lambda a, b: bool(a & 1 and b & 2) or not b & 1,
    ),
    "widened": (lambda a, _b: expr.equal(expr.cast(a, types.Uint(8)), 3), lambda a, _b: a == 3),
    "narrowed": (lambda a, _b: expr.equal(expr.cast(a, types.Uint(1)), 1), lambda a, _b: a % 2 > 0),
}


def test_supported_conditions_are_right_for_all_values() -> None:
    circuits, expected = [], []
    for condition, truth in CONDITIONS.values():
        for a in range(4):
            for b in range(4):
                circuit = measured(a, b)
                with circuit.if_test(condition(*circuit.cregs)):
                    circuit.x(4)
                circuit.add_register(ClassicalRegister(1, "c"))
                circuit.measure(4, 4)
                circuits.append(circuit)
                expected.append(int(truth(a, b)))
    assert {aer_objection(circuit) for circuit in circuits} == {None}
    assert [int(data.c.get_bitstrings()[0]) for data in simulated(circuits)] == expected


WIDE: dict[str, tuple[Condition, bool]] = {
    "older": (lambda c, value: (c, value), True),
    "equal": (expr.equal, False),
    "greater": (lambda c, value: expr.greater(c, value - 1), False),
}


@pytest.mark.parametrize("form", WIDE)
@pytest.mark.parametrize("width", [31, 32, 33, 64, 101])
def test_conditions_on_wide_registers_are_right_or_objected_to(form: str, width: int) -> None:
    condition, is_right_at_any_width = WIDE[form]
    circuits = []
    for bit in (0, width // 2, width - 1):
        flag, wide = ClassicalRegister(1, "flag"), ClassicalRegister(width, "wide")
        circuit = QuantumCircuit(QuantumRegister(2), wide, flag)
        circuit.x(0)
        circuit.measure(0, bit)
        with circuit.if_test(condition(wide, 1 << bit)):
            circuit.x(1)
        circuit.measure(1, flag[0])
        circuits.append(circuit)
    objections = {aer_objection(circuit) for circuit in circuits}
    if width <= 32 or is_right_at_any_width:
        assert objections == {None}
        assert [data.flag.get_bitstrings() for data in simulated(circuits)] == [["1"]] * 3
    else:
        assert all(f"a classical value of {width} bits" in str(said) for said in objections)


def test_aer_still_takes_a_register_for_its_opposite() -> None:
    """The objection can go once this fails."""
    circuit = measured(1, 0)
    with circuit.if_test(expr.logic_not(circuit.cregs[0])):
        circuit.x(2)
    circuit.measure(2, 2)
    assert aer_objection(circuit) is not None
    (data,) = simulated([circuit])
    assert data.b.get_bitstrings() == ["01"]


def test_stores_and_switches_are_right() -> None:
    stored, chosen = measured(2, 0), measured(2, 0)
    a, b = stored.cregs
    stored.store(b, expr.bit_xor(a, expr.lift(1, types.Uint(2))))
    with chosen.switch(expr.lift(chosen.cregs[0])) as case:
        with case(2):
            chosen.x(2)
        with case(case.DEFAULT):
            chosen.x(3)
    chosen.measure([2, 3], chosen.cregs[1])
    assert [aer_objection(stored), aer_objection(chosen)] == [None, None]
    assert [data.b.get_bitstrings()[0] for data in simulated([stored, chosen])] == ["11", "01"]


def test_a_loop_whose_body_lacks_its_parameter_is_simulated() -> None:
    circuit = measured(0, 0)
    with circuit.if_test((circuit.clbits[0], 0)), circuit.for_loop(range(3), Parameter("i")):
        circuit.x(0)
    circuit.measure(0, 0)
    assert [data.a.get_bitstrings()[0] for data in simulated([circuit])] == ["01"]


def test_branches_after_the_last_measurement_are_simulated() -> None:
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(2, "a"))
    with circuit.if_test((circuit.clbits[0], 0)) as else_:
        circuit.x(0)
        circuit.measure(0, 0)
    with else_:
        circuit.x(1)
    assert [data.a.get_bitstrings()[0] for data in simulated([circuit])] == ["01"]


def simulated(circuits: list[QuantumCircuit]) -> list[Any]:
    result = NoisySampler(AerSimulator()).sample(circuits, shots=1, seed=11)
    return [one.data for one in result]
