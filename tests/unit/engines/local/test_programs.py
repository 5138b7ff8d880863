"""Options for which the client compiles circuits, on the embedded simulator."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import PauliLindbladMap, SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_estimator.prepare import prepare as prepare_pubs
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.fake_provider.executor.broadcast_sample import broadcast_sample
from qiskit_mitigation import load_tasks_from_result

from qexp.core.model import JobRequest, Partition, PrimitiveSpec
from qexp.core.raw import RawData, assemble_raw
from qexp.core.seeds import child
from qexp.engines.local.backends import fake
from qexp.engines.local.batch import Simulated
from qexp.engines.local.chunks import ChunkedSimulation
from qexp.engines.local.engine import LocalEngine
from qexp.engines.local.options import with_level
from qexp.engines.local.programs import Programs, run_item
from qexp.engines.local.simulation import Simulation
from qexp.engines.primitives import prepare
from qexp.engines.private_api import draw_item, evaluate_program
from qexp.engines.runtime_local import RuntimeLocalEngine
from qexp.simulator import NoisySampler, make_device
from qexp.simulator.components import ComponentSampler
from qexp.workers import Workers

MANILA, TORINO = fake("FakeManilaV2"), fake("FakeTorino")
PRECISION = 1 / 32


def ising(backend: Any, num_qubits: int = 4, steps: int = 2) -> EstimatorPub:
    circuit = QuantumCircuit(num_qubits)
    for _ in range(steps):
        for qubit in range(num_qubits - 1):
            circuit.rzz(0.4, qubit, qubit + 1)
        circuit.rx(Parameter(f"angle_{_}"), range(num_qubits))
    isa = generate_preset_pass_manager(1, backend, seed_transpiler=3).run(circuit)
    terms = [
        "Z" + "I" * (num_qubits - 1),
        "I" * (num_qubits - 2) + "ZZ",
        "X" + "I" * (num_qubits - 1),
    ]
    observables = [[SparsePauliOp(term).apply_layout(isa.layout)] for term in terms]
    values = np.array([[0.4] * steps, [1.1] * steps])
    return EstimatorPub.coerce((isa, observables, values), PRECISION)


def estimator(**options: Any) -> PrimitiveSpec:
    return PrimitiveSpec("estimator", precision=PRECISION, options=options)


def job(spec: PrimitiveSpec, seed: int = 7, num_pubs: int = 1, load: Any = list) -> JobRequest:
    partition = Partition(0, "main", 0, num_pubs, None, None, 0, 0, 0.0, "end")
    return JobRequest(partition, spec, load, ("tag",), seed, tag=f"tag {seed}")


def simulated(
    spec: PrimitiveSpec, pubs: list[Any], backend: Any = MANILA, seed: int = 7
) -> Simulated:
    return Simulation(backend).run(job(spec, seed, len(pubs)), pubs)


DECOUPLED = {"dynamical_decoupling": {"enable": True, "sequence_type": "XY4"}}
FOLDED = {"resilience": {"zne": {"noise_factors": [1, 2, 4], "amplifier": "gate_folding_front"}}}
OPTIONS = {
    "bare and decoupled": DECOUPLED,
    "twirled": {"twirling": {"enable_gates": True, "num_randomizations": 20}},
    "level 1": {"resilience_level": 1},
    "level 2": {"resilience_level": 2},
    "folded from the front, decoupled": {"resilience_level": 2, **FOLDED, **DECOUPLED},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_values_are_those_of_the_clients_local_mode(name: str) -> None:
    """Independent draws: differences in standard errors, over values at each noise factor."""
    spec, pub = estimator(**OPTIONS[name]), ising(MANILA)
    ours = simulated(spec, [pub]).result[0].data
    client = Estimator(
        MANILA, options=with_level(spec).options | {"simulator": {"seed_simulator": 3}}
    )
    theirs = client.run([pub]).result()[0].data
    suffix = "_noise_factors" if "evs_noise_factors" in theirs else ""
    assert set(ours) == set(theirs)
    stds = "ensemble_stds_noise_factors" if suffix else "ensemble_standard_error"
    z = (ours[f"evs{suffix}"] - theirs[f"evs{suffix}"]) / np.hypot(ours[stds], theirs[stds])
    assert z.shape == theirs[f"evs{suffix}"].shape
    # The ensemble's error leaves out that randomizations differ, and the calibration's own.
    assert np.abs(z).max() < 4.5
    assert np.sqrt(np.mean(z**2)) < 1.8


@pytest.mark.parametrize(
    "options", [OPTIONS["twirled"], {**OPTIONS["twirled"], **DECOUPLED}], ids=["", "decoupled"]
)
def test_a_twirled_sampler_has_the_distribution_of_the_clients(options: dict[str, Any]) -> None:
    pub = ising(MANILA)
    circuit = pub.circuit.copy()
    circuit.measure_all()
    sampler_pub = SamplerPub.coerce((circuit, pub.parameter_values), 4000)
    spec = PrimitiveSpec("sampler", shots=4000, options=options)
    ours = simulated(spec, [sampler_pub])
    client = Sampler(MANILA, options={**options, "simulator": {"seed_simulator": 3}})
    theirs = client.run([sampler_pub], shots=4000).result()
    mine, other = (
        result[0].data.meas.to_bool_array().mean(axis=1) for result in (ours.result, theirs)
    )
    assert mine.shape == other.shape == (2, 5)
    assert np.abs(mine - other).max() < 0.06
    assert ours.executions == (8000,)
    assert ours.raw is None


@pytest.mark.parametrize("name", OPTIONS)
def test_executions_are_those_of_the_prepared_program(name: str) -> None:
    spec, pubs = estimator(**OPTIONS[name]), [ising(MANILA), ising(MANILA, steps=1)]
    done = simulated(spec, pubs)
    for pub, executions in zip(pubs, done.executions, strict=True):
        program, _ = prepare(with_level(spec), pub, MANILA)
        has_trex = "level" in name
        items = program.items[:-1] if has_trex or "folded" in name else program.items
        assert executions == program.shots * sum(item.size() for item in items)


@pytest.mark.parametrize("name", OPTIONS)
def test_pubs_of_one_circuit_are_compiled_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With parameters, values and observables of their own; their data are those of each alone."""
    first, third, gates = ising(MANILA), ising(MANILA, steps=1), []
    circuit = first.circuit.assign_parameters([Parameter(f"angle_{k}") for k in range(2)])
    circuit.metadata = {"index": 1}
    second = EstimatorPub.coerce((circuit, first.observables.ravel()[1:], [0.2, 0.9]), PRECISION)
    pubs, request = [first, second, third], job(estimator(**OPTIONS[name]), num_pubs=3)

    def watched(spec: PrimitiveSpec, pub: Any, backend: Any) -> Any:
        gates.append("cx" in pub.circuit.count_ops())
        return prepare(spec, pub, backend)

    monkeypatch.setattr("qexp.engines.local.programs.prepare", watched)
    whole = Simulation(MANILA).run(request, pubs)
    assert gates == [True, False, True]
    assert whole.raw is not None
    for index, values in enumerate(whole.result):
        alone = Simulation(MANILA).run(request, pubs, range(index, index + 1))
        assert repr(alone.result[0].metadata) == repr(values.metadata)
        assert alone.executions == whole.executions[index : index + 1]
        assert alone.raw is not None
        assert alone.raw.pubs[0].data.keys() == whole.raw.pubs[index].data.keys()
        assert set(alone.result[0].data) == set(values.data)
        for key, numbers in values.data.items():
            np.testing.assert_array_equal(numbers, alone.result[0].data[key])


