from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qasm3
from qiskit.circuit import Clbit, Parameter
from qiskit.circuit.random import random_circuit
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator

from qexp.core.model import PlannedPub
from qexp.core.spec import TranspileSpec, WorkloadSpec
from qexp.errors import PlanError
from qexp.planning.transpile import PassManagers, build_pass_manager, transpile_pub
from tests.unit.planning.conftest import workload

SAMPLER = workload(lambda _: [])
ESTIMATOR = workload(lambda _: [], kind="estimator")


def planned(pub_like: Any, spec: WorkloadSpec, backend: BackendV2, *, seed: int = 7) -> PlannedPub:
    return transpile_pub(pub_like, 3, PassManagers(spec, seed, backend))


def ghz(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits, name="ghz")
    circuit.h(0)
    for target in range(1, num_qubits):
        circuit.cx(0, target)
    circuit.measure_all()
    return circuit


def test_a_circuit_becomes_a_sampler_pub_with_the_workloads_shots(manila: BackendV2) -> None:
    pub = planned(ghz(3), SAMPLER, manila)
    assert (pub.workload, pub.index) == ("main", 3)
    assert isinstance(pub.logical, SamplerPub)
    assert (pub.logical.shots, pub.isa.shots) == (100, 100)
    assert pub.logical.circuit == ghz(3)
    assert pub.isa.circuit.num_qubits == manila.num_qubits
    assert pub.isa.circuit.name == "ghz"


def test_the_generators_own_shots_and_precision_win(manila: BackendV2) -> None:
    assert planned((ghz(2), None, 7), SAMPLER, manila).isa.shots == 7
    bare = QuantumCircuit(1)
    assert planned((bare, "Z", None, 0.25), ESTIMATOR, manila).isa.precision == 0.25
    assert planned((bare, "Z"), ESTIMATOR, manila).isa.precision == 0.1


def test_parameter_values_keep_their_names_and_shape(manila: BackendV2) -> None:
    a, b = Parameter("b"), Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.rx(a, 0)
    circuit.ry(b, 1)
    circuit.cx(0, 1)
    circuit.measure_all()
    values = {(a,): np.linspace(0, 1, 6).reshape(3, 2, 1), b: np.linspace(2, 3, 6).reshape(3, 2)}
    pub = planned((circuit, values), SAMPLER, manila)
    assert pub.isa.shape == (3, 2)
    loc = (2, 1)
    logical = pub.logical.parameter_values.bind(pub.logical.circuit, loc)
    isa = pub.isa.parameter_values.bind(pub.isa.circuit, loc)
    job = StatevectorSampler(seed=1).run([logical, isa], shots=4000)
    one, other = (result.data.meas.get_counts() for result in job.result())
    assert one.keys() == other.keys()
    assert all(abs(one[key] - other[key]) < 300 for key in one)


class WithoutIdleRotations:
    """A pass manager that optimises every `rz` away, as a plugin may."""

    def run(self, circuit: QuantumCircuit) -> QuantumCircuit:
        kept = circuit.copy_empty_like()
        for instruction in circuit.data:
            if instruction.operation.name != "rz":
                kept.append(instruction)
        return kept


def test_a_parameter_without_effect_is_dropped_and_the_shape_stays(manila: BackendV2) -> None:
    used, idle = Parameter("used"), Parameter("idle")
    circuit = QuantumCircuit(1)
    circuit.rz(idle, 0)
    circuit.rx(used, 0)
    circuit.measure_all()
    values = np.arange(12.0).reshape(3, 2, 2)
    passes: Any = {None: WithoutIdleRotations()}
    managers = PassManagers(SAMPLER, 7, manila, passes)
    pub = transpile_pub((circuit, {("used", "idle"): values}), 0, managers)
    assert (pub.logical.shape, pub.isa.shape) == ((3, 2), (3, 2))
    np.testing.assert_array_equal(pub.isa.parameter_values.as_array(["used"]), values[..., :1])

    bare = QuantumCircuit(1)
    bare.rz(idle, 0)
    bare.measure_all()
    pub = transpile_pub((bare, np.zeros((4, 1))), 0, managers)
    assert (pub.isa.shape, pub.isa.parameter_values.num_parameters) == ((4,), 0)


