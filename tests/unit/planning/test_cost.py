from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import PauliLindbladMap
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_estimator.prepare import prepare
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions

from qexp.circuits.ising import ising_pubs
from qexp.core.mitigation import executions, injects_noise
from qexp.core.model import Implementation, PlannedPub, PrimitiveKind, PrimitiveSpec
from qexp.planning import cost
from qexp.planning.checks import tally
from tests.unit.planning.conftest import StubEngine


def primitive(kind: PrimitiveKind, options: Mapping[str, Any] | None = None) -> PrimitiveSpec:
    return PrimitiveSpec(kind, shots=4096, options=options or {})


def footprint_of(pub: SamplerPub, options: Mapping[str, Any] | None = None) -> cost.Footprint:
    spec, counts = primitive("sampler", options), tally(pub.circuit)
    planned = PlannedPub("main", 0, pub, pub)
    backend = FakeManilaV2()
    delays = cost.delays_of(spec, backend)
    return cost.footprint(planned, counts, spec, backend, delays, StubEngine(), b"")


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
    for implementation in get_args(Implementation):
        assert cost.estimator_configurations(pub, implementation) == configurations


@settings(max_examples=50)
@given(
    st.lists(st.text("IXYZ01+l", min_size=4, max_size=4), min_size=1, max_size=12),
    st.integers(1, 3),
    st.booleans(),
)
def test_configurations_agree_with_what_ibms_client_would_execute(
    labels: list[str], sets: int, crossed: bool
) -> None:
    circuit = QuantumCircuit(4)
    circuit.rx(Parameter("theta"), 0)
    observables = [labels] if crossed else labels
    shape = (sets, 1, 1) if crossed else (len(labels), 1)
    pub = EstimatorPub.coerce((circuit, observables, np.zeros(shape)), 0.1)
    program, _ = prepare([pub], EstimatorOptions(resilience_level=0))
    executed = sum(math.prod(item.shape) for item in program.items)
    assert cost.estimator_configurations(pub, "client") == executed


def test_each_parameter_set_has_bases_of_its_own() -> None:
    # Of all these observables X is measured with ZX, of the second set alone with XX.
    observables = [[{"ZX": 1.0, "XI": 1.0}], [{"XX": 1.0, "XI": 1.0}]]
    pub = estimator_pub(observables, np.zeros((2, 1, 1)))
    program, _ = prepare([pub], EstimatorOptions(resilience_level=0))
    assert cost.estimator_configurations(pub, "client") == program.items[0].size() == 3


@pytest.fixture(scope="module")
def ising() -> list[EstimatorPub]:
    """The PUBs of `experiment=ising circuits.num_qubits=4`."""
    pass_manager = generate_preset_pass_manager(1, backend=FakeManilaV2(), seed_transpiler=7)
    pubs = []
    for circuit, observables in ising_pubs(
        steps=range(9), num_qubits=4, seed_sequence=np.random.SeedSequence(1)
    ):
        isa = pass_manager.run(circuit)
        laid_out = [each.apply_layout(isa.layout) for each in observables]
        pubs.append(EstimatorPub.coerce((isa, laid_out), 1 / 64))
    return pubs


def learned_noise(pubs: list[EstimatorPub], options: EstimatorOptions) -> list[Any]:
    """A model of the noise of each layer."""
    layers = Estimator(FakeManilaV2(), options=options).find_unique_layers(pubs)
    return [
        (
            layer,
            PauliLindbladMap.from_sparse_list(
                [("X", [qubit], 0.01) for qubit in range(len(layer.qubits))],
                num_qubits=len(layer.qubits),
            ),
        )
        for layer in layers
    ]


TWIRLED = {"num_randomizations": 10, "shots_per_randomization": 33}
PRICED = [
    ({"resilience_level": 0}, 36_864),
    ({"resilience_level": 1}, 40_960),
    ({"resilience_level": 2}, 114_688),
    ({}, 40_960),
    ({"resilience": {"measure_noise_learning": {"num_randomizations": 200}}}, 62_464),
    ({"resilience_level": 0, "twirling": {"enable_gates": True}}, None),
    ({"resilience_level": 2, "twirling": TWIRLED}, None),
    ({"resilience_level": 1, "twirling": {"num_randomizations": 7}}, None),
    ({"resilience_level": 1, "twirling": {"shots_per_randomization": 1000}}, None),
    ({"resilience_level": 0, "resilience": {"zne_mitigation": True}}, None),
    ({"resilience_level": 0, "resilience": {"measure_mitigation": True}}, None),
    ({"resilience_level": 2, "resilience": {"zne": {"noise_factors": [1, 1.2, 2, 7]}}}, None),
    ({"resilience_level": 2, "resilience": {"zne": {"amplifier": "gate_folding_back"}}}, None),
    ({"resilience_level": 2, "resilience": {"measure_mitigation": False}}, None),
    ({"dynamical_decoupling": {"enable": True}}, 40_960),
    (
        {
            "resilience_level": 2,
            "resilience": {"zne": {"amplifier": "pea", "noise_factors": [1, 1.5, 2, 3]}},
        },
        151_552,
    ),
    ({"resilience_level": 0, "resilience": {"pec_mitigation": True}}, None),
    ({"resilience_level": 1, "resilience": {"pec_mitigation": True}}, None),
    ({"resilience": {"pec_mitigation": True, "pec": {"max_overhead": 1.1}}}, None),
    ({"resilience": {"pec_mitigation": True, "pec": {"max_overhead": None}}}, None),
    ({"resilience": {"pec_mitigation": True, "pec": {"noise_gain": 0.5}}}, None),
    ({"resilience": {"pec_mitigation": True}, "twirling": TWIRLED}, None),
]


@pytest.mark.parametrize(
    ("options", "executed"), PRICED, ids=[str(options) for options, _ in PRICED]
)
def test_the_price_is_that_of_the_prepared_program(
    ising: list[EstimatorPub], options: dict[str, Any], executed: int | None
) -> None:
    backend, spec = FakeManilaV2(), PrimitiveSpec("estimator", precision=1 / 64, options=options)
    total = reduce(
        add,
        (
            cost.footprint(
                PlannedPub("main", index, pub, pub),
                tally(pub.circuit),
                spec,
                backend,
                cost.delays_of(spec, backend),
                StubEngine(),
                b"",
            )
            for index, pub in enumerate(ising)
        ),
    )
    model = EstimatorOptions.model_validate(options)
    if injects_noise(spec):
        model.resilience.layer_noise_model = learned_noise(ising, model)
    program, _ = prepare(ising, model, backend=backend)
    prepared = program.shots * sum(item.size() for item in program.items)
    if model.resilience.pec_mitigation:
        assert total.executions >= prepared
        tasks = program.passthrough_data["qiskit_mitigation"]
        of_pubs = [
            executions(4096, spec, task["pec_gamma"]) for task in tasks if "pec_gamma" in task
        ]
        assert len(of_pubs) == len(ising)
        own = sum(each.of_configuration for each in of_pubs)
        assert own + of_pubs[0].readout == prepared
        return
    assert total.executions == prepared == (executed or prepared)
    seconds = sum(
        program.shots * item.size() * (250e-6 + item.circuit.estimate_duration(backend.target))
        for item in program.items
    )
    assert total.qpu_s == pytest.approx(seconds, rel=0.02)


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
