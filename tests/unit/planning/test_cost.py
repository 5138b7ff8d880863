from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from qexp.core.model import PlannedPub, PrimitiveKind, PrimitiveSpec
from qexp.planning import cost
from qexp.planning.checks import tally
from tests.unit.planning.conftest import StubEngine


def primitive(kind: PrimitiveKind, options: Mapping[str, Any] | None = None) -> PrimitiveSpec:
    return PrimitiveSpec(kind, shots=4096, options=options or {})


def footprint_of(pub: SamplerPub, options: Mapping[str, Any] | None = None) -> cost.Footprint:
    spec, counts = primitive("sampler", options), tally(pub.circuit)
    planned = PlannedPub("main", 0, pub, pub)
    return cost.footprint(planned, counts, spec, FakeManilaV2(), StubEngine(), b"")


def test_executions_of_a_sampler() -> None:
    theta = Parameter("theta")
    circuit = QuantumCircuit(1)
    circuit.rx(theta, 0)
    circuit.measure_all()
    pub = SamplerPub.coerce((circuit, np.zeros((3, 2, 1)), 1000))
    assert footprint_of(pub).executions == 6 * 1000


def estimator_pub(observables: Any, values: Any) -> EstimatorPub:
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("theta"), 0)
    return EstimatorPub.coerce((circuit, observables, np.asarray(values)))


@pytest.mark.parametrize(
    ("observables", "shape", "configurations"),
    [
        ("ZZ", (1,), 1),
        ("II", (1,), 1),
        (["ZZ", "ZI", "IZ"], (1,), 1),
        (["ZZ", "XX", "XI"], (1,), 2),
        (["01", "ZZ", "+-", "rl"], (1,), 3),
        # All observables at each parameter set.
        ([["ZZ", "XX"]], (5, 1, 1), 10),
        # Each parameter set with its own observable.
        (["ZZ", "XX"], (2, 1), 2),
        ([["ZZ"], ["XX"], ["YY"]], (4, 1), 12),
    ],
)
def test_configurations_of_an_estimator(
    observables: Any, shape: tuple[int, ...], configurations: int
) -> None:
    pub = estimator_pub(observables, np.zeros(shape))
    assert cost.estimator_configurations(pub) == configurations


@settings(max_examples=25)
@given(
    st.lists(st.text("IXYZ", min_size=2, max_size=2), min_size=1, max_size=6),
    st.integers(1, 3),
    st.booleans(),
)
def test_configurations_agree_with_what_ibms_client_would_execute(
    labels: list[str], sets: int, crossed: bool
) -> None:
    from qiskit_ibm_runtime.executor_estimator.prepare import prepare
    from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions

    observables = [labels] if crossed else labels
    shape = (sets, 1, 1) if crossed else (len(labels), 1)
    pub = estimator_pub(observables, np.zeros(shape))
    options = EstimatorOptions(resilience_level=0)
    program, _ = prepare([pub], options, precision=0.1)
    executed = sum(math.prod(item.shape) for item in program.items)
    assert cost.estimator_configurations(pub) == executed


def test_control_instructions_are_those_of_the_busiest_qubit() -> None:
    circuit = QuantumCircuit(3, 2)
    circuit.rz(0.1, 0)
    circuit.sx(0)
    circuit.cz(0, 1)
    circuit.barrier()
    circuit.measure(1, 0)
    circuit.reset(2)
    assert cost.control_instructions(tally(circuit)) == 17
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
        circuit.x(1)
        circuit.x(1)
    assert cost.control_instructions(tally(circuit)) == 5 + 10 + 6
    assert cost.control_instructions(tally(QuantumCircuit(1))) == 0


def test_qpu_seconds_follow_the_documented_formula() -> None:
    backend = FakeManilaV2()
    circuit = QuantumCircuit(1)
    circuit.sx(0)
    circuit.measure_all()
    duration = cost.circuit_duration_s(circuit, backend.target)
    gate = backend.target["sx"][(0,)].duration + backend.target["measure"][(0,)].duration
    assert duration == pytest.approx(gate)
    assert cost.rep_delay_s(primitive("sampler"), object()) == 250e-6
    pub = SamplerPub.coerce((circuit, None, 4096))
    assert footprint_of(pub).qpu_s == pytest.approx(4096 * (250e-6 + gate))
    declared = footprint_of(pub, {"execution": {"rep_delay": 1e-3}})
    assert declared.qpu_s == pytest.approx(4096 * (1e-3 + gate))


def test_an_unknown_duration_counts_as_none() -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    assert cost.circuit_duration_s(circuit, FakeManilaV2().target) == 0.0
