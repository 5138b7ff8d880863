from __future__ import annotations

import pytest

from qexp.core.model import PrimitiveSpec
from qexp.core.protocols import Batch
from qexp.engines.local.attached import AttachedBatch
from qexp.errors import BatchOverError, LostJobError
from tests.unit.engines.jobs import go_on, request

REQUEST = request(PrimitiveSpec("sampler"), [], index=4)


@pytest.fixture
def batch() -> AttachedBatch:
    return AttachedBatch(backend_name="b", batch_id="local-1")


def test_only_what_is_known_of_it_is_told(batch: AttachedBatch) -> None:
    assert isinstance(batch, Batch)
    assert batch.id == "local-1"
    assert batch.details() == {
        "id": "local-1",
        "backend_name": "b",
        "state": "closed",
        "accepting_jobs": False,
        "mode": "local",
    }


def test_it_takes_no_job(batch: AttachedBatch) -> None:
    with pytest.raises(BatchOverError, match=r"Partition 4 .* local-1 ended"):
        batch.submit(REQUEST)


def test_its_jobs_are_lost(batch: AttachedBatch) -> None:
    assert (batch.find("t"), batch.strays(), batch.states()) == ((), (), {})
    with pytest.raises(LostJobError, match=r"Job j1 .* batch local-1"):
        batch.adopt("j1", REQUEST)
    with pytest.raises(LostJobError, match=r"Job j1 .* batch local-1"):
        batch.collect("j1")


def test_ending_it_is_harmless_and_there_is_nothing_to_wait_for(batch: AttachedBatch) -> None:
    batch.cancel_job("j1")
    batch.cancel()
    batch.close()
    batch.abandon()
    batch.wait(1e6, go_on)
    assert batch.queue_length() is None  # type: ignore[func-returns-value]
    assert batch.details()["state"] == "closed"
