from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import BackendV2, Options
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import Target, generate_preset_pass_manager
from qiskit_aer import AerSimulator

from qexp.core.model import JobRequest, Partition, PrimitiveSpec
from qexp.engines.local.backends import aer, fake
from qexp.engines.local.engine import LocalEngine, SimulationMethod
from qexp.engines.local.simulation import Simulation
from qexp.errors import ConfigError, EngineError
from qexp.simulator.methods import method_names

SAMPLER = PrimitiveSpec("sampler")
ESTIMATOR = PrimitiveSpec("estimator")


def job(primitive: PrimitiveSpec = SAMPLER, seed: int = 7) -> JobRequest:
    partition = Partition(0, "main", 0, 1, None, None, 0, 0, 0.0, "end")
    return JobRequest(partition, primitive, list, ("tag",), seed)


def sample(
    backend: BackendV2, pubs: Sequence[SamplerPub], request: JobRequest | None = None
) -> list[NDArray[np.uint8]]:
    result = Simulation(backend).run(request or job(), pubs).result
    return [pub_result.data.meas.array for pub_result in result]


def coin_flips(num_qubits: int = 8, shots: int = 100) -> SamplerPub:
    circuit = QuantumCircuit(num_qubits)
    circuit.h(range(num_qubits))
    circuit.measure_all()
    return SamplerPub.coerce((circuit,), shots)


def ghz(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def measuring() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    circuit.x(0)
    return circuit


def isa(backend: BackendV2, circuit: QuantumCircuit) -> QuantumCircuit:
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=5).run(circuit)


def test_executions_are_parameter_sets_times_shots() -> None:
    pubs = [coin_flips(2, 10), coin_flips(2, 5000)]
    assert Simulation(aer(2)).run(job(), pubs).executions == (10, 5000)


@pytest.mark.parametrize("make", [aer, fake])
def test_exact_expectation_values_by_choice(make: Any) -> None:
    backend = make()
    transpiled = isa(backend, ghz(2))
    observables = [
        SparsePauliOp(label).apply_layout(transpiled.layout) for label in ("XX", "ZZ", "YY", "ZI")
    ]
    pub = EstimatorPub.coerce((transpiled, observables, None, 0.1))
    request = job(replace(ESTIMATOR, precision=0.1), seed=3)
    simulated = Simulation(backend, exact=True).run(request, [pub])
    data = simulated.result[0].data
    ideal = np.array([1.0, 1.0, -1.0, 0.0])
    if make is aer:
        np.testing.assert_allclose(data.evs, ideal, atol=1e-12)
    else:
        assert 0.01 < abs(data.evs - ideal)[:3].max() < 0.3
    assert not data.stds.any()
    assert simulated.options["default_precision"] == 0.0
    assert simulated.executions == (0,)
    sampled = Simulation(backend).run(request, [pub])
    assert sampled.options["default_precision"] == 0.1
    assert sampled.result[0].data.stds.any()
    # The same for any seed, unlike samples.
    other = Simulation(backend, exact=True).run(job(ESTIMATOR, seed=9), [pub]).result[0].data
    assert (other.evs == data.evs).all()


def test_samplers_do_not_care_about_exact_expectation_values() -> None:
    first, second = (
        Simulation(aer(8), exact=exact).run(job(), [coin_flips()]) for exact in (True, False)
    )
    assert (first.result[0].data.meas.array == second.result[0].data.meas.array).all()
    assert first.options == second.options


@pytest.mark.parametrize(
    ("backend", "circuit", "said"),
    [
        (fake("FakeSherbrooke"), ghz(12), "it acts on 12 qubits, and at most 11 qubits have exact"),
        (aer(30), ghz(21), "it acts on 21 qubits, and at most 20 qubits have exact"),
        (fake(), measuring(), "it measures, is dynamic or"),
        (aer(2, "stabilizer"), ghz(2), "a noise model or method of its own"),
        (GenericBackendV2(2), ghz(2), "simulates itself"),
    ],
    ids=["wide noisy", "wide", "measuring", "stabilizer", "its own"],
)
def test_pubs_without_exact_expectation_values_are_refused(
    backend: BackendV2, circuit: QuantumCircuit, said: str
) -> None:
    pub = EstimatorPub.coerce((circuit, "Z" * circuit.num_qubits))
    objection = LocalEngine(exact_expectation_values=True).pub_objection(backend, ESTIMATOR)(pub)
    assert objection is not None
    assert said in objection
    assert objection.endswith("set engine.exact_expectation_values=false to sample them")
    assert LocalEngine().pub_objection(backend, ESTIMATOR)(pub) is None
    if circuit.num_clbits:
        sampler = SamplerPub.coerce((circuit,), 10)
        assert (
            LocalEngine(exact_expectation_values=True).pub_objection(backend, SAMPLER)(sampler)
            is None
        )


