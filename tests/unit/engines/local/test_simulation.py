from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import quantum_volume
from qiskit.primitives import BackendSamplerV2, PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import BackendV2, Options
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import Target, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from scipy.stats import chi2_contingency

from qexp.core.model import JobRequest, Partition, PrimitiveSpec
from qexp.engines.local import sampling
from qexp.engines.local.backends import aer, fake
from qexp.engines.local.engine import LocalEngine
from qexp.engines.local.reduced import ReducedDevice
from qexp.engines.local.simulation import Simulation, simulation_of
from qexp.errors import EngineError

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


def shot_by_shot(shots: int) -> SamplerPub:
    """A PUB that Aer cannot sample from one final state: it resets in the middle."""
    circuit = QuantumCircuit(8)
    circuit.h(range(8))
    circuit.reset(0)
    circuit.h(0)
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


@pytest.mark.parametrize("make", [aer, fake])
def test_the_seed_decides_the_bits(make: Any) -> None:
    backend = make()
    circuit = coin_flips(5).circuit
    pubs = [SamplerPub.coerce((isa(backend, circuit),), 200)] * 2
    once, again = sample(backend, pubs), sample(backend, pubs)
    other = sample(backend, pubs, job(seed=8))
    for index in range(2):
        assert (once[index] == again[index]).all()
        assert (once[index] != other[index]).any()


def test_equal_circuits_of_a_job_get_shots_of_their_own() -> None:
    first, second = sample(aer(8), [coin_flips(), coin_flips()])
    assert (first != second).any()


@pytest.mark.parametrize("shots", [2000, 3000, 5000])
def test_no_stretch_of_shots_repeats_in_the_next_equal_circuit(shots: int) -> None:
    first, second = sample(aer(8), [shot_by_shot(shots), shot_by_shot(shots)])
    for shift in range(0, shots, 2113):
        # 8 fair coins agree by chance once in 256 shots.
        assert (first[shift:] == second[: shots - shift]).mean() < 0.05


def test_pubs_of_different_shots_do_not_share_random_numbers() -> None:
    short, long = sample(aer(8), [shot_by_shot(300), shot_by_shot(500)])
    assert (short == long[:300]).mean() < 0.05


def test_results_keep_the_order_and_shots_of_the_pubs() -> None:
    flipped = QuantumCircuit(2)
    flipped.x(0)
    flipped.measure_all()
    idle = QuantumCircuit(2)
    idle.measure_all()
    pubs = [
        SamplerPub.coerce((circuit,), shots)
        for circuit, shots in ((idle, 10), (flipped, 5000), (idle, 5000), (flipped, 10))
    ]
    simulated = Simulation(aer(2)).run(job(), pubs)
    counts = [pub_result.data.meas.get_counts() for pub_result in simulated.result]
    assert counts == [{"00": 10}, {"01": 5000}, {"00": 5000}, {"01": 10}]
    assert simulated.executions == (10, 5000, 5000, 10)


def exact_job() -> JobRequest:
    return job(replace(ESTIMATOR, precision=0.1), seed=3)


@pytest.mark.parametrize("make", [aer, fake])
def test_exact_expectation_values_by_choice(make: Any) -> None:
    backend = make()
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    transpiled = isa(backend, circuit)
    observables = [
        SparsePauliOp(label).apply_layout(transpiled.layout) for label in ("XX", "ZZ", "YY", "ZI")
    ]
    pub = EstimatorPub.coerce((transpiled, observables, None, 0.1))
    simulated = Simulation(backend, exact=True).run(exact_job(), [pub])
    data = simulated.result[0].data
    ideal = np.array([1.0, 1.0, -1.0, 0.0])
    if make is aer:
        np.testing.assert_allclose(data.evs, ideal, atol=1e-12)
    else:
        assert 0.01 < abs(data.evs - ideal)[:3].max() < 0.3
    assert not data.stds.any()
    assert simulated.options["default_precision"] == 0.0
    assert simulated.executions == (0,)
    sampled = Simulation(backend).run(exact_job(), [pub])
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
def test_what_has_no_exact_expectation_values_is_objected_to(
    backend: BackendV2, circuit: QuantumCircuit, said: str
) -> None:
    pub = EstimatorPub.coerce((circuit, "Z" * circuit.num_qubits))
    objection = LocalEngine(exact_expectation_values=True).pub_objection(backend)(pub)
    assert objection is not None
    assert said in objection
    assert objection.endswith("set engine.exact_expectation_values=false to sample them")
    assert LocalEngine().pub_objection(backend)(pub) is None
    if circuit.num_clbits:
        sampler = SamplerPub.coerce((circuit,), 10)
        assert LocalEngine(exact_expectation_values=True).pub_objection(backend)(sampler) is None


def test_what_has_exact_expectation_values_is_not() -> None:
    pub = EstimatorPub.coerce((ghz(11), "Z" * 11))
    engine = LocalEngine(exact_expectation_values=True)
    for backend in (fake("FakeSherbrooke"), aer(30)):
        assert engine.pub_objection(backend)(pub) is None