def test_nothing_is_kept_of_a_batch_that_is_over() -> None:
    simulation = Simulation(MANILA)
    simulation.run(job(estimator(resilience_level=1)), [ising(MANILA)])
    assert "_programs" in vars(simulation)
    simulation.forget_pubs()
    assert "_programs" not in vars(simulation)


def test_the_pieces_of_a_job_share_its_calibration() -> None:
    spec, pubs = estimator(resilience_level=1), [ising(MANILA, steps=steps) for steps in (1, 2, 3)]
    simulation = Simulation(MANILA)
    whole = simulation.run(job(spec), pubs)
    parts = [simulation.run(job(spec), pubs, range(k, k + 1)) for k in range(3)]
    assert whole.raw is not None
    for index, part in enumerate(parts):
        np.testing.assert_array_equal(part.result[0].data.evs, whole.result[index].data.evs)
        assert part.raw is not None
        assert part.raw.calibration is not None
        for name, bits in part.raw.calibration.data.items():
            assert bits == whole.raw.calibration.data[name]
    other = simulation.run(job(spec, seed=8), pubs)
    assert not np.array_equal(other.result[0].data.evs, whole.result[0].data.evs)


def test_the_data_are_the_same_on_any_number_of_workers() -> None:
    spec, pubs = estimator(resilience_level=1), [ising(MANILA, steps=steps) for steps in (1, 2, 3)]
    results = []
    for count in (1, 2):
        with Workers(count) as workers:
            chunked = ChunkedSimulation(Simulation(MANILA), workers)
            results.append(chunked.run(job(spec, num_pubs=3, load=lambda: pubs)))
    for one, other in zip(results[0].result, results[1].result, strict=True):
        np.testing.assert_array_equal(one.data.evs, other.data.evs)
    assert results[0].info["simulator_methods"] == [["density_matrix", 3]]