def test_observables_are_laid_out_as_the_circuit(manila: BackendV2) -> None:
    circuit = random_circuit(4, 4, seed=5)
    circuit.name = "random"
    observables = ["ZIIX", "IYII", "ZZZZ"]
    pub = planned((circuit, observables), ESTIMATOR, manila)
    assert isinstance(pub.isa, EstimatorPub)
    assert pub.isa.observables.num_qubits == manila.num_qubits
    job = StatevectorEstimator().run(
        [
            (pub.logical.circuit, pub.logical.observables),
            (pub.isa.circuit, pub.isa.observables),
        ],
        precision=0.0,
    )
    one, other = (result.data.evs for result in job.result())
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_a_backend_without_couplings_needs_no_layout() -> None:
    pub = planned((QuantumCircuit(2), ["ZX"]), ESTIMATOR, AerSimulator())
    assert pub.isa.observables.num_qubits == pub.isa.circuit.num_qubits


def test_the_seed_decides_the_isa_circuit(manila: BackendV2) -> None:
    circuit = random_circuit(5, 6, max_operands=2, seed=3, measure=True)
    first, second = (planned(circuit, SAMPLER, manila).isa.circuit for _ in range(2))
    assert first == second


def test_transpilation_has_the_declared_seed_or_one_of_its_own(
    manila: BackendV2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "qiskit.transpiler.generate_preset_pass_manager", lambda **arguments: arguments
    )

    def seed_of(spec: WorkloadSpec, seed: int) -> Any:
        arguments: Any = build_pass_manager(spec, seed, manila)
        return arguments["seed_transpiler"]

    assert seed_of(workload(lambda _: [], transpile=TranspileSpec(seed=11)), 7) == 11
    assert seed_of(SAMPLER, 7) == seed_of(SAMPLER, 7)
    other = workload(lambda _: [], name="other")
    assert len({seed_of(SAMPLER, 7), seed_of(SAMPLER, 8), seed_of(other, 7)}) == 3


def test_every_field_of_the_spec_reaches_qiskit(
    manila: BackendV2, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        "qiskit.transpiler.generate_preset_pass_manager", lambda **given: seen.update(given)
    )
    spec = TranspileSpec(3, "dense", "sabre", "translator", "alap", 0.9, (2, 1, 0), 5)
    build_pass_manager(workload(lambda _: [], transpile=spec), 7, manila)
    assert seen == {
        "optimization_level": 3,
        "backend": manila,
        "initial_layout": (2, 1, 0),
        "layout_method": "dense",
        "routing_method": "sabre",
        "translation_method": "translator",
        "scheduling_method": "alap",
        "approximation_degree": 0.9,
        "seed_transpiler": 5,
    }


def test_the_initial_layout_is_kept(manila: BackendV2) -> None:
    spec = workload(lambda _: [], transpile=TranspileSpec(initial_layout=(4, 3)))
    circuit = planned(ghz(2), spec, manila).isa.circuit
    assert circuit.layout.initial_index_layout(filter_ancillas=True) == [4, 3]


PINNED = """OPENQASM 3.0;
include "stdgates.inc";
bit[2] c;
x $3;
cx $3, $4;
swap $3, $4;
c[0] = measure $3;
c[1] = measure $4;
"""


def measured_on(circuit: QuantumCircuit) -> list[int]:
    return [
        circuit.find_bit(item.qubits[0]).index for item in circuit.data if item.name == "measure"
    ]


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_hardware_qubits_of_openqasm_3_stay_where_they_are(manila: BackendV2, level: int) -> None:
    spec = workload(lambda _: [], transpile=TranspileSpec(optimization_level=level))
    circuit = planned(qasm3.loads(PINNED), spec, manila).isa.circuit
    assert measured_on(circuit) == [3, 4]
    assert {circuit.find_bit(q).index for item in circuit.data for q in item.qubits} == {3, 4}
    # So they do in the archive's own text of it.
    again = qasm3.loads(qasm3.dumps(circuit))
    assert measured_on(planned(again, spec, manila).isa.circuit) == [3, 4]


def test_hardware_qubits_that_are_not_coupled_are_refused(manila: BackendV2) -> None:
    program = PINNED.replace("cx $3, $4", "cx $0, $4")
    message = refused(qasm3.loads(program), SAMPLER, manila)
    assert "set transpile.layout_method to move it to other qubits" in message
    spec = workload(lambda _: [], transpile=TranspileSpec(layout_method="sabre"))
    assert planned(qasm3.loads(program), spec, manila).isa.circuit.num_qubits == 5


def test_bits_without_a_register_get_one(manila: BackendV2) -> None:
    circuit = QuantumCircuit(QuantumRegister(3), ClassicalRegister(1, "bits"), [Clbit(), Clbit()])
    circuit.x(0)
    circuit.measure([0, 1, 2], [1, 0, 2])
    pub = planned(circuit, SAMPLER, manila)
    for form in (pub.logical.circuit, pub.isa.circuit):
        assert {register.name: register.size for register in form.cregs} == {"bits": 1, "bits_1": 2}
    counts = StatevectorSampler(seed=1).run([pub.isa]).result()[0].data.bits_1.get_counts()
    assert counts == {"01": 100}


