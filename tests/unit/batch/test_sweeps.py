"""Points that share jobs, against a service that does exactly what a test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qexp.archive.schema import JOURNAL_NAME
from qexp.core.observer import Observer
from qexp.core.spec import ExecutionPolicy, SharingPolicy
from qexp.errors import BusyError, EngineError, RefusedError, UnclearError
from qexp.journal.file import read_ledger
from tests.unit.batch.service import Killed, Life, Service, submit_only
from tests.unit.batch.sweeps import PATIENT, Disk, assert_whole, executions, go, held

ALL = (0, 2, 4, 1), (3, 5)
"""Jobs of three points of two partitions each, of at most four PUBs."""


@pytest.fixture
def disk() -> Disk:
    return Disk.of(3)


def events(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / JOURNAL_NAME).read_text().splitlines()
    return [json.loads(line) for line in lines]


def create_first(service: Service, request: Any, batch: str) -> None:
    """The server acts, and its reply is lost."""
    service.create(request, batch)
    raise UnclearError("the connection was dropped")


def create_never(service: Service, request: Any, batch: str) -> None:
    raise UnclearError("the connection was dropped")


def create_twice(service: Service, request: Any, batch: str) -> None:
    """What a proxy does that repeats a request."""
    service.create(request, batch)


def refuse_shared(service: Service, request: Any, batch: str) -> None:
    if request.members:
        raise RefusedError("too many control instructions", 1234)


def end_batch(service: Service, request: Any, batch: str) -> None:
    """It takes this job as its last one."""
    service.over.add(batch)


def refuse_partition(bad: int) -> Callable[..., None]:
    def refuse(service: Service, request: Any, batch: str) -> None:
        if bad in [member.partition.index for member in request.members or (request,)]:
            raise RefusedError("too many qubits", 1002)

    return refuse


def test_points_share_jobs_and_each_has_its_own_results(tmp_path: Path, disk: Disk):
    service = Service()
    experiment = go(tmp_path, service, disk)
    assert held(service) == [*ALL]
    assert service.batches == ["batch0"]
    assert_whole(experiment, service, disk)
    lines = [(each["event"], each["partition"], each.get("offset", 0)) for each in events(tmp_path)
             if each["event"] == "submitting"]  # fmt: skip
    assert lines == [
        ("submitting", index, offset) for job in ALL for offset, index in enumerate(job)
    ]
    tags = {event["tag"] for event in events(tmp_path) if event["event"] == "submitting"}
    assert len(tags) == 2


def test_each_step_of_shared_jobs_may_be_the_last(tmp_path: Path):
    """Among others between the lines of one job: submitting, submitted and collected."""
    between: set[tuple[str, int]] = set()
    for dies_at in range(1, 90):
        folder, service, disk = tmp_path / str(dies_at), Service(), Disk.of(3)
        folder.mkdir()
        with suppress(Killed):
            go(folder, service, disk, life=Life(dies_at))
        kinds = [event["event"] for event in events(folder)]
        last = kinds[-1]
        between.add((last, kinds.count(last)))
        experiment = go(folder, service, disk)
        assert_whole(experiment, service, disk)
        assert set(executions(service).values()) == {1}, dies_at
        assert sorted(held(service)) == sorted(ALL), dies_at
    assert {
        (kind, n) for kind in ("submitting", "submitted", "collected") for n in range(1, 7)
    } <= (between)


def test_each_step_of_jobs_that_end_with_their_process_may_be_the_last(tmp_path: Path):
    for dies_at in range(1, 80, 3):
        folder, disk = tmp_path / str(dies_at), Disk.of(3)
        folder.mkdir()
        with suppress(Killed):
            go(folder, Service(), disk, life=Life(dies_at), jobs_outlive_process=False)
        service = Service(created=1000)
        experiment = go(folder, service, disk, jobs_outlive_process=False)
        assert_whole(experiment, Service(), disk)


def test_a_refused_shared_job_is_divided_and_only_the_bad_point_fails(tmp_path: Path, disk: Disk):
    service = Service(on_submit=[refuse_partition(4)] * 9)
    experiment = go(tmp_path, service, disk)
    assert held(service) == [(0,), (2,), (1,), (3, 5)]
    assert experiment.ledger.done == {0, 1, 2, 3, 5}
    failures = [(number, kind) for (_, number), outcome in disk.stores[2].outcomes.items()
                if (kind := outcome.failure)]  # fmt: skip
    assert failures == [(1, "shared"), (2, "refused")]
    # Nor is it sent again by a resume.
    go(tmp_path, service, disk)
    assert service.calls.count("submit") == 6
    assert set(executions(service).values()) == {1}


def test_a_shared_job_that_fails_for_an_unknown_reason_is_divided(tmp_path: Path, disk: Disk):
    service = Service(ends={0: ["internal", None], 2: ["internal"]})
    experiment = go(tmp_path, service, disk, policy=ExecutionPolicy(retries=0, follow_ups=0))
    assert held(service) == [*ALL, (0,), (2,), (4,), (1,)]
    assert experiment.ledger.done == {0, 1, 3, 4, 5}
    assert disk.stores[0].outcomes[0, 1].failure == "shared"
    # Alone, its failure says something about it.
    assert disk.stores[1].outcomes[0, 2].failure == "internal"


def test_a_transient_failure_is_tried_again_together(tmp_path: Path, disk: Disk):
    service = Service(ends={0: ["transient", None]})
    experiment = go(tmp_path, service, disk)
    assert held(service) == [*ALL, ALL[0]]
    assert_whole(experiment, service, disk)


@pytest.mark.parametrize("failure", ["refused", "internal", "too_large"])
def test_no_failure_of_a_shared_job_is_final_for_its_points(
    tmp_path: Path, disk: Disk, failure: Any
):
    service = Service(ends={0: [failure, None]})
    experiment = go(tmp_path, service, disk, policy=ExecutionPolicy(retries=0, follow_ups=0))
    assert held(service) == [*ALL, (0,), (2,), (4,), (1,)]
    assert_whole(experiment, service, disk)


def test_a_shared_job_that_a_proxy_doubled_is_a_duplicate_of_all_its_points(
    tmp_path: Path, disk: Disk
):
    told: list[str] = []

    class Watching(Observer):
        def warned(self, message: str) -> None:
            told.append(message)

    service = Service(on_submit=[create_twice])
    experiment = go(tmp_path, service, disk, observer=Watching())
    assert read_ledger(tmp_path).duplicates == {"job0"}
    assert service.jobs["job0"].state == "CANCELLED"
    assert_whole(experiment, service, disk)
    assert [store.outcomes[0, 2].failure for store in disk.stores] == ["duplicate"] * 3
    assert len(told) == 1


def test_a_shared_job_that_was_doubled_is_not_divided_by_a_kill_between_its_lines(tmp_path: Path):
    for dies_at in range(1, 60):
        folder, service, disk = (
            tmp_path / str(dies_at),
            Service(on_submit=[create_twice]),
            Disk.of(3),
        )
        folder.mkdir()
        with suppress(Killed):
            go(folder, service, disk, life=Life(dies_at))
        experiment = go(folder, service, disk)
        assert_whole(experiment, service, disk)
        ledger = experiment.ledger
        for job in service.jobs.values():
            attempts = ledger.attempts_with(job.id)
            assert tuple(one.partition for one in attempts) == job.partitions, dies_at
            assert len({one.is_adopted for one in attempts}) == 1, dies_at


def test_a_doubled_shared_job_that_ran_is_accounted_for_once(tmp_path: Path, disk: Disk):
    class Quick(Service):
        """What it takes, it runs at once."""

        def create(self, request: Any, batch: str) -> str:
            job_id = super().create(request, batch)
            self.run_some()
            return job_id

    service = Quick(on_submit=[create_twice])
    experiment = go(tmp_path, service, disk)
    assert service.runs == {0: 2, 2: 2, 4: 2, 1: 2, 3: 1, 5: 1}
    assert_whole(experiment, service, disk)


def test_what_a_batch_left_out_is_packed_again(tmp_path: Path, disk: Disk):
    """The first batch ends before its only job has run, and takes no other."""
    sizes = ((1, 1), (1, 1))
    service = Service(on_submit=[end_batch], ends={0: ["expired", None]})
    experiment = go(tmp_path, service, Disk.of(2), sizes=sizes, most=2)
    assert held(service) == [(0, 2), (0, 2), (1, 3)]
    assert [job.batch for job in service.jobs.values()] == ["batch0", "batch1", "batch1"]
    assert experiment.ledger.done == {0, 1, 2, 3}
    assert set(executions(service).values()) == {1}


def test_what_is_left_of_several_jobs_shares_one(tmp_path: Path, disk: Disk):
    """Killed while the members of a local job are collected: two of each job are left."""
    service = Service()
    sizes = ((1,), (1,), (1,))
    settings = {"sizes": sizes, "most": 2, "jobs_outlive_process": False}
    for dies_at in range(1, 60):
        folder, disk, service = tmp_path / str(dies_at), Disk.of(3), Service()
        folder.mkdir()
        with suppress(Killed):
            go(folder, service, disk, life=Life(dies_at), **settings)
        collected = [
            event["partition"] for event in events(folder) if event["event"] == "collected"
        ]
        if collected == [0]:
            break
    later = Service(created=1000)
    go(folder, later, disk, **settings)
    assert held(later) == [(1, 2)]


def test_each_backend_has_a_batch_and_no_job_is_of_two(tmp_path: Path, disk: Disk):
    service = Service()
    experiment = go(tmp_path, service, disk, lanes=("one", "other", "one"))
    assert held(service) == [(0, 4, 1, 5), (2, 3)]
    opened = experiment.ledger.batches
    assert [(one.batch, one.point) for one in opened] == [("batch0", 0), ("batch1", 1)]
    assert [job.batch for job in service.jobs.values()] == ["batch0", "batch1"]
    assert_whole(experiment, service, disk)


def test_a_batch_that_follows_is_linked_to_that_of_its_own_backend(tmp_path: Path, disk: Disk):
    service = Service(ends={2: ["transient", None]})
    experiment = go(tmp_path, service, disk, lanes=("one", "other", "one"))
    opened = experiment.ledger.batches
    assert [(one.batch, one.point, one.follows) for one in opened] == [
        ("batch0", 0, None),
        ("batch1", 1, None),
        ("batch2", 1, "batch1"),
    ]
    assert_whole(experiment, service, disk)


def test_when_no_more_jobs_are_taken_what_is_submitted_is_collected(tmp_path: Path, disk: Disk):
    service = Service(on_submit=[end_batch, EngineError("your quota is used up")])
    service.on_submit[0] = lambda *_: None
    with pytest.raises(EngineError, match="quota"):
        go(tmp_path, service, disk)
    assert read_ledger(tmp_path).done == {*ALL[0]}
    experiment = go(tmp_path, service, disk)
    assert held(service) == [*ALL]
    assert_whole(experiment, service, disk)


def test_a_sweep_that_was_left_is_collected_by_another_process(tmp_path: Path, disk: Disk):
    service = Service(held=True)
    go(tmp_path, service, disk, submit_only)
    assert held(service) == [*ALL]
    service.held = False
    experiment = go(tmp_path, service, disk)
    assert held(service) == [*ALL]
    assert_whole(experiment, service, disk)


SUBMISSIONS = st.lists(
    st.sampled_from(
        [
            create_first,
            create_never,
            create_twice,
            refuse_shared,
            end_batch,
            BusyError("429", 1.0),
            BusyError("slots", needs_slot=True),
        ]
    ),
    max_size=4,
)
FAILURES = st.dictionaries(
    st.integers(0, 5),
    st.lists(st.sampled_from(["transient", "expired", "lost", "internal", "too_large"]), max_size=2)
    .map(lambda failures: [*failures, None]),
    max_size=3,
)  # fmt: skip


@settings(max_examples=50)
@given(
    kills=st.lists(st.integers(1, 90), max_size=4),
    on_submit=SUBMISSIONS,
    ends=FAILURES,
    torn=st.integers(0, 40),
    sizes=st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=2).map(tuple), min_size=2,
                   max_size=3).map(tuple),
    lanes=st.sampled_from([(), ("one", "other", "one")]),
    order=st.sampled_from(["interleaved", "declared", "random"]),
)  # fmt: skip
def test_wherever_it_is_killed_nothing_is_lost_and_nothing_runs_twice(
    tmp_path_factory: pytest.TempPathFactory,
    kills: list[int],
    on_submit: list[Any],
    ends: dict[int, list[Any]],
    torn: int,
    sizes: Any,
    lanes: Any,
    order: Any,
):
    folder = tmp_path_factory.mktemp("sweep")
    service, disk = Service(ends=dict(ends), on_submit=list(on_submit)), Disk.of(len(sizes))
    sharing = SharingPolicy(order=order)
    common: dict[str, Any] = {"sizes": sizes, "lanes": lanes[: len(sizes)], "sharing": sharing}
    for dies_at in kills:
        try:
            go(folder, service, disk, life=Life(dies_at), **common)
        except Killed:
            with (folder / JOURNAL_NAME).open("ab") as file:
                file.write(b'{"time":"2026-11-22T12:00:00Z","event":"submi'[:torn])
    # What failed alone in an earlier process is tried again.
    for _ in range(3):
        experiment = go(folder, service, disk, policy=PATIENT, **common)
    assert_whole(experiment, service, disk)
    if create_twice not in on_submit:
        assert set(executions(service).values()) == {1}
    # Harmless once more.
    before = len(service.jobs)
    go(folder, service, disk, **common)
    assert len(service.jobs) == before