@pytest.mark.parametrize("name", OPTIONS)
def test_the_raw_data_give_the_values_again(name: str) -> None:
    done = simulated(estimator(**OPTIONS[name]), [ising(MANILA)])
    assert isinstance(done.raw, RawData)
    calibration = done.raw.calibration
    found = assemble_raw(
        dict(done.raw.pubs[0].data.items()), calibration and dict(calibration.data.items())
    )
    [task] = load_tasks_from_result(found)
    again, values = task.postprocess(found).data, done.result[0].data
    np.testing.assert_array_equal(again.evs, values.evs)
    # What IBM's mitigation calls `twirl_stds` are the `stds` of its primitives.
    if "twirl_stds" in again:
        np.testing.assert_array_equal(again.twirl_stds, values.stds)
        np.testing.assert_array_equal(again.stds, values.ensemble_standard_error)
    else:
        np.testing.assert_array_equal(again.stds, values.stds)
        np.testing.assert_array_equal(again.stds_twirl_noise_factors, values.stds_noise_factors)


def test_wide_devices_are_no_obstacle() -> None:
    pub = ising(TORINO, steps=1)
    done = simulated(estimator(resilience_level=1), [pub], TORINO)
    assert np.abs(done.result[0].data.evs).max() <= 1.2
    objection = RuntimeLocalEngine().pub_objection(TORINO, estimator(resilience_level=1))(pub)
    assert objection is not None
    assert "measures all of its 133 qubits" in objection
    assert LocalEngine().pub_objection(TORINO, estimator(resilience_level=1))(pub) is None


def layers_of(pub: EstimatorPub, options: dict[str, Any]) -> list[tuple[Any, PauliLindbladMap]]:
    """Layers of a circuit with noise as if it were learned: little, on each pair."""
    client = Estimator(MANILA, options=options)
    found = []
    for layer in client.find_unique_layers([pub]):
        width = len(layer.qubits)
        terms = [("X", [qubit], 0.004) for qubit in range(width)]
        found.append((layer, PauliLindbladMap.from_sparse_list(terms, width)))
    return found


