from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import BackendEstimatorV2, PrimitiveResult, StatevectorEstimator
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error

from qexp.circuits.efficient_su2 import efficient_su2_pubs
from qexp.circuits.ising import ising_pubs
from qexp.engines.local.backends import aer, fake
from qexp.simulator import NoisyEstimator, SimulationError, methods, states

OBSERVABLES = [
    "ZIII",
    "IZIZ",
    "XXII",
    "IYYX",
    {"ZZZZ": 0.5, "XIIX": -1.5, "IIII": 2.0, "IIYY": 0.25},
]


@cache
def manila() -> NoisyEstimator:
    return NoisyEstimator(fake("FakeManilaV2"))


def ideal(*arguments: Any) -> NoisyEstimator:
    return NoisyEstimator(aer(*arguments))


def isa_pubs(backend: BackendV2, pubs: Any, precision: float | None = None) -> list[EstimatorPub]:
    passes = generate_preset_pass_manager(optimization_level=1, backend=backend, seed_transpiler=3)
    isa = []
    for like in pubs:
        pub = EstimatorPub.coerce(like)
        circuit = passes.run(pub.circuit)
        observables = ObservablesArray(
            [
                SparsePauliOp.from_list(list(one.items())).apply_layout(circuit.layout)
                for one in pub.observables.ravel().tolist()
            ]
        ).reshape(pub.observables.shape)
        isa.append(EstimatorPub.coerce((circuit, observables, pub.parameter_values, precision)))
    return isa


def ansatz(sets: tuple[int, ...], num_circuits: int = 1) -> Any:
    return efficient_su2_pubs(
        num_circuits=num_circuits,
        reps=1,
        su2_gates=["ry", "rz"],
        parameter_sets=list(sets),
        observables=OBSERVABLES,  # type: ignore[arg-type]
        seed_sequence=np.random.SeedSequence(5),
    )


def ising(num_qubits: int = 4) -> Any:
    return ising_pubs(steps=[1, 2], num_qubits=num_qubits, seed_sequence=np.random.SeedSequence(5))


def run(
    target: NoisyEstimator,
    pubs: Any,
    *,
    seed: int = 1,
    precision: float = 1 / 64,
    exact: bool = False,
) -> PrimitiveResult[Any]:
    coerced = [EstimatorPub.coerce(pub) for pub in pubs]
    if exact:
        coerced = [EstimatorPub(p.circuit, p.observables, p.parameter_values, 0.0) for p in coerced]
    return target.estimate(coerced, precision=precision, seed=seed)


def flat(result: PrimitiveResult[Any], name: str = "evs") -> NDArray[np.float64]:
    return np.concatenate([getattr(pub.data, name).ravel() for pub in result])


def reference(backend: BackendV2, pubs: Any, precision: float, seed: int = 7) -> Any:
    options = {"seed_simulator": seed, "default_precision": precision}
    return BackendEstimatorV2(backend=backend, options=options).run(pubs).result()


def assert_normal(deviations: NDArray[np.float64]) -> None:
    """Unit normals: their mean square is 1 +- sqrt(2/n); six of these standard errors are allowed.

    Terms of one basis share their shots, so that fewer deviations are independent.
    """
    bound = 6 * math.sqrt(2 / len(deviations))
    assert abs(np.mean(deviations**2) - 1) < bound
    assert abs(np.mean(deviations)) < 6 / math.sqrt(len(deviations))


def test_the_result_is_that_of_qiskit_but_for_its_numbers() -> None:
    pubs = isa_pubs(fake(), [*ansatz((3, 2)), *ising()], precision=0.1)
    ours = run(manila(), pubs)
    theirs = reference(fake(), pubs, 0.1)
    assert ours.metadata == theirs.metadata
    for one, other in zip(ours, theirs, strict=True):
        assert one.metadata == other.metadata
        assert one.data.shape == other.data.shape
        assert list(one.data) == list(other.data)
        assert one.data.evs.shape == other.data.evs.shape
        assert one.data.evs.dtype == other.data.evs.dtype
        assert one.data.stds.shape == other.data.stds.shape