def test_pubs_with_exact_expectation_values_are_accepted() -> None:
    pub = EstimatorPub.coerce((ghz(11), "Z" * 11))
    engine = LocalEngine(exact_expectation_values=True)
    for backend in (fake("FakeSherbrooke"), aer(30)):
        assert engine.pub_objection(backend, ESTIMATOR)(pub) is None


def test_cached_noise_changes_no_data() -> None:
    backend = fake()
    pubs = [SamplerPub.coerce((isa(backend, coin_flips(n).circuit),), 50) for n in (2, 3)]
    used = Simulation(backend)
    used.run(job(seed=1), pubs[1:])
    (first,), (again,) = (sample(backend, pubs[:1]), used.run(job(), pubs[:1]).result)
    assert np.array_equal(first, again.data.meas.array)


@pytest.mark.parametrize("is_used", [False, True])
def test_a_simulation_can_be_sent_to_a_worker(is_used: bool) -> None:
    backend = fake()
    pub = SamplerPub.coerce((isa(backend, coin_flips(2).circuit),), 100)
    simulation = Simulation(backend)
    if is_used:
        simulation.run(job(), [pub])
    sent = pickle.loads(pickle.dumps(simulation))
    assert sent.run(job(), [pub]).executions == (100,)


def test_a_simulator_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(AerSimulator, "from_backend")
    simulated = Simulation(aer(2, "stabilizer")).run(job(), [coin_flips(2)])
    assert simulated.info["simulator"] == "aer_simulator_stabilizer"
    assert simulated.info["simulator_method"] == "stabilizer"
    assert simulated.info["aer_version"]
    assert simulated.backend_properties is None


def test_a_backend_without_calibration_runs_itself() -> None:
    backend = GenericBackendV2(2, seed=3)
    flipped = QuantumCircuit(2)
    flipped.x(0)
    flipped.measure_all()
    pub = SamplerPub.coerce((isa(backend, flipped),), 500)
    simulated = Simulation(backend).run(job(), [pub])
    counts = simulated.result[0].data.meas.get_counts()
    assert max(counts, key=counts.get) == "01"
    assert simulated.info == {"simulator": backend.name}
    assert simulated.backend_properties is None


def test_calibration_is_plain_data() -> None:
    backend = fake()
    pub = SamplerPub.coerce((isa(backend, coin_flips(1).circuit),), 10)
    properties = Simulation(backend).run(job(), [pub]).backend_properties
    assert properties is not None
    assert properties["backend_name"] == "ibmq_manila"
    assert properties["last_update_date"] == "2024-05-27T18:27:23+00:00"


def test_a_failed_simulation_is_an_error() -> None:
    circuit = QuantumCircuit(1)
    circuit.t(0)
    circuit.measure_all()
    with pytest.raises(EngineError, match="the simulation failed"):
        Simulation(aer(1, "stabilizer")).run(job(), [SamplerPub.coerce((circuit,), 10)])


def test_a_declared_seed_is_mixed_with_the_jobs() -> None:
    declared = replace(SAMPLER, options={"simulator": {"seed_simulator": 0}})
    streams = [
        sample(aer(8), [coin_flips()], request)[0]
        for request in (job(), job(declared), job(declared, seed=8))
    ]
    assert (streams[0] != streams[1]).any()
    assert (streams[1] != streams[2]).any()
    simulated = Simulation(aer(8)).run(job(declared), [coin_flips()])
    assert simulated.options["simulator"] == {"seed_simulator": 0}


def test_options_in_force_of_a_sampler() -> None:
    declared = replace(SAMPLER, options={"default_shots": 50})
    options = Simulation(aer(8)).run(job(declared), [coin_flips()]).options
    assert options["default_shots"] == 50
    assert options["simulator"] == {"seed_simulator": 7}
    assert options["environment"] == {"job_tags": ["tag"]}
    assert options["twirling"] == {"enable_gates": False, "enable_measure": False}
    assert "resilience_level" not in options