def test_all_circuits_of_a_job_go_to_aer_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    run = AerSimulator.run

    def spy(self: AerSimulator, circuits: Any, **options: Any) -> Any:
        calls.append(len(circuits))
        return run(self, circuits, **options)

    monkeypatch.setattr(AerSimulator, "run", spy)
    sample(aer(8), [coin_flips()] * 5)
    assert calls == [5]


def test_each_error_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, tuple[int, ...]]] = []
    make = ReducedDevice._make_gate_error

    def spy(self: ReducedDevice, name: str, qubits: tuple[int, ...]) -> Any:
        made.append((name, qubits))
        return make(self, name, qubits)

    monkeypatch.setattr(ReducedDevice, "_make_gate_error", spy)
    backend = fake()
    simulation = Simulation(backend)
    pub = SamplerPub.coerce((isa(backend, coin_flips(2).circuit),), 10)
    for seed in range(3):
        simulation.run(job(seed=seed), [pub])
    assert len(made) == len(set(made)) > 0


def test_the_runs_of_a_process_share_the_simulation_of_a_backend() -> None:
    backend = fake()
    other = type(backend)()
    simulation = simulation_of(backend, False)
    assert simulation_of(fake(), False) is simulation
    # Alike, but not the same: its noise may have been changed.
    assert simulation_of(other, False) is not simulation


def test_what_was_learnt_changes_no_data() -> None:
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


def test_circuits_are_sampled_alike_however_they_are_simulated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = fake()
    volume = quantum_volume(5, 3, seed=2)
    volume.measure_all()
    pub = SamplerPub.coerce((isa(backend, volume),), 1000)
    exact = Simulation(backend).run(job(), [pub]).result
    monkeypatch.setattr(sampling, "is_exact_cheaper", lambda *_: False)
    for method in ("statevector", "matrix_product_state"):
        monkeypatch.setattr(sampling, "trajectories", lambda _, method=method: method)
        shots = Simulation(backend).run(job(), [pub]).result
        assert p_value(exact, shots) > 0.01


def test_a_simulator_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(AerSimulator, "from_backend")
    simulated = Simulation(aer(2, "stabilizer")).run(job(), [coin_flips(2)])
    assert simulated.info["simulator"] == "aer_simulator_stabilizer"
    assert simulated.info["simulator_method"] == "stabilizer"
    assert simulated.info["aer_version"]
    assert simulated.backend_properties is None


def test_an_ideal_simulator_takes_the_stabilizer_method_for_wide_clifford_circuits() -> None:
    wide = ghz(60)
    wide.measure_all()
    (bits,) = sample(aer(60), [SamplerPub.coerce((wide,), 200)])
    assert {row.tobytes().hex() for row in bits} == {"0" * 16, "0" + "f" * 15}


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


def test_a_failed_simulation_is_an_error_not_zeros() -> None:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.t(0)
    circuit.measure_all()
    with pytest.raises(EngineError, match="Simulation failed"):
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


def test_estimates_agree_with_their_standard_errors() -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(1)
    circuit.ry(angle, 0)
    angles = np.linspace(0.2, 2.9, 100)
    pub = EstimatorPub.coerce((circuit, "Z", angles.reshape(-1, 1)), 0.02)
    data = Simulation(aer(1)).run(job(ESTIMATOR), [pub]).result[0].data
    deviations = (data.evs - np.cos(angles)) / data.stds
    # The mean square of 100 unit normals is 1 +- 0.14.
    assert 0.5 < np.mean(deviations**2) < 1.7


def test_the_noise_is_that_of_plain_aer() -> None:
    backend = fake()
    volume = quantum_volume(5, 3, seed=2)
    volume.measure_all()
    circuit = isa(backend, volume)
    shots = 20_000
    ours = Simulation(backend).run(job(), [SamplerPub.coerce((circuit,), shots)]).result
    plain = sampled(AerSimulator.from_backend(backend), circuit, shots)
    ideal = sampled(AerSimulator(), circuit, shots)
    assert p_value(ours, plain) > 0.01
    # The same test tells noise from no noise.
    assert p_value(ours, ideal) < 1e-6


def sampled(backend: BackendV2, circuit: QuantumCircuit, shots: int) -> PrimitiveResult[Any]:
    sampler = BackendSamplerV2(backend=backend, options={"seed_simulator": 123})
    return sampler.run([circuit], shots=shots).result()


def p_value(one: PrimitiveResult[Any], other: PrimitiveResult[Any]) -> float:
    tables = [
        np.bincount(result[0].data.meas.array.ravel(), minlength=32) for result in (one, other)
    ]
    seen = np.sum(tables, axis=0) > 0
    return float(chi2_contingency(np.array(tables)[:, seen]).pvalue)


class Equal(BackendV2):
    """Equal to all of its kind, as backends with a name may be; counts what it runs."""

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


def test_a_simulation_is_kept_for_the_very_same_backend_only() -> None:
    first, second = Equal(), Equal()
    kept = simulation_of(first, exact=False)
    assert simulation_of(first, exact=False) is kept
    assert simulation_of(second, exact=False).is_of(second, exact=False)
    assert simulation_of(second, exact=True).is_of(second, exact=True)