@pytest.mark.parametrize("sets", [(), (5,), (2, 3)])
def test_without_noise_exact_values_are_those_of_the_state_vector(sets: tuple[int, ...]) -> None:
    pubs = [*ansatz(sets, num_circuits=2), *ising()]
    exact = run(ideal(), pubs, exact=True)
    expected = StatevectorEstimator().run(pubs).result()
    np.testing.assert_allclose(flat(exact), flat(expected), atol=1e-12)
    assert not flat(exact, "stds").any()
    assert exact[0].metadata["target_precision"] == 0.0
    assert exact[0].metadata["shots"] == 0


def test_exact_values_with_noise_are_those_of_aer() -> None:
    """Against a density matrix that Aer evolves through the rotations, and measures, itself."""
    backend = fake()
    (pub,) = isa_pubs(backend, ansatz((2,)))
    exact = run(manila(), [pub], exact=True)[0].data.evs
    simulator = AerSimulator.from_backend(backend)
    misread = [
        np.array(error["probabilities"])
        for qubit in range(5)
        for error in simulator.options.noise_model.to_dict()["errors"]
        if error["type"] == "roerror" and error["gate_qubits"] == [(qubit,)]
    ]
    passes = generate_preset_pass_manager(
        optimization_level=0, backend=backend, initial_layout=range(5)
    )
    for place, observable in enumerate(pub.observables.ravel().tolist()):
        expected = np.zeros(2)
        for label, coefficient in observable.items():
            for k in range(2):
                circuit = QuantumCircuit(5)
                signs = []
                for qubit, letter in enumerate(reversed(label)):
                    if letter == "Y":
                        circuit.sdg(qubit)
                    if letter in "XY":
                        circuit.h(qubit)
                    sign = np.ones(2) if letter == "I" else misread[qubit] @ [1, -1]
                    signs.append(np.diag(sign))
                bound = pub.parameter_values.bind(pub.circuit, (k,)).compose(passes.run(circuit))
                bound.save_density_matrix(label="state")
                result = simulator.run(bound, method="density_matrix").result()
                state = np.asarray(result.data()["state"])
                operator = np.eye(1)
                for sign in signs:
                    operator = np.kron(sign, operator)
                expected[k] += coefficient * np.trace(operator @ state).real
        np.testing.assert_allclose(exact[place], expected, atol=1e-9)


def repeated(pub: EstimatorPub, times: int) -> EstimatorPub:
    """The PUB with one parameter set, estimated many times: shape `(observables, times)`."""
    data = {
        parameters: np.tile(values.reshape(1, -1), (times, 1))
        for parameters, values in pub.parameter_values.data.items()
    }
    observables = pub.observables.reshape((pub.observables.size, 1))
    values = BindingsArray(data, shape=(times,))
    return EstimatorPub(pub.circuit, observables, values, pub.precision)


def test_samples_have_the_exact_values_as_mean_and_the_stds_as_spread() -> None:
    times, seeds = 100, 3
    pubs = isa_pubs(fake(), [*ansatz(()), *ising()], precision=0.1)
    pubs = [repeated(pub, times) for pub in pubs]
    exact = np.concatenate([pub.data.evs[:, 0] for pub in run(manila(), pubs, exact=True)])
    results = [run(manila(), pubs, seed=seed) for seed in range(seeds)]
    evs, stds = (
        np.concatenate(
            [np.concatenate([getattr(pub.data, name) for pub in result]) for result in results],
            axis=1,
        )
        for name in ("evs", "stds")
    )
    spread = evs.std(axis=1, ddof=1)
    # 300 estimates: the mean has a standard error of spread / sqrt(300), the spread one of 4 %.
    assert np.all(np.abs(evs.mean(axis=1) - exact) < 4.5 * spread / math.sqrt(times * seeds))
    mean_stds = stds.mean(axis=1)
    # The stds of one term are its spread; those of several are an upper bound.
    assert np.all(spread < 1.2 * mean_stds)
    single = [len(one) == 1 for pub in pubs for one in pub.observables.ravel().tolist()]
    assert np.all(spread[single] > 0.8 * mean_stds[single])


