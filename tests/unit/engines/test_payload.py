from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from qiskit import QuantumCircuit
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from qexp.core.model import PayloadBytes, PrimitiveSpec
from qexp.engines import payload
from qexp.engines.payload import MARGIN, Payloads
from qexp.errors import PlanError
from tests.unit.engines.jobs import qpy_of

if TYPE_CHECKING:
    from qexp.core.model import Pub

TWIRLED = PrimitiveSpec(
    "sampler", options={"twirling": {"enable_gates": True, "enable_measure": True}}
)
ESTIMATOR = PrimitiveSpec("estimator")


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of instructions of the PUBs that are prepared."""
    seen: list[int] = []

    def measure(primitive: PrimitiveSpec, pub: Pub, backend: Any, qpy: bytes) -> PayloadBytes:
        seen.append(len(pub.circuit.data))
        shared = 400 if primitive.kind == "estimator" else 0
        return PayloadBytes(1000 + shared, shared)

    monkeypatch.setattr(payload, "encoded_bytes", measure)
    return seen


def sampler_pub(depth: int, *, measured: int = 2, reset: bool = False) -> Pub:
    circuit = QuantumCircuit(2, 2)
    if reset:
        circuit.reset(0)
    for layer in range(depth):
        circuit.rz(0.1 * layer, 0)
        circuit.cx(0, 1)
    circuit.measure(range(measured), range(measured))
    return SamplerPub.coerce(circuit, 10)


def estimator_pub(*observables: str) -> Pub:
    circuit = QuantumCircuit(2)
    circuit.cx(0, 1)
    return EstimatorPub.coerce((circuit, list(observables)), 0.1)


def sizes(*pubs: Pub, primitive: PrimitiveSpec = TWIRLED, bound: float = math.inf) -> list[int]:
    found = payloads_of(*pubs, primitive=primitive, bound=bound)
    return [each.total for each in found]


def payloads_of(
    *pubs: Pub, primitive: PrimitiveSpec, bound: float = math.inf
) -> list[PayloadBytes]:
    payloads = Payloads()
    return [payloads.num_bytes(primitive, pub, FakeManilaV2(), qpy_of(pub), bound) for pub in pubs]


def test_one_pub_tells_the_size_of_others(prepared: list[int]) -> None:
    found = sizes(*map(sampler_pub, (50, 50, 55, 45)))
    assert prepared == [102]
    assert found[:2] == [1000, 1100]
    assert found[2] == pytest.approx(1000 * 113 / 103 * MARGIN, abs=1)
    assert found[3] == 1100


def test_the_size_of_a_much_larger_or_smaller_pub_is_measured(prepared: list[int]) -> None:
    found = sizes(*map(sampler_pub, (50, 100, 101, 20, 55)))
    assert prepared == [102, 202, 42]
    assert found[2] == pytest.approx(1000 * 205 / 203 * MARGIN, abs=1)


def test_a_pub_that_might_be_too_large_is_measured(prepared: list[int]) -> None:
    assert sizes(*map(sampler_pub, (50, 50, 50)), bound=1099) == [1000, 1000, 1000]
    assert prepared == [102, 102, 102]
    assert sizes(*map(sampler_pub, (50, 50)), bound=1100) == [1000, 1100]


def test_what_a_job_shares_is_no_part_of_an_estimate(prepared: list[int]) -> None:
    found = payloads_of(*[estimator_pub("ZZ")] * 2, primitive=ESTIMATOR)
    assert found == [PayloadBytes(1400, 400), PayloadBytes(1100 + 400, 400)]
    assert len(prepared) == 1


@pytest.mark.parametrize(
    "other",
    [
        sampler_pub(50, measured=1),
        sampler_pub(50, reset=True),
        SamplerPub.coerce(QuantumCircuit(3, 2), 10),
    ],
    ids=["fewer measurements", "reset", "more qubits"],
)
def test_a_pub_of_another_kind_is_prepared(prepared: list[int], other: Pub) -> None:
    sizes(sampler_pub(50), other)
    assert len(prepared) == 2


def test_other_options_and_observables_are_another_kind(prepared: list[int]) -> None:
    payloads, backend, one = Payloads(), FakeManilaV2(), estimator_pub("ZZ", "XX")
    for primitive in (ESTIMATOR, PrimitiveSpec("estimator", options={"resilience_level": 2})):
        payloads.num_bytes(primitive, one, backend, qpy_of(one), math.inf)
    assert len(prepared) == 2
    # A projector is refused where readout is mitigated.
    sizes(one, estimator_pub("XX", "ZZ"), estimator_pub("0Z", "XX"), primitive=ESTIMATOR)
    assert len(prepared) == 4


def test_what_is_sent_as_it_is_stored_is_measured(prepared: list[int]) -> None:
    sizes(*map(sampler_pub, (50, 50, 50)), primitive=PrimitiveSpec("sampler"))
    assert len(prepared) == 3


def test_a_pub_that_the_client_refuses_is_told_although_another_was_prepared() -> None:
    with pytest.raises(PlanError, match="the client-side estimator cannot run it"):
        sizes(estimator_pub("ZZ", "XX"), estimator_pub("0Z", "XX"), primitive=ESTIMATOR)


@pytest.mark.parametrize("primitive", [TWIRLED, ESTIMATOR], ids=["sampler", "estimator"])
def test_an_estimate_is_about_the_size(primitive: PrimitiveSpec) -> None:
    def pub(angle: float, depth: int) -> Pub:
        circuit = QuantumCircuit(5)
        for _ in range(depth):
            circuit.sx(range(5))
            circuit.rz(angle, range(5))
            for first in (0, 2, 1, 3):
                circuit.cx(first, first + 1)
        if primitive.kind == "estimator":
            return EstimatorPub.coerce((circuit, ["ZZIII", "IXXII"]), 0.1)
        circuit.measure_all()
        return SamplerPub.coerce(circuit, 10)

    pubs = [pub(0.1, 10), pub(0.7, 10), pub(0.3, 12), pub(0.3, 8)]
    exact = [sizes(one, primitive=primitive)[0] for one in pubs]
    estimates = sizes(*pubs, primitive=primitive)
    assert estimates[0] == pytest.approx(exact[0], rel=0.01)
    for estimate, size in zip(estimates[1:], exact[1:], strict=True):
        assert size <= estimate <= 1.4 * size
