from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Parameter
from qiskit.primitives import DataBin
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator

from qexp.core.model import PlannedPub
from qexp.core.spec import Limit
from qexp.errors import PlanError
from qexp.planning.checks import Hardware, check_pub, instructions, tally

PHI = Parameter("phi")


def sampler(circuit: QuantumCircuit, values: Any = None) -> PlannedPub:
    pub = SamplerPub.coerce((circuit, values, 100))
    return PlannedPub("main", 4, pub, pub)


def estimator(circuit: QuantumCircuit, observables: Any, precision: float = 0.1) -> PlannedPub:
    pub = EstimatorPub.coerce((circuit, observables, None, precision))
    return PlannedPub("main", 4, pub, pub)


def measured(name: str = "meas", size: int = 1) -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(5, "q"), ClassicalRegister(size, name), name="c")
    circuit.sx(0)
    circuit.cx(0, 1)
    if size:
        circuit.measure(0, 0)
    return circuit


def none(_pub: Any) -> None:
    """No objection."""


def check(
    pub: PlannedPub, hardware: Hardware, limits: dict[str, Limit], objection: Any = none
) -> None:
    check_pub(pub, tally(pub.isa.circuit), hardware, limits, objection)


def refusal(pub: PlannedPub, hardware: Hardware, limits: dict[str, Limit] | None = None) -> str:
    with pytest.raises(PlanError) as caught:
        check(pub, hardware, limits or {}, none)
    return as_refused(caught.value, pub)


def as_refused(error: PlanError, pub: PlannedPub) -> str:
    message = str(error)
    assert message.startswith(f"PUB 4 of workload 'main': circuit '{pub.logical.circuit.name}': ")
    assert "\n" not in message
    return message


@pytest.fixture(scope="module")
def hardware(manila: BackendV2) -> Hardware:
    return Hardware.of(manila)


def test_a_good_pub_passes(hardware: Hardware, service_limits: dict[str, Limit]) -> None:
    check(sampler(measured()), hardware, service_limits, none)
    bare = QuantumCircuit(5)
    bare.sx(2)
    check(estimator(bare, ["ZIIII", "IXIII"]), hardware, service_limits, none)


def test_a_dynamic_circuit_passes(hardware: Hardware) -> None:
    circuit = measured(size=2)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    check(sampler(circuit), hardware, {}, none)


def test_an_instruction_outside_the_isa_is_named(hardware: Hardware) -> None:
    circuit = measured()
    circuit.h(3)
    message = refusal(sampler(circuit), hardware)
    assert "instruction 'h' on qubits [3]" in message
    assert "fake_manila" in message


def test_a_gate_between_qubits_that_are_not_coupled_is_named(hardware: Hardware) -> None:
    circuit = measured()
    circuit.cx(0, 4)
    assert "instruction 'cx' on qubits [0, 4]" in refusal(sampler(circuit), hardware)


def test_blocks_of_control_flow_are_looked_into(hardware: Hardware) -> None:
    circuit = measured()
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.h(2)
    assert "instruction 'h' on qubits [2]" in refusal(sampler(circuit), hardware)


def test_a_condition_with_a_number_that_qpy_cannot_hold_is_refused(hardware: Hardware) -> None:
    def compared_with(number: int) -> QuantumCircuit:
        circuit = QuantumCircuit(QuantumRegister(5, "q"), ClassicalRegister(101, "wide"))
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)), circuit.if_test((circuit.cregs[0], number)):
            circuit.x(1)
        return circuit

    check(sampler(compared_with(2**63 - 1)), hardware, {})
    message = refusal(sampler(compared_with(2**63)), hardware)
    assert f"compares register 'wide' with {2**63}" in message
    assert f"write expr.equal(wide, {2**63})" in message


@pytest.mark.parametrize("name", ["not-a-name", "1st", "class", "a b"])
def test_a_register_that_is_no_identifier_is_refused(hardware: Hardware, name: str) -> None:
    assert f"classical register '{name}'" in refusal(sampler(measured(name)), hardware)