@pytest.mark.parametrize("name", ["FakeManilaV2", "FakeSherbrooke"])
def test_noise_and_standard_errors_are_those_of_plain_aer(name: str) -> None:
    backend = fake(name)
    pubs = isa_pubs(backend, [*ansatz((6,)), *ising()], precision=0.02)
    ours = run(NoisyEstimator(backend), pubs)
    theirs = reference(AerSimulator.from_backend(backend), pubs, 0.02)
    single = np.array(flat(theirs, "stds") > 1e-9)
    spread = np.hypot(flat(ours, "stds"), flat(theirs, "stds"))[single]
    assert_normal((flat(ours) - flat(theirs))[single] / spread)
    np.testing.assert_allclose(flat(ours, "stds"), flat(theirs, "stds"), rtol=0.2, atol=2e-3)
    # The same test tells noise from no noise.
    noiseless = run(ideal(), pubs, exact=True)
    deviations = (flat(ours) - flat(noiseless))[single] / flat(ours, "stds")[single]
    assert np.mean(deviations**2) > 3


@pytest.mark.parametrize("method", ["automatic", "trajectory_tree"])
def test_shot_by_shot_and_evolved_are_one_distribution(method: str) -> None:
    pubs = isa_pubs(fake(), [*ansatz((6,)), *ising()], precision=0.02)
    exact = flat(run(manila(), pubs, exact=True))
    forced = NoisyEstimator(fake(), method=method)
    sampled = run(forced, pubs)
    stds = flat(sampled, "stds")
    assert_normal((flat(sampled) - exact)[stds > 0] / stds[stds > 0])
    assert flat(run(forced, pubs)).tolist() == flat(sampled).tolist()
    assert flat(run(forced, pubs, seed=2)).tolist() != flat(sampled).tolist()


