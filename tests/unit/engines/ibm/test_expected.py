from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp

from qexp.core.model import Implementation, JobRequest, PrimitiveKind, PrimitiveSpec
from qexp.engines.ibm.batch import IBMBatch
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.expected import expected_form, find_mismatch
from qexp.errors import ArchiveError, UndeliveredError
from tests.emulator import IBMEmulator
from tests.unit.engines.jobs import request

SHOTS = 50
TWIRLING = {"twirling": {"enable_gates": True, "enable_measure": True}}
ANGLES = [[0.1], [0.2], [0.3]]


def circuit(*registers: ClassicalRegister, measured: int = 2) -> QuantumCircuit:
    """One with a parameter, whose first bits are measured in turn."""
    made = QuantumCircuit(QuantumRegister(5), *registers)
    made.rz(Parameter("angle"), 0)
    for qubit, clbit in enumerate(made.clbits[:measured]):
        made.measure(qubit, clbit)
    return made


def sampler_pub(*registers: ClassicalRegister, values: Any = ANGLES, measured: int = 2) -> Any:
    registers = registers or (ClassicalRegister(2, "meas"),)
    return SamplerPub.coerce((circuit(*registers, measured=measured), values), SHOTS)


def estimator_pub(observables: int = 2, values: Any = ANGLES) -> Any:
    wanted = [[SparsePauliOp(name)] for name in ("IIIIZ", "IIIZI", "IIIZZ")[:observables]]
    return EstimatorPub.coerce((circuit(), wanted, np.reshape(values, (len(values), 1)), 0.2))


def bits(shape: tuple[int, ...] = (3,), num_bits: int = 2, shots: int = SHOTS) -> BitArray:
    return BitArray.from_bool_array(np.zeros((*shape, shots, num_bits), dtype=bool))


def mismatch(
    pub: Any, options: Mapping[str, Any] | None = None, shape: Any = None, **fields: Any
) -> str | None:
    """What is wrong with a result of one PUB that has these fields."""
    kind: PrimitiveKind = "estimator" if hasattr(pub, "observables") else "sampler"
    data = DataBin(**fields, shape=pub.shape if shape is None else shape)
    job = request(PrimitiveSpec(kind), [pub])
    result = PrimitiveResult([PubResult(data)])
    return find_mismatch(result, expected_form([pub]), job, options or {})


TWO = (ClassicalRegister(2, "a"), ClassicalRegister(1, "b"))


@pytest.mark.parametrize(
    ("pub", "fields"),
    [
        (sampler_pub(), {"meas": bits()}),
        (sampler_pub(), {"meas": bits(shots=SHOTS + 1)}),
        (sampler_pub(values=[0.1]), {"meas": bits(())}),
        (sampler_pub(values=[ANGLES, ANGLES]), {"meas": bits((2, 3))}),
        (sampler_pub(*TWO, measured=3), {"a": bits(), "b": bits(num_bits=1)}),
        (sampler_pub(*TWO), {"a": bits(), "b": bits(num_bits=1)}),
        (sampler_pub(*TWO), {"a": bits()}),
        (sampler_pub(values=np.zeros((0, 1))), {"meas": bits((0,))}),
        (SamplerPub.coerce(QuantumCircuit(1), SHOTS), {}),
        (estimator_pub(), {"evs": np.zeros((2, 3)), "stds": np.zeros((2, 3))}),
        (
            estimator_pub(),
            {
                "evs": np.zeros((2, 3)),
                "stds": np.zeros((2, 3)),
                "ensemble_standard_error": np.zeros((2, 3)),
                "evs_noise_factors": np.zeros((2, 3, 4)),
                "evs_extrapolated": np.zeros((2, 3, 2, 4)),
            },
        ),
        (
            EstimatorPub.coerce((circuit(), SparsePauliOp("IIIIZ"), [0.1])),
            {"evs": 0.5, "stds": np.array(0.1)},
        ),
    ],
)
def test_a_right_result(pub: Any, fields: dict[str, Any]) -> None:
    assert mismatch(pub, **fields) is None
    assert mismatch(pub, shape=(), **fields) is None


