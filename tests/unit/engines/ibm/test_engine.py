"""The usage of the account, through IBM's client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from qexp.core.model import PrimitiveSpec
from qexp.core.protocols import MeteredEngine
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.select import named
from qexp.errors import EngineError
from tests.emulator import MANILA, OTHER_INSTANCE, IBMEmulator, faults
from tests.unit.engines.jobs import isa_pub, request


def replying(**changes: Any) -> Callable[[str], str]:
    """Change fields of a reply; ... leaves one out."""

    def edit(text: str) -> str:
        reply = {**json.loads(text), **changes}
        return json.dumps({name: value for name, value in reply.items() if value is not ...})

    return edit


@pytest.mark.parametrize(
    ("changes", "used_s", "left_s"),
    [
        ({}, 0.0, 36_000.0),
        ({"usage_consumed_seconds": 480, "usage_limit_seconds": 600}, 480.0, 120.0),
        ({"usage_consumed_seconds": 700, "usage_limit_seconds": 600}, 700.0, 0.0),
        ({"usage_limit_seconds": None, "usage_allocation_seconds": 900}, 0.0, 900.0),
        ({"usage_limit_seconds": ..., "usage_allocation_seconds": 900}, 0.0, 900.0),
        ({"usage_limit_seconds": 100, "usage_allocation_seconds": 900}, 0.0, 100.0),
        ({"usage_limit_seconds": None, "usage_allocation_seconds": None}, 0.0, None),
        ({"usage_limit_seconds": None, "usage_limit_reached": True}, 0.0, 0.0),
    ],
)
def test_what_is_left_of_an_instance(
    ibm_emulator: IBMEmulator, backend: Any, changes: dict[str, Any], used_s: float, left_s: float
) -> None:
    engine = IBMEngine()
    assert isinstance(engine, MeteredEngine)
    ibm_emulator.faults.append(faults.edited(faults.USAGE, replying(**changes)))
    usage = engine.read_usage(backend)
    assert (usage.used_s, usage.left_s) == (used_s, left_s)
    assert usage.name == engine.instance(backend)
    assert usage.name


@pytest.mark.parametrize(
    "edit", [faults.garbled, faults.empty, replying(usage_consumed_seconds=None)]
)
def test_a_reply_that_cannot_be_read_is_an_error_of_the_service(
    ibm_emulator: IBMEmulator, backend: Any, edit: Callable[[str], str]
) -> None:
    ibm_emulator.faults.append(faults.edited(faults.USAGE, edit))
    with pytest.raises(EngineError, match=r"^reading the usage of the account: "):
        IBMEngine().read_usage(backend)


def test_a_limit_that_is_null_keeps_no_job_from_being_submitted(ibm_emulator: IBMEmulator) -> None:
    """The client's own `usage`, which it calls before each job, raises `TypeError` over it."""
    backend = named(name=MANILA, instance=OTHER_INSTANCE)
    assert backend.target.num_qubits == 5
    assert backend.service.usage()["usage_remaining_seconds"] == 36_000
    batch = IBMEngine(poll_interval_s=0.01).open_batch(backend, max_time_s=1500)
    batch.submit(request(PrimitiveSpec("sampler"), [isa_pub("sampler", backend)]))
    assert len(ibm_emulator.job_ids) == 1