@pytest.mark.parametrize("shot_by_shot", [False, True])
def test_terms_of_one_basis_share_their_shots(
    shot_by_shot: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shot_by_shot:
        monkeypatch.setattr(methods, "MAX_PURE_QUBITS", 0)
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    for seed in range(5):
        evs = run(ideal(), [(bell, ["ZI", "IZ", "ZZ"])], seed=seed)[0].data.evs
        assert evs[0] == evs[1]
        assert evs[2] == 1


@pytest.mark.parametrize("shot_by_shot", [False, True])
@pytest.mark.parametrize(
    ("observables", "sets"),
    [((2, 1), (3,)), ((3,), (3,)), ((3,), ()), ((), (2, 2)), ((2,), (2, 1))],
)
def test_broadcasting(
    observables: tuple[int, ...],
    sets: tuple[int, ...],
    shot_by_shot: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if shot_by_shot:
        monkeypatch.setattr(methods, "MAX_PURE_QUBITS", 0)
    first, second = Parameter("b"), Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.rx(first, 0)
    circuit.ry(second, 1)
    circuit.cx(0, 1)
    rng = np.random.default_rng(3)
    labels = rng.choice(["ZZ", "XY", "YI", "ZX"], observables).tolist()
    values = {(first, second): rng.uniform(-3, 3, (*sets, 2))}
    pub = EstimatorPub.coerce((circuit, labels, values))
    expected = StatevectorEstimator().run([pub]).result()[0].data.evs
    data = run(ideal(), [pub], precision=0.02)[0].data
    assert data.evs.shape == np.broadcast_shapes(observables, sets)
    assert np.all(np.abs(data.evs - expected) < 5 * data.stds + 1e-9)


def test_circuits_without_parameters_and_terms_without_operators() -> None:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    pub = EstimatorPub.coerce((circuit, ["III", "IIZ", "ZII", {"IIX": 2.0, "III": -1.0}]))
    data = run(ideal(), [pub])[0].data
    assert data.evs[[0, 2, 3]].tolist() == [1, 1, 1]
    assert data.stds[[0, 2, 3]].tolist() == [0, 0, 0]
    assert 0 < abs(data.evs[1]) < 0.1
    empty = EstimatorPub.coerce((QuantumCircuit(2), "II"))
    assert run(ideal(), [empty])[0].data.evs == 1


def test_idle_qubits_are_read_out_with_their_noise() -> None:
    backend = fake("FakeManilaV2")
    pub = EstimatorPub.coerce((QuantumCircuit(5), ["ZIIII", "IIIIZ"]))
    evs = run(manila(), [pub], exact=True)[0].data.evs
    for value, qubit in zip(evs, (4, 0), strict=True):
        model = AerSimulator.from_backend(backend).options.noise_model.to_dict()
        (read,) = (
            error["probabilities"]
            for error in model["errors"]
            if error["type"] == "roerror" and error["gate_qubits"] == [(qubit,)]
        )
        assert value == pytest.approx(read[0][0] - read[0][1])


def test_projectors() -> None:
    circuit = QuantumCircuit(2)
    circuit.ry(0.8, 0)
    circuit.cx(0, 1)
    observables = ["01", "1I", "+Z", "rl", "0-"]
    exact = run(ideal(), [(circuit, observables)], exact=True)[0].data.evs
    one = Statevector(circuit)
    qubit = {"0": [1, 0], "1": [0, 1], "+": [1, 1], "-": [1, -1], "r": [1, 1j], "l": [1, -1j]}
    for value, label in zip(exact, observables, strict=True):
        factors = [
            np.outer(qubit[letter], np.conj(qubit[letter])) / np.linalg.norm(qubit[letter]) ** 2
            if letter in qubit
            else {"I": np.eye(2), "Z": np.diag([1, -1])}[letter]
            for letter in label
        ]
        operator = np.kron(*factors)
        assert value == pytest.approx((one.data.conj() @ operator @ one.data).real)


def test_the_seed_decides_and_memory_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pubs = isa_pubs(fake(), [*ansatz((7,)), *ansatz((7,))], precision=0.1)
    first = run(manila(), pubs, seed=4)
    # Equal PUBs have streams of their own.
    assert (first[0].data.evs != first[1].data.evs).any()
    assert (flat(run(manila(), pubs, seed=5)) != flat(first)).any()
    for sets in (1, 3):
        monkeypatch.setattr(states, "_CHUNK_SETS", sets)
        assert flat(run(manila(), pubs, seed=4)).tolist() == flat(first).tolist()


def test_each_parameter_set_is_evolved_once_and_all_in_one_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulated: list[int] = []
    run_as_before = AerSimulator.run

    def spy(self: AerSimulator, circuits: Any, **options: Any) -> Any:
        job = run_as_before(self, circuits, **options)
        simulated.append(len(job.result().results))
        return job

    monkeypatch.setattr(AerSimulator, "run", spy)
    run(ideal(), ansatz((4, 5)))
    assert simulated == [20]


def test_noise_of_delays() -> None:
    backend = fake()
    circuit = QuantumCircuit(5)
    circuit.x(1)
    circuit.delay(40, 1, unit="us")
    pub = EstimatorPub.coerce((circuit, "IIIZI", None, 0.01))
    (data,) = (one.data for one in run(manila(), [pub]))
    theirs = reference(AerSimulator.from_backend(backend), [pub], 0.01)[0].data
    assert abs(data.evs - theirs.evs) < 5 * math.hypot(data.stds, theirs.stds)
    assert data.evs > -0.8


def test_values_of_delays_may_be_parameters() -> None:
    length = Parameter("length")
    circuit = QuantumCircuit(5)
    circuit.x(1)
    circuit.delay(length, 1, unit="us")
    # Nothing else acts on this qubit.
    circuit.delay(length, 3, unit="us")
    pub = EstimatorPub.coerce((circuit, "IIIZI", [[1.0], [40.0]], 0.01))
    bound = [pub.parameter_values.bind(circuit, (k,)) for k in range(2)]
    expected = run(manila(), [(one, "IIIZI") for one in bound], exact=True)
    data = run(manila(), [pub])[0].data
    assert np.all(np.abs(data.evs - flat(expected)) < 5 * data.stds)


def test_wide_noisy_circuits_are_measured_shot_by_shot() -> None:
    backend = fake("FakeSherbrooke")
    cat = QuantumCircuit(14)
    cat.h(0)
    for qubit in range(13):
        cat.cx(qubit, qubit + 1)
    pub = isa_pubs(backend, [(cat, ["I" * 9 + "ZIIIZ", "I" * 13 + "Z"])], precision=0.1)[0]
    estimator = NoisyEstimator(backend)
    data = run(estimator, [pub])[0].data
    # Noise takes away some of the correlation, and adds little magnetisation.
    assert 0.3 < data.evs[0] < 1
    assert abs(data.evs[1]) < 0.5
    assert run(estimator, [pub])[0].data.evs.tolist() == data.evs.tolist()
    with pytest.raises(SimulationError, match="at most 11 qubits"):
        run(estimator, [pub], exact=True)


def test_resets_are_part_of_the_evolution_with_noise() -> None:
    circuit = QuantumCircuit(5)
    circuit.sx(0)
    circuit.reset(0)
    pub = EstimatorPub.coerce((circuit, "IIIIZ", None, 0.02))
    exact = run(manila(), [pub], exact=True)[0].data.evs
    theirs = reference(AerSimulator.from_backend(fake()), [pub], 0.02)[0].data
    assert abs(exact - theirs.evs) < 5 * theirs.stds
    assert exact > 0.8
    noiseless = run(ideal(), [pub])[0].data
    assert noiseless.evs == 1


def dynamic() -> QuantumCircuit:
    circuit = QuantumCircuit(3, 2)
    circuit.h(0)
    circuit.measure(0, 1)
    with circuit.if_test((circuit.clbits[1], 1)):
        circuit.x(2)
    return circuit


def test_dynamic_circuits_are_measured_shot_by_shot() -> None:
    pub = EstimatorPub.coerce((dynamic(), ["ZIZ", "ZII", "IIX"]))
    data = run(ideal(), [pub])[0].data
    assert data.evs[0] == 1
    assert np.all(np.abs(data.evs[1:]) < 0.1)


@pytest.mark.parametrize(
    ("estimator", "circuit"),
    [
        (ideal(), dynamic()),
        (
            ideal(25, "statevector"),
            efficient_su2(25, reps=0).assign_parameters([1] * 50),
        ),
        (ideal(2, "stabilizer"), QuantumCircuit(2)),
    ],
    ids=["dynamic", "wide", "stabilizer"],
)
def test_pubs_without_exact_values_are_refused_in_one_line(
    estimator: NoisyEstimator, circuit: QuantumCircuit
) -> None:
    circuit.name = "mine"
    with pytest.raises(SimulationError, match=r"'mine'.*exact") as caught:
        run(estimator, [(circuit, "Z" * circuit.num_qubits)], exact=True)
    assert "\n" not in str(caught.value)


def test_wide_circuits_that_a_simulator_can_do() -> None:
    wide = QuantumCircuit(40)
    wide.h(0)
    for qubit in range(39):
        wide.cx(qubit, qubit + 1)
    data = run(ideal(40, "stabilizer"), [(wide, ["X" * 40, "Z" * 40, "I" * 40])])[0].data
    assert data.evs.tolist() == [1, 1, 1]


def test_a_simulator_keeps_its_method_and_its_noise() -> None:
    circuit = QuantumCircuit(2)
    circuit.h(1)
    circuit.t(1)
    with pytest.raises(SimulationError, match="the simulation failed"):
        run(ideal(2, "stabilizer"), [(circuit, "XI")])
    model = NoiseModel(basis_gates=["x"])
    model.add_quantum_error(depolarizing_error(1.0, 1), "x", [1])
    flipped = QuantumCircuit(2)
    flipped.x(1)
    data = run(NoisyEstimator(AerSimulator(noise_model=model)), [(flipped, ["ZI", "IZ"])])[0].data
    assert abs(data.evs[0]) < 0.1
    assert data.evs[1] == 1