@pytest.mark.parametrize(
    "name", sorted({"self", "keys", "__init__", "__class__", *DataBin._RESTRICTED_NAMES})
)
def test_a_register_that_hides_an_attribute_of_the_result_is_refused(
    hardware: Hardware, name: str
) -> None:
    assert "attribute of Qiskit's DataBin" in refusal(sampler(measured(name)), hardware)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(hardware: Hardware, number: float) -> None:
    circuit = QuantumCircuit(5, 1)
    circuit.rz(Parameter("phi"), 2)
    circuit.measure(0, 0)
    values = [[0.1], [number]]
    assert f"parameter 'phi' is {number} in set 1" in refusal(sampler(circuit, values), hardware)
    bound = QuantumCircuit(5, 1)
    bound.rz(number, 2)
    bound.measure(0, 0)
    assert f"rz on qubits [2] has the angle {number}" in refusal(sampler(bound), hardware)
    phased = measured()
    phased.global_phase = number
    assert "its global phase is nan" in refusal(sampler(phased), hardware)
    delayed = measured()
    delayed.delay(abs(number), 3, "s")
    assert "delay on qubits [3] has the duration" in refusal(sampler(delayed), hardware)
    if not math.isnan(number):
        # Qiskit takes NaN for a complex number.
        found = refusal(estimator(QuantumCircuit(5), {"ZIIII": number}), hardware)
        assert f"the coefficient {number} for ZIIII" in found
    assert "precision" in refusal(estimator(QuantumCircuit(5), "ZIIII", abs(number)), hardware)


@pytest.mark.parametrize(
    "angle", [1 / PHI, PHI.log(), (PHI - 1) ** 0.5, (PHI + 2).arcsin(), PHI**-1, 1j * PHI + 1]
)
def test_expressions_without_a_value_are_refused(hardware: Hardware, angle: Any) -> None:
    circuit = QuantumCircuit(5, 1)
    circuit.rz(angle, 2)
    circuit.measure(0, 0)
    found = refusal(sampler(circuit, [[1.0], [0.0]]), hardware)
    assert "is no finite real number in set" in found


def test_a_circuit_without_qubits_is_refused(hardware: Hardware) -> None:
    pub = EstimatorPub.coerce((QuantumCircuit(0), "", None, 0.1))
    planned = PlannedPub("main", 4, pub, pub)
    assert "it has no qubits; add one" in refusal(planned, hardware)


def test_an_empty_register_is_refused(hardware: Hardware) -> None:
    assert "has no bits" in refusal(sampler(measured(size=0)), hardware)


def test_a_sampler_circuit_that_measures_nothing_is_refused(hardware: Hardware) -> None:
    assert "measures no bit" in refusal(sampler(QuantumCircuit(5, name="c")), hardware)
    loose = QuantumCircuit(5, name="c")
    loose.add_bits([Clbit()])
    loose.measure(0, 0)
    assert "measures no bit" in refusal(sampler(loose), hardware)


def test_an_estimator_circuit_that_ends_in_a_measurement_is_refused(hardware: Hardware) -> None:
    message = refusal(estimator(measured(), "ZIIII"), hardware)
    assert "ends in a measurement" in message
    reset = measured()
    reset.reset(0)
    check(estimator(reset, "ZIIII"), hardware, {}, none)


@pytest.mark.parametrize("precision", [0.0, 1e-200, math.nan])
def test_a_precision_that_no_job_can_reach_is_refused(hardware: Hardware, precision: float) -> None:
    message = refusal(estimator(QuantumCircuit(5, name="c"), "ZIIII", precision), hardware)
    assert f"precision {precision} is below 1e-09" in message


def test_an_empty_array_of_observables_is_refused(hardware: Hardware) -> None:
    circuit = QuantumCircuit(5, name="c")
    none = ObservablesArray.coerce(["ZIIII"])[:0]
    assert "observables is empty" in refusal(estimator(circuit, none), hardware)


def test_an_empty_array_of_parameter_values_is_refused(hardware: Hardware) -> None:
    circuit = measured()
    circuit.rz(Parameter("a"), 1)
    assert "parameter values is empty" in refusal(sampler(circuit, np.zeros((0, 1))), hardware)