@pytest.mark.parametrize(
    ("pub", "fields", "problem"),
    [
        (sampler_pub(), {"c": bits()}, "registers 'c' instead of 'meas' of PUB 0"),
        (sampler_pub(), {}, "registers none instead of 'meas' of PUB 0"),
        (sampler_pub(*TWO, measured=3), {"a": bits()}, "registers 'a' instead of 'a', 'b' of"),
        (sampler_pub(), {"meas": bits(), "c": bits()}, "registers 'meas', 'c' instead of 'meas'"),
        (sampler_pub(), {"meas": bits(num_bits=3)}, "3 bits instead of 2 in 'meas' of PUB 0"),
        (sampler_pub(), {"meas": bits((2,))}, "shape (2,) instead of (3,) in 'meas' of PUB 0"),
        (sampler_pub(), {"meas": bits((3, 1))}, "shape (3, 1) instead of (3,) in 'meas'"),
        (sampler_pub(), {"meas": bits(shots=49)}, "49 of 50 shots in 'meas' of PUB 0"),
        (sampler_pub(), {"meas": np.zeros((3, 50, 2))}, "ndarray instead of bits in 'meas'"),
        (estimator_pub(), {"meas": bits((2, 3))}, "'meas' instead of 'evs' of PUB 0"),
        (estimator_pub(), {}, "nothing instead of 'evs' of PUB 0"),
        (estimator_pub(), {"evs": np.zeros((2, 3))}, "'evs' instead of 'stds' of PUB 0"),
        (
            estimator_pub(),
            {"evs": np.zeros((2, 3)), "stds": np.zeros((3, 2))},
            "shape (3, 2) instead of (2, 3) in 'stds' of PUB 0",
        ),
        (
            estimator_pub(),
            {"evs": np.zeros((2, 1)), "stds": np.zeros((2, 1))},
            "shape (2, 1) instead of (2, 3) in 'evs' of PUB 0",
        ),
    ],
)
def test_a_foreign_result(pub: Any, fields: dict[str, Any], problem: str) -> None:
    found = mismatch(pub, shape=(), **fields)
    assert found is not None
    assert found.startswith(problem)


def test_the_shape_of_the_whole() -> None:
    assert mismatch(sampler_pub(), shape=(3, 50), meas=np.zeros((3, 50, 2))) == (
        "shape (3, 50) instead of (3,) of PUB 0"
    )


@pytest.mark.parametrize(
    ("meas_type", "shape"), [("kerneled", (3, 50, 2)), ("avg_kerneled", (3, 2))]
)
def test_kerneled_data_are_arrays(meas_type: str, shape: tuple[int, ...]) -> None:
    options = {"execution": {"meas_type": meas_type}}
    assert mismatch(sampler_pub(), options, meas=np.zeros(shape, dtype=complex)) is None
    foreign = mismatch(sampler_pub(), options, (), meas=np.zeros((2, 50, 2), dtype=complex))
    assert foreign == "shape (2,) instead of (3,) in 'meas' of PUB 0"


def test_twirling_makes_its_own_number_of_shots() -> None:
    assert mismatch(sampler_pub(), TWIRLING, meas=bits(shots=8)) is None


def test_a_measurement_in_control_flow_asks_for_no_register() -> None:
    """What cannot be told at a glance is never a reason to refuse a result."""
    branch = QuantumCircuit(QuantumRegister(1), *TWO)
    branch.measure(0, 0)
    with branch.if_test((TWO[0], 1)):
        branch.measure(0, 2)
    (form,) = expected_form([SamplerPub.coerce(branch, SHOTS)])
    assert (form.registers, form.idle) == ({"a": 2, "b": 1}, {"b"})


def pubs_of(kind: PrimitiveKind) -> list[Any]:
    if kind == "estimator":
        return [estimator_pub(), estimator_pub(observables=1)]
    return [sampler_pub(), sampler_pub(*TWO, values=[0.1], measured=3)]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("sampler", {}),
        ("sampler", TWIRLING),
        ("estimator", {}),
        ("estimator", TWIRLING),
        ("estimator", {"resilience": {"zne_mitigation": True}}),
    ],
    ids=["sampler", "sampler_twirled", "estimator", "estimator_twirled", "estimator_zne"],
)
@pytest.mark.parametrize("implementation", ["client", "legacy"])
def test_every_implementation_of_the_service(
    ibm_emulator: IBMEmulator,
    backend: Any,
    batch: IBMBatch,
    kind: PrimitiveKind,
    implementation: Implementation,
    options: dict[str, Any],
) -> None:
    spec = PrimitiveSpec(kind, implementation, options=options)
    pubs = pubs_of(kind)
    wanted = request(spec, pubs)
    job_id = batch.submit(wanted)
    ibm_emulator.wait_until_idle()
    batch.states()
    assert batch.collect(job_id).state == "DONE"

    def adopt(job: JobRequest) -> Any:
        other = IBMEngine().attach_batch(backend, batch.id)
        other.adopt(job_id, job)
        return other.collect(job_id)

    assert len(adopt(wanted).result) == len(pubs)
    with pytest.raises(UndeliveredError, match=r"shape \(.* instead of \(.* of PUB 0"):
        adopt(replace(wanted, load_pubs=lambda: pubs[::-1]))


def test_pubs_that_cannot_be_read_any_more_are_no_reason_to_lose_a_result(
    ibm_emulator: IBMEmulator, backend: Any, batch: IBMBatch
) -> None:
    def fail() -> Any:
        raise ArchiveError("part 0 is damaged")

    wanted = request(PrimitiveSpec("sampler"), pubs_of("sampler"))
    job_id = batch.submit(wanted)
    ibm_emulator.wait_until_idle()
    other = IBMEngine().attach_batch(backend, batch.id)
    other.adopt(job_id, replace(wanted, load_pubs=fail))
    assert other.collect(job_id).state == "DONE"