@pytest.mark.parametrize("samplomatic", ["0.21.0", "0.99"])
def test_a_samplex_draws_what_the_clients_own_does(
    samplomatic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where noise is injected, and an angle of rzz, which passes by the twirls."""
    fractional = QuantumCircuit(5)
    fractional.rzz(Parameter("angle"), 0, 1)
    fractional_pub = EstimatorPub.coerce((fractional, "IIIZZ", [0.3, 0.5]), PRECISION)
    base = {"resilience_level": 0, "resilience": {"pec_mitigation": True}}
    client = Estimator(MANILA, options=base)
    client.options.resilience.layer_noise_model = layers_of(ising(MANILA), base)
    injected, _ = prepare_pubs([ising(MANILA)], client.options, PRECISION, backend=MANILA)
    folded, _ = prepare(estimator(resilience_level=2), ising(MANILA), MANILA)
    passed, _ = prepare(estimator(resilience_level=1), fractional_pub, MANILA)
    monkeypatch.setattr("samplomatic.__version__", samplomatic)
    for item in (*injected.items, *folded.items, *passed.items):
        ours = draw_item(item, np.random.default_rng(3))
        theirs = broadcast_sample(
            item.samplex, item.samplex_arguments, item.shape, np.random.default_rng(3)
        )
        assert ours.keys() == theirs.keys()
        for name, drawn in ours.items():
            np.testing.assert_array_equal(drawn, theirs[name])


@pytest.mark.parametrize("options", [
    {"resilience": {"pec_mitigation": True}},
    {"resilience": {"zne_mitigation": True, "zne": {"amplifier": "pea"}}},
], ids=["PEC", "PEA"])  # fmt: skip
def test_noise_that_was_learned_is_injected_once(options: dict[str, Any]) -> None:
    """What the client's local mode does only with `simulator.layer_noise_model=[]`."""
    pub = ising(MANILA)
    base = {"resilience_level": 0, "default_precision": 0.1, **options}
    learned = layers_of(pub, base)
    client = Estimator(MANILA, options=base)
    client.options.resilience.layer_noise_model = learned
    client.options.simulator.layer_noise_model = []
    client.options.simulator.seed_simulator = 4
    theirs = client.run([pub], precision=0.1).result()[0].data
    from qiskit_ibm_runtime.results import QuantumProgramItemResult, QuantumProgramResult

    program, _ = prepare_pubs([pub], client.options, 0.1, backend=MANILA)
    sampler, sequence = ComponentSampler(make_device(MANILA)), np.random.SeedSequence(2)
    items = [
        QuantumProgramItemResult(run_item(item, program.shots, sampler, child(sequence, k))[0], {})
        for k, item in enumerate(program.items)
    ]
    assert "pauli_signs" in items[0]
    found = QuantumProgramResult(items, passthrough_data=program.passthrough_data)
    ours = evaluate_program(found, "estimator")[0].data
    stds = "stds_noise_factors" if "evs_noise_factors" in ours else "stds"
    evs = stds.replace("stds", "evs")
    z = (ours[evs] - theirs[evs]) / np.hypot(ours[stds], theirs[stds])
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resilience": {"pec_mitigation": True}}, "requires a noise model"),
        (
            {"resilience_level": 2, "resilience": {"zne": {"noise_factors": [1, 1.5, 3]}}},
            "folds gates at random and without a seed for noise factor 1.5",
        ),
        (
            {"resilience": {"zne_mitigation": True, "pec_mitigation": True}},
            "incompatible",
        ),
    ],
)
def test_what_the_client_cannot_run_is_refused_in_the_plan(
    options: dict[str, Any], said: str
) -> None:
    objection = LocalEngine().pub_objection(MANILA, estimator(**options))(ising(MANILA))
    assert objection is not None
    assert said in objection


def test_circuits_that_the_client_cannot_twirl_are_refused_in_the_plan() -> None:
    dynamic, fractional = QuantumCircuit(5, 1), QuantumCircuit(5)
    with dynamic.if_test((dynamic.clbits[0], 1)):
        dynamic.x(1)
    fractional.rzz(0.3, 0, 1)
    for circuit, said in ((dynamic, "'if_else'"), (fractional, "fractional entanglers")):
        pub = EstimatorPub.coerce((circuit, "IIIZZ"), PRECISION)
        why = LocalEngine().pub_objection(MANILA, estimator(resilience_level=2))(pub)
        assert why is not None
        assert said in why
    assert LocalEngine().pub_objection(MANILA, estimator(resilience_level=1))(pub) is None


