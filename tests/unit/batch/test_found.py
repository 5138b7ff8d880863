"""Jobs that several folders of one run submitted, cut in different ways, with kills at every step.

Each folder dies at some step and the other one goes on; whatever happens, every PUB is run once.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qexp.archive.schema import JOURNAL_NAME
from qexp.batch.execute import collect_finished, execute
from qexp.batch.found import note_found
from qexp.batch.recover import note_stored_outcomes
from qexp.core.model import FoundJob
from qexp.core.spec import ExecutionPolicy
from qexp.errors import EngineError, RefusedError
from qexp.journal.events import (
    Adopted,
    BatchOpened,
    Collected,
    Duplicate,
    Resumed,
    Submitted,
    Submitting,
)
from qexp.journal.file import read_ledger
from qexp.points import Experiment
from tests.unit.batch.service import (
    FakeRemoteBatch,
    FakeTime,
    Killed,
    Life,
    MemoryStore,
    Process,
    Service,
    submit_only,
)

PATIENT = ExecutionPolicy(retries=9, follow_ups=9, retry_refused=True)
TOO_LARGE = RefusedError("413", failure="too_large")


def resumed(
    folder: Path,
    service: Service,
    store: MemoryStore,
    work: Callable[[Experiment], None] = execute,
    **settings: Any,
) -> None:
    """Resume a run, which may not have begun yet, in a process of its own."""
    folder.mkdir(exist_ok=True)
    experiment = Process(folder, service, store, policy=PATIENT, **settings).experiment()
    with experiment.journal:
        experiment.journal.append(Resumed("host", 1, "0"))
        note_stored_outcomes(experiment)
        work(experiment)


def results(store: MemoryStore) -> Counter[int]:
    """PUB -> number of its results in a folder; each is that of this PUB."""
    return Counter(
        pub
        for outcome in store.outcomes.values()
        for pub in (outcome.result or () if outcome.state == "DONE" else ())
    )


def shares(store: MemoryStore) -> Counter[str]:
    """Job -> how much of its usage is accounted for."""
    counted: Counter[str] = Counter()
    for outcome in store.outcomes.values():
        counted[outcome.job_id] += outcome.share  # type: ignore[assignment]
    return counted


def assert_whole(service: Service, folder: Path, store: MemoryStore, num_pubs: int) -> None:
    """A folder has each result once, and accounts once for each job that ran."""
    ledger = read_ledger(folder)
    assert not ledger.open_attempts()
    assert ledger.done == set(range(ledger.num_partitions))
    assert results(store) == dict.fromkeys(range(num_pubs), 1)
    counted = shares(store)
    for job in service.jobs.values():
        if job.state == "DONE":
            assert counted[job.id] == pytest.approx(1.0)


def executions(service: Service) -> Counter[int]:
    """PUB -> how often it was run."""
    return Counter(pub for job in service.jobs.values() if job.state == "DONE" for pub in job.pubs)


@pytest.mark.parametrize("sizes", [((3, 2), (2, 1, 2)), ((2, 1, 2), (3, 2)), ((5,), (1, 3, 1))])
def test_a_copy_that_is_killed_anywhere_pays_for_nothing(
    tmp_path: Path, sizes: tuple[tuple[int, ...], tuple[int, ...]]
):
    """Among others between two pieces of one job, noted or collected."""
    for dies_at in range(1, 40):
        root = tmp_path / str(dies_at)
        root.mkdir()
        service, store = Service(), MemoryStore()
        resumed(root / "one", service, MemoryStore(), sizes=sizes[0])
        with suppress(Killed):
            resumed(root / "copy", service, store, sizes=sizes[1], life=Life(dies_at))
        resumed(root / "copy", service, store, sizes=sizes[1])
        assert_whole(service, root / "copy", store, 5)
        assert executions(service) == dict.fromkeys(range(5), 1)


NAMES = ("one", "copy")
FAILURES = st.lists(st.sampled_from(["transient", "expired", "lost", "undelivered"]), max_size=2)
SIZES = st.sampled_from([(6,), (3, 3), (2, 4), (4, 1, 1), (1, 2, 3), (2, 2, 2)])


@settings(max_examples=40)
@given(
    sizes=st.one_of(st.tuples(SIZES, SIZES), SIZES),
    turns=st.lists(st.tuples(st.booleans(), st.integers(1, 50)), max_size=6),
    too_large=st.lists(st.booleans(), max_size=4),
    data=st.data(),
)
def test_folders_that_cut_in_their_own_ways_and_take_turns_pay_once(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: tuple[Any, ...],
    turns: list[tuple[bool, int]],
    too_large: list[bool],
    data: st.DataObject,
):
    def accept(*_: object) -> None:
        return

    def refuse(_service: Service, request: Any, _batch: str) -> None:
        if request.partition.num_pubs > 1:
            raise TOO_LARGE

    root = tmp_path_factory.mktemp("run")
    ends = {index: [*data.draw(FAILURES), None] for index in range(3)}
    service = Service(ends=ends, on_submit=[refuse if one else accept for one in too_large])
    cuts = sizes if isinstance(sizes[0], tuple) else (sizes, sizes)
    folders = [(root / name, MemoryStore(), cut) for name, cut in zip(NAMES, cuts, strict=True)]
    for is_copy, dies_at in turns:
        folder, store, cut = folders[is_copy]
        if is_copy and sizes is not cuts and not folder.exists() and (root / "one").exists():
            # Made in the middle of the run: both have the same token, and so the same tags.
            shutil.copytree(root / "one", folder)
            store.outcomes.update(folders[0][1].outcomes)
        service.held = data.draw(st.booleans())
        work = submit_only if service.held else execute
        with suppress(Killed):
            resumed(folder, service, store, work, sizes=cut, life=Life(dies_at))
    service.held = False
    for folder, store, cut in (*folders, *folders, *folders):
        resumed(folder, service, store, sizes=cut)
    for folder, store, _ in folders:
        assert_whole(service, folder, store, 6)
    assert executions(service) == dict.fromkeys(range(6), 1)


def test_a_copy_with_the_same_tags_does_not_take_other_pubs_for_its_own(tmp_path: Path):
    """Both halves are attempts of the same number in their folders; the reply to one is lost."""
    service = Service(held=True, on_submit=[TOO_LARGE])
    resumed(tmp_path / "one", service, MemoryStore(), submit_only, sizes=(4,))
    (first, second) = service.jobs.values()
    assert (first.pubs, second.pubs) == ([0, 1], [2, 3])
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    path = tmp_path / "copy" / JOURNAL_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b"submitt" not in line))
    copy = Process(
        tmp_path / "copy", service, MemoryStore(), sizes=(4,), policy=PATIENT
    ).experiment()
    with copy.journal:
        copy.journal.append(Resumed("host", 1, "0"))
        copy.journal.append(BatchOpened("batch9", "other", "batch0"))
        tag = first.tags[2]
        number = int(tag.split(":")[1].split(".")[1])
        while copy.ledger.next_number(0) < number:
            copy.journal.append(Submitting(0, copy.ledger.next_number(0), "batch9", "none"))
        copy.journal.append(Submitting(0, number, "batch9", tag, first=2, stop=4))
        listed = [FoundJob(first.id, first.tags, "QUEUED", batch_id=first.batch)]
        note_found(copy, listed)
        mine = copy.ledger.attempts[0][number - 1]
        assert (mine.job, mine.first) == (None, 2)
        taken = copy.ledger.attempts[0][-1]
        assert (taken.job, taken.first, taken.stop) == (first.id, 0, 2)


def test_what_another_folder_submits_meanwhile_is_not_submitted_here(tmp_path: Path):
    """A copy goes on in its batch, which this folder watches while it waits for its turn."""
    service, store = Service(held=True), MemoryStore()
    resumed(tmp_path / "one", service, MemoryStore(), submit_only)
    late = [service.jobs.pop(job.id) for job in list(service.jobs.values()) if job.partition]

    class Arriving(FakeRemoteBatch):
        def wait(self, timeout_s: float, is_stopped: Any) -> None:
            service.jobs.update({job.id: job for job in late})
            service.held = False
            super().wait(timeout_s, is_stopped)

    (tmp_path / "copy").mkdir()
    policy = ExecutionPolicy(max_pending=1)
    copy = Process(tmp_path / "copy", service, store, policy=policy).experiment()
    copy.engine.batch = Arriving
    with copy.journal:
        copy.journal.append(Resumed("host", 1, "0"))
        execute(copy)
    assert_whole(service, tmp_path / "copy", store, 3)
    assert executions(service) == {0: 1, 1: 1, 2: 1}


def test_a_duplicate_is_cancelled_also_by_the_process_after_the_one_that_found_it(tmp_path: Path):
    def twice(service: Service, request: Any, batch: str) -> None:
        service.create(request, batch)

    for dies_at in range(5, 40):
        folder, service, store = tmp_path / str(dies_at), Service(held=True), MemoryStore()
        service.on_submit = [twice]
        for life in (Life(), Life(dies_at), Life()):
            with suppress(Killed):
                resumed(folder, service, store, submit_only, num_partitions=1, life=life)
        states = Counter(job.state for job in service.jobs.values())
        assert states == {"QUEUED": 1, "CANCELLED": 1}, dies_at


def test_collecting_only_comes_back_to_a_result_that_could_not_be_fetched(tmp_path: Path):
    service, store = Service(), MemoryStore()
    resumed(tmp_path, service, store, submit_only)
    service.run_some()
    service.on_call["collect"] = [EngineError("503"), EngineError("503")]
    resumed(tmp_path, service, store, collect_finished)
    assert results(store) == {0: 1, 1: 1, 2: 1}


def test_collecting_only_does_not_wait_for_a_job_that_was_lost_and_is_found_again(tmp_path: Path):
    class Restoring(FakeTime):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            service.jobs.update(lost)

    service, store = Service(held=True), MemoryStore()
    resumed(tmp_path, service, store, submit_only)
    service.time, lost = Restoring(service.time.now_s), {"job1": service.jobs.pop("job1")}
    resumed(tmp_path, service, store, collect_finished)
    assert store.outcomes == {}
    assert len(read_ledger(tmp_path).open_attempts()) == 3


def test_a_run_is_not_complete_while_a_job_that_it_does_not_need_may_be_charged(tmp_path: Path):
    experiment = Process(tmp_path, Service(), MemoryStore(), num_partitions=1).experiment()
    with experiment.journal as journal:
        journal.append(BatchOpened("b0", "t"))
        journal.append(Submitting(0, 1, "b0", "tag"))
        journal.append(Submitted(0, 1, "b0", "first"))
        journal.append(Adopted(0, 2, "b0", "tag", "second"))
        journal.append(Duplicate(0, 2, "second", "first", "asked to be cancelled"))
        journal.append(Collected(0, 2, "second", "DONE"))
        assert experiment.ledger.done == {0}
        assert experiment.status() == "partial"
        journal.append(Collected(0, 1, "first", "ERROR", "duplicate"))
        assert experiment.status() == "complete"
