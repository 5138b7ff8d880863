"""Dynamic circuits without noise that matters: what they read is certain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit.classical import expr
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.engines.local.backends import fake
from qexp.simulator import NoisyEstimator, NoisySampler
from qexp.simulator.feed_forward import Gates, Reading, UnknownFlowError, to_flow

VALUE = 0b101


def prepared(act: Callable[[QuantumCircuit, ClassicalRegister], None]) -> dict[str, int]:
    """Counts of a register into which 101 was read before something was done by it to a qubit."""
    first, out = ClassicalRegister(3, "first"), ClassicalRegister(1, "out")
    circuit = QuantumCircuit(QuantumRegister(5), first, out)
    for qubit in range(3):
        if VALUE >> qubit & 1:
            circuit.x(qubit)
    circuit.measure([0, 1, 2], first)
    act(circuit, first)
    circuit.measure(3, out)
    sampler = NoisySampler(fake("FakeManilaV2"), method="trajectory_tree")
    pub = SamplerPub.coerce((circuit,), 400)
    result = sampler.sample([pub], shots=400, seed=1)[0].data
    assert max(result.first.get_counts().items(), key=lambda item: item[1])[0] == "101"
    counts: dict[str, int] = result.out.get_counts()
    return counts


def if_test(condition: Callable[[ClassicalRegister], object]) -> Callable[..., None]:
    def act(circuit: QuantumCircuit, first: ClassicalRegister) -> None:
        with circuit.if_test(condition(first)) as otherwise:  # type: ignore[arg-type]
            circuit.x(3)
        with otherwise:
            circuit.id(3)

    return act


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (lambda first: (first, 5), True),
        (lambda first: (first, 4), False),
        (lambda first: (first[0], 1), True),
        (lambda first: (first[1], True), False),
        (lambda first: expr.equal(first, 5), True),
        (lambda first: expr.not_equal(first, 5), False),
        (lambda first: expr.less(first, 6), True),
        (lambda first: expr.greater_equal(first, 6), False),
        (lambda first: expr.logic_and(first[0], expr.logic_not(first[1])), True),
        (lambda first: expr.logic_or(first[1], first[1]), False),
        (lambda first: expr.equal(expr.bit_xor(first, 7), 2), True),
        (lambda first: expr.equal(expr.bit_not(first), 2), True),
        (lambda first: expr.equal(expr.bit_and(first, 4), 4), True),
    ],
)
def test_conditions(condition: Callable[[ClassicalRegister], object], holds: bool) -> None:
    counts = prepared(if_test(condition))
    assert counts.get("1" if holds else "0", 0) > 300


@pytest.mark.parametrize(("labels", "expected"), [((5, 6), "1"), ((1, 2), "0")])
def test_switches(labels: tuple[int, ...], expected: str) -> None:
    def act(circuit: QuantumCircuit, first: ClassicalRegister) -> None:
        with circuit.switch(first) as case:
            with case(*labels):
                circuit.x(3)
            with case(case.DEFAULT):
                circuit.id(3)

    assert prepared(act).get(expected, 0) > 300


def test_a_measured_qubit_can_be_reset_and_used_again() -> None:
    def act(circuit: QuantumCircuit, first: ClassicalRegister) -> None:
        circuit.reset(0)
        circuit.x(0)
        with circuit.if_test((first[1], 0)):
            circuit.cx(0, 3)

    assert prepared(act).get("1", 0) > 300


def test_only_the_last_measurements_wait() -> None:
    circuit = QuantumCircuit(2, 3)
    circuit.measure(0, 0)
    circuit.x(0)
    circuit.measure(0, 1)
    circuit.measure(1, 2)
    with circuit.if_test((circuit.clbits[2], 1)):
        circuit.x(1)
    flow = to_flow(circuit)
    assert flow.final == [(0, 1)]
    assert [step for step in flow.steps if isinstance(step, Reading)] == [(0, 0), (1, 2)]
    assert sum(isinstance(step, Gates) for step in flow.steps) == 1
    assert to_flow(circuit, all_readings=True).final == []


def test_estimators_measure_what_is_left() -> None:
    circuit = QuantumCircuit(5, 1)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    pub = EstimatorPub.coerce((circuit, ["IIIIZ", "IIIZI", "IIIIX"]), 0.02)
    estimator = NoisyEstimator(fake("FakeManilaV2"), method="trajectory_tree")
    evs = estimator.estimate([pub], precision=0.02, seed=1)[0].data.evs
    assert abs(evs[0]) < 0.15
    assert evs[1] > 0.8
    assert abs(evs[2]) < 0.15


def test_loops_are_not_followed() -> None:
    circuit = QuantumCircuit(1, 1)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.x(0)
    with pytest.raises(UnknownFlowError, match="while_loop"):
        to_flow(circuit)


def test_bits_that_are_never_written_are_zero() -> None:
    circuit = QuantumCircuit(5, 3)
    circuit.x(0)
    circuit.measure(0, 1)
    circuit.reset(0)
    circuit.measure(0, 2)
    pub = SamplerPub.coerce((circuit,), 100)
    sampler = NoisySampler(fake("FakeManilaV2"), method="trajectory_tree")
    bits = sampler.sample([pub], shots=100, seed=1)[0].data.c
    assert np.all((bits.array & 1) == 0)
    assert bits.get_counts()["010"] > 80