def test_faulty_qubits_and_edges_are_refused(manila: BackendV2) -> None:
    class Broken:
        name = "broken"
        target = manila.target

        def properties(self) -> Any:
            edge = SimpleNamespace(qubits=[1, 2])
            single = SimpleNamespace(qubits=[4])
            return SimpleNamespace(faulty_qubits=lambda: [3], faulty_gates=lambda: [edge, single])

    hardware = Hardware.of(Broken())
    assert hardware.faulty_edges == {(1, 2)}
    check(sampler(measured()), hardware, {}, none)
    on_qubit = measured()
    on_qubit.x(3)
    assert "uses qubits [3]" in refusal(sampler(on_qubit), hardware)
    on_edge = measured()
    on_edge.cx(1, 2)
    assert "uses qubits [1, 2]" in refusal(sampler(on_edge), hardware)


def rzz(angle: Any) -> QuantumCircuit:
    circuit = measured()
    circuit.data = [one for one in circuit.data if one.operation.name == "measure"]
    circuit.rzz(angle, 0, 1)
    return circuit


def test_angles_of_rzz_are_checked(fractional: BackendV2) -> None:
    hardware = Hardware.of(fractional)
    check(sampler(rzz(np.pi / 2)), hardware, {}, none)
    assert "has the angle 2" in refusal(sampler(rzz(2.0)), hardware)
    assert "has the angle -0.1" in refusal(sampler(rzz(-0.1)), hardware)


def test_parameter_values_of_rzz_are_checked(fractional: BackendV2) -> None:
    hardware = Hardware.of(fractional)
    a, b = Parameter("a"), Parameter("b")
    values = np.array([[0.1, 0.2], [0.4, 1.3]])
    check(sampler(rzz(a), values[:, :1]), hardware, {}, none)
    assert "has the angle 1.7" in refusal(sampler(rzz(a + b), values), hardware)
    assert "has the angle -1.2" in refusal(sampler(rzz(a - 4 * b + 3.6), values), hardware)


def test_a_simulator_takes_any_angle() -> None:
    check(sampler(rzz(2.0)), Hardware.of(AerSimulator()), {}, none)


@pytest.mark.parametrize(
    ("limit", "what"),
    [
        ("circuit_rz_gates", "2 rz gates"),
        ("circuit_sx_gates", "3 sx gates"),
        ("circuit_two_qubit_gates", "2 two-qubit gates"),
    ],
)
def test_too_many_gates_are_refused(hardware: Hardware, limit: str, what: str) -> None:
    circuit = measured()
    circuit.rz(0.1, 0)
    circuit.rz(0.1, 1)
    circuit.sx(0)
    circuit.sx(1)
    circuit.cx(1, 2)
    enough = {limit: Limit(3, "somewhere", "2026-01-01")}
    check(sampler(circuit), hardware, enough, none)
    tight = {limit: Limit(1, "somewhere", "2026-01-01")}
    message = refusal(sampler(circuit), hardware, tight)
    assert f"it has {what}, more than the 1 that limits.{limit} allows" in message


def test_a_pub_that_the_engine_objects_to_is_refused(hardware: Hardware) -> None:
    pub = sampler(measured())
    with pytest.raises(PlanError) as caught:
        check(pub, hardware, {}, lambda isa: f"it has {isa.circuit.num_qubits} qubits")
    assert as_refused(caught.value, pub).endswith("it has 5 qubits")


def test_instructions_in_control_flow_have_the_outer_qubits() -> None:
    circuit = QuantumCircuit(3, 1)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.cx(2, 1)
    pairs = [(instruction.name, qubits) for instruction, qubits in instructions(circuit)]
    assert pairs[0][0] == "if_else"
    assert pairs[1:] == [("cx", (2, 1))]


def test_a_tally_counts_each_instruction_on_each_of_its_qubits() -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.sx(0)
    circuit.sx(0)
    circuit.cx(1, 0)
    circuit.cx(0, 1)
    with circuit.if_test((0, 1)):
        circuit.sx(0)
    assert tally(circuit) == {
        ("sx", (0,)): 3,
        ("cx", (1, 0)): 1,
        ("cx", (0, 1)): 1,
        ("if_else", (0,)): 1,
    }