@pytest.mark.parametrize(
    ("spec", "precision"),
    [
        (ESTIMATOR, 1 / 64),
        (replace(ESTIMATOR, precision=0.1), 0.1),
        (replace(ESTIMATOR, options={"default_precision": 0.2}), 0.2),
        (replace(ESTIMATOR, options={"default_shots": 100}), 0.1),
    ],
)
def test_options_in_force_of_an_estimator(spec: PrimitiveSpec, precision: float) -> None:
    pub = EstimatorPub.coerce((QuantumCircuit(1), "Z"))
    simulated = Simulation(aer(1)).run(job(spec), [pub])
    assert simulated.options["default_precision"] == pytest.approx(precision)
    assert simulated.options["resilience_level"] == 0
    assert simulated.executions == (pytest.approx(1 / precision**2),)


def test_precision_becomes_shots_and_executions_count_every_basis() -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(2)
    circuit.ry(angle, 0)
    observables = [[SparsePauliOp.from_list([("ZZ", 1), ("XX", 1), ("IZ", 1)]), "YY"]]
    pub = EstimatorPub.coerce((circuit, observables, np.zeros((4, 1, 1))), 0.03)
    simulated = Simulation(aer(2)).run(job(ESTIMATOR), [pub])
    shots = math.ceil(1 / 0.03**2)
    assert simulated.result[0].metadata["shots"] == shots
    # Three bases (ZZ, XX, YY) of four parameter sets.
    assert simulated.executions == (shots * 12,)


def test_projectors_are_estimated() -> None:
    circuit = QuantumCircuit(2)
    circuit.ry(1.0, 0)
    circuit.cx(0, 1)
    pub = EstimatorPub.coerce((circuit, ["00", "11", "I+"]), 0.1)
    exact, sampled = (
        Simulation(aer(2), exact=exact).run(job(ESTIMATOR), [pub]) for exact in (True, False)
    )
    np.testing.assert_allclose(exact.result[0].data.evs, [0.7702, 0.2298, 0.5], atol=1e-4)
    # Two bases, ZZ and IX.
    assert (exact.executions, sampled.executions) == ((0,), (200,))


class Equal(BackendV2):
    """Equal to all of its kind, as backends with a name may be."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    __hash__ = None  # type: ignore[assignment]

    @property
    def target(self) -> Any:
        return Target(num_qubits=1)

    max_circuits = None

    @classmethod
    def _default_options(cls) -> Any:
        return Options()

    def run(self, run_input: Any, **options: Any) -> Any:
        raise AssertionError("is not run")


def test_the_runs_of_a_process_share_the_simulation_of_the_very_same_backend() -> None:
    assert LocalEngine()._simulation(fake()) is LocalEngine()._simulation(fake())
    # Alike, but not the same: its noise may have been changed.
    other = type(fake())()
    assert LocalEngine()._simulation(other) is not LocalEngine()._simulation(fake())
    first, second = Equal(), Equal()
    kept = LocalEngine()._simulation(first)
    assert LocalEngine()._simulation(first) is kept
    assert LocalEngine()._simulation(second).backend is second
    assert LocalEngine(exact_expectation_values=True)._simulation(second).exact


def test_a_method_that_cannot_simulate_a_pub_is_refused_in_the_plan() -> None:
    def objection(method: str, circuit: QuantumCircuit) -> str | None:
        engine = LocalEngine(method=method)  # type: ignore[arg-type]
        engine.check_backend(fake("FakeSherbrooke"))
        pub = SamplerPub.coerce((circuit,), 10)
        return engine.pub_objection(fake("FakeSherbrooke"), SAMPLER)(pub)

    wide = ghz(12)
    wide.measure_all()
    refused = objection("density_matrix", wide)
    assert refused is not None
    assert refused.startswith("it acts on 12 qubits")
    assert refused.endswith("by density_matrix; set engine.method=null to have another chosen")
    assert objection("trajectory_tree", wide) is None
    assert objection("statevector", wide) is None
    exact = LocalEngine(method="trajectory_tree", exact_expectation_values=True)
    pub = EstimatorPub.coerce((ghz(3), "ZZZ"))
    assert "samples, not exact" in (exact.pub_objection(fake("FakeManilaV2"), ESTIMATOR)(pub) or "")


@pytest.mark.parametrize("backend", [aer(2), GenericBackendV2(2)])
def test_a_method_is_for_the_noise_of_a_device(backend: BackendV2) -> None:
    LocalEngine().check_backend(backend)
    with pytest.raises(ConfigError, match=r"engine\.method=trajectory_tree .* of its own"):
        LocalEngine(method="trajectory_tree").check_backend(backend)


def test_the_methods_are_those_of_the_simulator() -> None:
    assert get_args(SimulationMethod) == method_names()