def test_exact_values_cannot_be_mitigated() -> None:
    engine = LocalEngine(exact_expectation_values=True)
    objection = engine.pub_objection(MANILA, estimator(resilience_level=1))(ising(MANILA))
    assert objection == (
        "its values are made of samples; set engine.exact_expectation_values=false"
    )


@pytest.mark.parametrize(
    ("engine", "remedy"),
    [
        (LocalEngine(method="clifford"), "set engine.method=null"),
        (LocalEngine(approximate_noise=True), "set engine.approximate_noise=false"),
    ],
)
def test_compiled_circuits_have_no_method_and_no_approximation(
    engine: LocalEngine, remedy: str
) -> None:
    objection = engine.pub_objection(MANILA, estimator(resilience_level=1))(ising(MANILA))
    assert objection is not None
    assert objection.endswith(remedy)
    assert engine.pub_objection(MANILA, estimator(resilience_level=0))(coin()) is None


def coin() -> EstimatorPub:
    circuit = QuantumCircuit(5)
    circuit.sx(0)
    return EstimatorPub.coerce((circuit, "IIIIZ"), PRECISION)


def test_twirled_clifford_circuits_are_not_predicted_as_such() -> None:
    """Their twirls are parameters, which frames do not take."""
    ghz = QuantumCircuit(133)
    ghz.sx(0)
    for qubit in range(13):
        ghz.cz(qubit, qubit + 1)
    pub = EstimatorPub.coerce((ghz, SparsePauliOp("I" * 132 + "Z")), PRECISION)
    programs = Programs(TORINO, make_device(TORINO), NoisySampler(TORINO))
    assert programs.predict(estimator(resilience_level=2), pub).method != "clifford"


def test_costs_grow_with_what_is_executed() -> None:
    programs, pub = Programs(MANILA, make_device(MANILA), NoisySampler(MANILA)), ising(MANILA)
    plain, twirled, folded = (
        programs.predict(estimator(**options), pub).cost
        for options in (DECOUPLED, OPTIONS["level 1"], OPTIONS["level 2"])
    )
    assert plain is not None
    assert twirled is not None
    assert folded is not None
    assert twirled.seconds == pytest.approx(16 * plain.seconds)
    assert folded.seconds == pytest.approx(9 * twirled.seconds)


def test_qubits_that_share_no_gate_cost_as_much_as_one() -> None:
    """They are evolved together as arrays; only the bits of the device take memory."""
    programs = Programs(TORINO, make_device(TORINO), NoisySampler(TORINO))

    def cost(width: int, sets: int) -> Any:
        circuit = QuantumCircuit(133)
        for qubit in range(width):
            circuit.rz(Parameter(f"angle_{qubit:02}"), qubit)
            circuit.sx(qubit)
        pub = EstimatorPub.coerce((circuit, "I" * 132 + "Z", np.ones((sets, width))), PRECISION)
        return programs.predict(estimator(resilience_level=2), pub).cost

    assert cost(20, 1).seconds == pytest.approx(cost(1, 1).seconds)
    # 1024 shots at three noise factors, of 133 qubits.
    each = 3 * 133 * 1024 * 3
    assert cost(20, 300).bytes - cost(20, 100).bytes == 200 * each


def test_the_level_is_zero_unless_it_is_declared() -> None:
    spec = estimator(**OPTIONS["twirled"])
    assert with_level(spec).options["resilience_level"] == 0
    assert with_level(estimator(resilience_level=2)).options["resilience_level"] == 2
    options = simulated(spec, [ising(MANILA, steps=1)]).options
    assert options["resilience"]["measure_mitigation"] is False
    assert options["twirling"]["num_randomizations"] == 20
    assert options["simulator"]["seed_simulator"] == 7
    assert replace(spec, kind="sampler") == with_level(replace(spec, kind="sampler"))


def test_the_shots_follow_from_the_precision() -> None:
    done = simulated(estimator(resilience_level=1), [ising(MANILA, steps=1)])
    configurations = 2 * 2  # parameter sets x bases
    assert done.executions == (configurations * math.ceil(1 / PRECISION**2),)