def test_metadata_that_json_lacks_become_json(manila: BackendV2) -> None:
    circuit = ghz(2)
    circuit.metadata = {"count": np.int64(3), "grid": np.arange(2), (0, 1): 1j}
    pub = planned(circuit, SAMPLER, manila)
    expected = {"count": 3, "grid": [0, 1], "(0, 1)": {"real": 0.0, "imag": 1.0}}
    assert pub.logical.circuit.metadata == pub.isa.circuit.metadata == expected


class Panic(BaseException):
    """A panic in Rust code is no `Exception`."""


def test_a_panic_of_the_transpiler_is_refused(manila: BackendV2) -> None:
    class Panicking:
        def run(self, circuit: QuantumCircuit) -> QuantumCircuit:
            raise Panic("index out of bounds")

    passes: Any = {None: Panicking()}
    with pytest.raises(PlanError, match="failed: Panic: index out of bounds; change the circuit"):
        transpile_pub(ghz(2), 0, PassManagers(SAMPLER, 7, manila, passes))


def refused(pub_like: Any, spec: WorkloadSpec, backend: BackendV2) -> str:
    with pytest.raises(PlanError) as caught:
        planned(pub_like, spec, backend)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_circuit_wider_than_the_backend_is_refused(manila: BackendV2) -> None:
    message = refused(ghz(6), SAMPLER, manila)
    assert "PUB 3 of workload 'main': circuit 'ghz' has 6 qubits" in message
    assert "fake_manila has 5" in message


def test_a_value_that_is_no_pub_is_refused(manila: BackendV2) -> None:
    assert "did not yield a Sampler PUB" in refused(42, SAMPLER, manila)
    assert "did not yield an Estimator PUB" in refused(ghz(2), ESTIMATOR, manila)
    assert "several circuits at once" in refused([ghz(2), ghz(2)], SAMPLER, manila)
    assert "2-th" not in refused((QuantumCircuit(2), ["ZZZ"]), ESTIMATOR, manila)
    parametric = QuantumCircuit(1)
    parametric.rx(Parameter("a"), 0)
    assert "ComplexWarning" in refused((parametric, np.array([1j])), SAMPLER, manila)
    assert "number of values (0)" in refused(parametric, SAMPLER, manila)
    for pub_like, spec in ((ghz(2), ESTIMATOR), (parametric, SAMPLER), (ghz(2)[0], SAMPLER)):
        # Advice to those who call `run` themselves.
        message = refused(pub_like, spec, manila)
        assert "wrap" not in message
        assert "<class" not in message


def test_a_delay_that_needs_a_schedule_names_the_key_that_makes_one(manila: BackendV2) -> None:
    circuit = ghz(2)
    circuit.delay(10, 0, unit="us")
    circuit.cx(0, 1)
    circuit.measure_all(add_bits=False)
    message = refused(circuit, SAMPLER, manila)
    assert message.endswith("set transpile.scheduling_method=alap (or asap)")
    for method in ("alap", "asap"):
        spec = workload(lambda _: [], transpile=TranspileSpec(scheduling_method=method))
        assert "delay" in planned(circuit, spec, manila).isa.circuit.count_ops()


def test_a_failing_transpilation_names_the_circuit(manila: BackendV2) -> None:
    from qiskit.circuit import Gate

    circuit = QuantumCircuit(1, name="odd")
    circuit.append(Gate("opaque", 1, []), [0])
    circuit.measure_all()
    message = refused(circuit, SAMPLER, manila)
    assert "transpiling circuit 'odd' for backend fake_manila failed" in message
    assert "opaque" in message


def test_an_unknown_pass_is_refused(manila: BackendV2) -> None:
    spec = workload(lambda _: [], transpile=TranspileSpec(layout_method="nonsense"))
    message = refused(ghz(2), spec, manila)
    assert "transpile of workload 'main'" in message
    assert "nonsense" in message


@pytest.mark.parametrize(
    ("pub_like", "spec", "message"),
    [
        (ghz(2), ESTIMATOR, "it is for primitive=sampler"),
        ((ghz(2), "ZZ"), SAMPLER, "it is for primitive=estimator"),
        ((ghz(2), [["ZZ"], ["XX"]], [], 0.1), SAMPLER, "it is for primitive=estimator"),
    ],
)
def test_circuits_for_the_other_primitive_are_named_as_such(
    manila: BackendV2, pub_like: Any, spec: WorkloadSpec, message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        planned(pub_like, spec, manila)
