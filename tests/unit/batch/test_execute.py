"""The batch stage against a service that does exactly what a test says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qexp.archive.schema import JOURNAL_NAME
from qexp.batch.execute import execute
from qexp.batch.recover import note_stored_outcomes
from qexp.core.observer import Observer
from qexp.core.spec import ExecutionPolicy
from qexp.errors import (
    ArchiveError,
    BusyError,
    EngineError,
    LostJobError,
    RefusedError,
    UnclearError,
    UnfinishedError,
)
from qexp.interrupts import StopRequested
from qexp.journal.events import Ended, Resumed
from qexp.journal.file import read_ledger
from tests.unit.batch.service import (
    FakeTime,
    Killed,
    Life,
    MemoryStore,
    Process,
    Service,
    submit_only,
)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def go(run_dir: Path, service: Service, store: MemoryStore, **settings: Any) -> Process:
    process = Process(run_dir, service, store, **settings)
    experiment = process.experiment()
    if experiment.ledger.batches:
        experiment.journal.append(Resumed("host", 1, "0"))
    with experiment.journal:
        note_stored_outcomes(experiment)
        execute(experiment)
    return process


def events(run_dir: Path) -> list[str]:
    lines = (run_dir / JOURNAL_NAME).read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


def done(store: MemoryStore) -> list[int]:
    return sorted(key[0] for key, outcome in store.outcomes.items() if outcome.state == "DONE")


def test_everything_is_written_down_before_it_is_done(tmp_path: Path, store: MemoryStore):
    service = Service()
    go(tmp_path, service, store, num_partitions=2)
    assert events(tmp_path) == [
        "planned",
        "batch_opened",
        "submitting",
        "submitted",
        "submitting",
        "submitted",
        "batch_closed",
        "collected",
        "collected",
    ]
    calls = [call for call in service.calls if call not in {"states", "wait"}]
    assert calls == [
        "open", "details", "submit", "submit", "close", "collect", "collect", "find", "details",
    ]  # fmt: skip
    assert done(store) == [0, 1]
    opened, final, batch_id, follows = store.details[0]
    assert (opened["state"], final["state"], batch_id, follows) == (
        "open",
        "closed",
        "batch0",
        None,
    )


def test_a_transient_failure_is_tried_again_in_a_linked_batch(tmp_path: Path, store: MemoryStore):
    service = Service(ends={1: ["transient", None]})
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]
    assert store.outcomes[1, 1].failure == "transient"
    assert store.outcomes[1, 2].batch_id == "batch1"
    assert store.details[1][2:] == ("batch1", "batch0")
    assert service.runs == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize(
    ("failure", "policy", "attempts"),
    [
        ("transient", ExecutionPolicy(retries=2), 3),
        ("transient", ExecutionPolicy(retries=0), 1),
        ("undelivered", ExecutionPolicy(retries=1), 2),
        ("refused", ExecutionPolicy(), 1),
        ("cancelled", ExecutionPolicy(), 1),
        ("internal", ExecutionPolicy(), 1),
        ("too_long", ExecutionPolicy(), 1),
        ("too_long", ExecutionPolicy(retry_too_long=True, retries=1), 2),
        ("expired", ExecutionPolicy(follow_ups=3, retries=0), 4),
        ("expired", ExecutionPolicy(follow_ups=0), 1),
    ],
)
def test_how_often_a_failure_is_tried(
    tmp_path: Path, store: MemoryStore, failure: Any, policy: ExecutionPolicy, attempts: int
):
    service = Service(ends={1: [failure]})
    go(tmp_path, service, store, policy=policy)
    assert done(store) == [0, 2]
    assert len([key for key in store.outcomes if key[0] == 1]) == attempts
    assert store.outcomes[1, attempts].failure == failure


def test_a_result_that_is_not_one_is_fetched_again_before_it_counts(
    tmp_path: Path, store: MemoryStore
):
    service = Service(ends={0: ["undelivered"]})
    policy = ExecutionPolicy(retries=0, outage_s=60)
    go(tmp_path, service, store, num_partitions=1, policy=policy)
    assert service.calls.count("collect") > 4
    assert 60 <= service.time.now_s < 180
    assert store.outcomes[0, 1].info == {"service_state": "DONE"}


def test_a_refused_job_is_recorded_and_costs_the_others_nothing(tmp_path: Path, store: MemoryStore):
    service = Service(on_submit=[RefusedError("too many qubits", 1002)])
    go(tmp_path, service, store)
    assert done(store) == [1, 2]
    refused = store.outcomes[0, 1]
    assert (refused.job_id, refused.error_code, refused.failure) == ("", 1002, "refused")
    assert "too many qubits" in refused.error


def test_a_refused_job_is_not_sent_again_when_the_run_is_resumed(
    tmp_path: Path, store: MemoryStore
):
    service = Service(on_submit=[RefusedError("no", 1002)])
    go(tmp_path, service, store)
    go(tmp_path, service, store)
    assert service.calls.count("submit") == 3


def test_when_no_more_jobs_are_taken_the_submitted_ones_are_collected(
    tmp_path: Path, store: MemoryStore
):
    def nothing(*_: object) -> None:
        return

    service = Service(on_submit=[nothing, EngineError("your quota is used up")])
    with pytest.raises(EngineError, match="quota"):
        go(tmp_path, service, store)
    assert done(store) == [0]
    assert service.calls.count("submit") == 2
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]
    assert service.runs == {0: 1, 1: 1, 2: 1}


def create_first(service: Service, request: Any, batch: str) -> None:
    """The server acts, and its reply is lost."""
    service.create(request, batch)
    raise UnclearError("the connection was dropped")


def create_never(service: Service, request: Any, batch: str) -> None:
    raise UnclearError("the connection was dropped")


def create_twice(service: Service, request: Any, batch: str) -> None:
    """What the client's own retry of a POST does."""
    service.create(request, batch)


def test_a_lost_reply_is_looked_up_before_anything_is_sent_again(
    tmp_path: Path, store: MemoryStore
):
    service = Service(on_submit=[create_first])
    go(tmp_path, service, store)
    assert service.runs == {0: 1, 1: 1, 2: 1}
    assert service.calls[: service.calls.index("find") + 2][-3:] == ["submit", "find", "submit"]
    assert store.outcomes[0, 1].job_id == "job0"


def test_a_request_that_never_arrived_is_sent_again_with_the_same_tag(
    tmp_path: Path, store: MemoryStore
):
    service = Service(on_submit=[create_never])
    go(tmp_path, service, store)
    assert service.runs == {0: 1, 1: 1, 2: 1}
    # The last one is for jobs that the service lists only after all.
    assert service.calls.count("find") == 3
    assert store.outcomes[0, 1].state == "DONE"


def test_a_duplicate_is_cancelled_and_recorded(tmp_path: Path, store: MemoryStore):
    service = Service(on_submit=[create_twice])
    go(tmp_path, service, store)
    assert service.runs == {0: 1, 1: 1, 2: 1}
    ledger = read_ledger(tmp_path)
    assert ledger.duplicates == {"job0"}
    assert service.jobs["job0"].state == "CANCELLED"


def test_a_busy_service_slows_the_submission_down(tmp_path: Path, store: MemoryStore):
    pauses: list[tuple[str, float]] = []

    class Watching(Observer):
        def submission_paused(self, reason: str, seconds: float) -> None:
            pauses.append((reason, seconds))

    time = FakeTime()
    service = Service(on_submit=[BusyError("429", 7.0), BusyError("429")], time=time)
    go(tmp_path, service, store, observer=Watching())
    assert done(store) == [0, 1, 2]
    assert pauses[0] == ("429", 7.0)
    assert time.now_s >= 7.0
    assert events(tmp_path).count("submitting") == 3


def test_a_full_queue_waits_for_a_job_to_end(tmp_path: Path, store: MemoryStore):
    def nothing(*_: object) -> None:
        return

    service = Service(on_submit=[nothing, BusyError("3 jobs are pending", needs_slot=True)])
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]
    assert service.calls.count("submit") == 4
    refused = [k for k, call in enumerate(service.calls) if call == "submit"][1]
    assert service.calls[refused + 1 : refused + 3] == ["states", "wait"]


def test_no_more_jobs_are_out_than_allowed(tmp_path: Path, store: MemoryStore):
    most: list[int] = []

    class Counting(Service):
        def create(self, request: Any, batch: str) -> str:
            job_id = super().create(request, batch)
            most.append(sum(job.state == "QUEUED" for job in self.jobs.values()))
            return job_id

    go(tmp_path, Counting(), store, num_partitions=5, policy=ExecutionPolicy(max_pending=2))
    assert done(store) == [0, 1, 2, 3, 4]
    assert max(most) == 2


def test_jobs_that_are_out_are_collected_although_no_further_batch_can_be_opened(
    tmp_path: Path, store: MemoryStore
):
    def over(service: Service, request: Any, batch: str) -> None:
        service.over.add(batch)

    def nothing(*_: object) -> None:
        return

    service = Service(held=True, on_submit=[nothing, over])
    experiment = Process(
        tmp_path, service, store, policy=ExecutionPolicy(follow_ups=0)
    ).experiment()
    with experiment.journal:
        submit_only(experiment)
    service.held = False
    service.on_call["open"] = [EngineError("403 not any more")] * 9
    with pytest.raises(EngineError, match="403"):
        go(tmp_path, service, store)
    assert 0 in done(store)


def test_another_account_is_not_taken_for_one_that_lost_the_jobs(
    tmp_path: Path, store: MemoryStore
):
    service = Service(held=True)
    experiment = Process(tmp_path, service, store).experiment()
    with experiment.journal:
        submit_only(experiment)
    other = Service(on_call={"details": [LostJobError("no such batch")]})
    with pytest.raises(EngineError, match="the account or instance in use knows none"):
        go(tmp_path, other, store)
    assert other.jobs == {}
    service.held = False
    go(tmp_path, service, store)
    assert service.runs == {0: 1, 1: 1, 2: 1}


def test_a_job_that_is_listed_late_is_adopted_when_the_run_goes_on(
    tmp_path: Path, store: MemoryStore
):
    service = Service()
    life = Life(dies_at=9)
    with pytest.raises(Killed):
        go(tmp_path, service, store, life=life)
    (hidden,) = service.jobs.values()
    service.jobs.clear()
    service.on_call["submit"] = [EngineError("the quota is used up")]
    with pytest.raises(EngineError):
        go(tmp_path, service, store)
    service.jobs[hidden.id] = hidden
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]
    assert service.runs == {0: 1, 1: 1, 2: 1}


def resumed(run_dir: Path, service: Service, store: MemoryStore) -> None:
    """Resume a run that may not have a batch yet."""
    experiment = Process(run_dir, service, store).experiment()
    with experiment.journal:
        experiment.journal.append(Resumed("host", 1, "0"))
        execute(experiment)


def test_copies_of_a_run_that_are_resumed_one_after_the_other_pay_once(tmp_path: Path):
    service, stores = Service(), {name: MemoryStore() for name in ("one", "copy")}
    for name, store in stores.items():
        (tmp_path / name).mkdir()
        resumed(tmp_path / name, service, store)
    assert service.runs == {0: 1, 1: 1, 2: 1}
    for name, store in stores.items():
        assert [store.outcomes[index, 1].job_id for index in range(3)] == ["job0", "job1", "job2"]
        assert read_ledger(tmp_path / name).done == {0, 1, 2}
    ledger = read_ledger(tmp_path / "copy")
    assert [(opened.batch, opened.is_foreign) for opened in ledger.batches] == [("batch0", True)]


def test_copies_that_run_at_the_same_time_know_of_each_other_when_they_are_resumed(tmp_path: Path):
    service, stores = Service(held=True), {name: MemoryStore() for name in ("one", "copy")}
    for name, store in stores.items():
        (tmp_path / name).mkdir()
        experiment = Process(tmp_path / name, service, store).experiment()
        with experiment.journal:
            submit_only(experiment)
    service.held = False
    resumed(tmp_path / "one", service, stores["one"])
    assert service.runs == {0: 2, 1: 2, 2: 2}
    assert read_ledger(tmp_path / "one").duplicates == {"job3", "job4", "job5"}
    outcomes = stores["one"].outcomes
    assert {key: outcome.failure for key, outcome in outcomes.items()} == {
        (index, number): None if number == 1 else "duplicate"
        for index in range(3)
        for number in (1, 2)
    }
    assert outcomes[0, 2].error == "not needed: job job0 gave the result of its PUBs"


def test_a_later_run_in_a_folder_of_the_same_name_adopts_nothing(tmp_path: Path):
    service = Service()
    for moment in ("2026-11-29", "2026-11-30"):
        process = Process(tmp_path / moment, service, MemoryStore())
        (tmp_path / moment).mkdir()
        experiment = process.experiment()
        experiment.points[0].identity = f"name {moment}"
        with experiment.journal:
            experiment.journal.append(Resumed("host", 1, "0"))
            execute(experiment)
    assert service.runs == {0: 2, 1: 2, 2: 2}
    assert len(service.jobs) == 6


def test_a_job_that_an_earlier_cut_made_larger_gives_the_results_of_all_its_partitions(
    tmp_path: Path,
):
    """The copy has cut one partition of three PUBs into pieces of two and one."""
    service, store = Service(), MemoryStore()
    one = Process(tmp_path / "one", service, store, sizes=(3, 2))
    (tmp_path / "one").mkdir()
    experiment = one.experiment()
    with experiment.journal:
        experiment.journal.append(Resumed("host", 1, "0"))
        execute(experiment)
    (tmp_path / "copy").mkdir()
    copy = Process(tmp_path / "copy", service, MemoryStore(), sizes=(2, 1, 2)).experiment()
    with copy.journal:
        copy.journal.append(Resumed("host", 1, "0"))
        execute(copy)
    assert len(service.jobs) == 2
    assert copy.ledger.done == {0, 1, 2}
    outcomes = copy.points[0].store.outcomes
    assert {key: (each.job_id, each.share) for key, each in outcomes.items()} == {
        (0, 1): ("job0", 2 / 3),
        (1, 1): ("job0", 1 / 3),
        (2, 1): ("job1", 1.0),
    }


def test_jobs_that_a_later_cut_made_smaller_give_the_result_of_one_partition(tmp_path: Path):
    service = Service()
    for name, sizes in (("one", (2, 1, 2)), ("copy", (3, 2))):
        (tmp_path / name).mkdir()
        experiment = Process(tmp_path / name, service, MemoryStore(), sizes=sizes).experiment()
        with experiment.journal:
            experiment.journal.append(Resumed("host", 1, "0"))
            execute(experiment)
    assert len(service.jobs) == 3
    assert experiment.ledger.done == {0, 1}
    assert experiment.ledger.cuts == {0: (0, 2, 3)}
    outcomes = experiment.points[0].store.outcomes
    assert {key: (each.job_id, each.first, each.stop) for key, each in outcomes.items()} == {
        (0, 1): ("job0", 0, 2),
        (0, 2): ("job1", 2, 3),
        (1, 1): ("job2", None, None),
    }


def test_batches_that_are_over_at_once_are_not_opened_for_ever(tmp_path: Path, store: MemoryStore):
    class AlwaysOver(Service):
        def call(self, name: str) -> None:
            super().call(name)
            self.over.update(self.batches)

    service = AlwaysOver()
    go(tmp_path, service, store, policy=ExecutionPolicy(follow_ups=2, retries=1))
    assert len(service.batches) == 4


def test_a_deadline_holds_while_a_slot_is_waited_for(tmp_path: Path, store: MemoryStore):
    service = Service(on_submit=[BusyError("slots", needs_slot=True)] * 1000)
    left = r"deadline is reached and \d jobs are still to be submitted$"
    with pytest.raises(UnfinishedError, match=left):
        go(tmp_path, service, store, policy=ExecutionPolicy(deadline_s=100))
    assert service.time.now_s < 200


def test_a_reply_that_trips_the_code_up_costs_the_others_nothing(
    tmp_path: Path, store: MemoryStore
):
    service = Service(on_call={"collect": [AttributeError("int has no data")]})  # type: ignore[list-item]
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]


def test_a_batch_that_is_over_is_followed_by_another(tmp_path: Path, store: MemoryStore):
    def end_of_batch(service: Service, request: Any, batch: str) -> None:
        service.over.add(batch)

    service = Service(on_submit=[end_of_batch])
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]
    assert service.batches == ["batch0", "batch1"]


def test_opening_a_batch_is_tried_again(tmp_path: Path, store: MemoryStore):
    service = Service(on_call={"open": [BusyError("429"), UnclearError("dropped")]})
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]


def test_a_batch_that_is_refused_is_not_asked_for_again(tmp_path: Path, store: MemoryStore):
    service = Service(on_call={"open": [RefusedError("no such plan")]})
    with pytest.raises(RefusedError):
        go(tmp_path, service, store)
    assert service.calls == ["open"]


def test_an_outage_while_watching_is_waited_out(tmp_path: Path, store: MemoryStore):
    service = Service(on_call={"states": [EngineError("503")] * 5, "collect": [EngineError("503")]})
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]


def test_a_service_that_is_gone_for_good_is_left_with_the_state_kept(
    tmp_path: Path, store: MemoryStore
):
    time = FakeTime()
    service = Service(on_call={"states": [EngineError("gone")] * 1000}, time=time)
    with pytest.raises(EngineError, match="gone"):
        go(tmp_path, service, store, policy=ExecutionPolicy(outage_s=100))
    assert 100 <= time.now_s < 300
    service.on_call.clear()
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]
    assert service.runs == {0: 1, 1: 1, 2: 1}


def test_one_job_that_cannot_be_fetched_does_not_cost_the_others(
    tmp_path: Path, store: MemoryStore
):
    service = Service()
    process = Process(tmp_path, service, store, policy=ExecutionPolicy(outage_s=30))
    experiment = process.experiment()
    original = experiment.engine.open_batch

    def open_batch(backend: Any, *, max_time_s: Any, workers: Any) -> Any:
        batch = original(backend, max_time_s=max_time_s)
        collect = batch.collect

        def broken(job_id: str) -> Any:
            if job_id == "job1":
                service.time.now_s += 5
                raise EngineError("500 for job1")
            return collect(job_id)

        batch.collect = broken
        return batch

    experiment.engine.open_batch = open_batch
    with experiment.journal, pytest.raises(EngineError, match="job1"):
        execute(experiment)
    assert done(store) == [0, 2]


def test_a_deadline_leaves_a_stuck_job_out(tmp_path: Path, store: MemoryStore):
    service = Service(held=True)
    with pytest.raises(UnfinishedError, match=r"execution\.deadline"):
        go(tmp_path, service, store, policy=ExecutionPolicy(deadline_s=60))
    assert 60 <= service.time.now_s < 65
    assert len(read_ledger(tmp_path).open_attempts()) == 3


@pytest.mark.parametrize("on_interrupt", ["leave", "cancel"])
def test_stopping_leaves_or_cancels_and_can_be_resumed(
    tmp_path: Path, store: MemoryStore, on_interrupt: Any
):
    service = Service(held=True)
    with pytest.raises(StopRequested):
        go(
            tmp_path, service, store,
            policy=ExecutionPolicy(on_interrupt=on_interrupt),
            is_stopped=lambda: service.calls.count("states") > 0,
        )  # fmt: skip
    assert service.closed == {"batch0"}
    cancelled = [job for job in service.jobs.values() if job.state == "CANCELLED"]
    assert len(cancelled) == (3 if on_interrupt == "cancel" else 0)
    service.held = False
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]
    assert service.runs == {0: 1, 1: 1, 2: 1}
    assert len(service.batches) == (2 if on_interrupt == "cancel" else 1)


def test_an_outcome_that_cannot_be_stored_is_fetched_again_on_resuming(
    tmp_path: Path, store: MemoryStore
):
    service = Service()
    store.errors = [ArchiveError("no space left")]
    with pytest.raises(ArchiveError, match="space"):
        go(tmp_path, service, store)
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]
    assert service.runs == {0: 1, 1: 1, 2: 1}


def test_jobs_that_end_with_their_process_are_run_again(tmp_path: Path, store: MemoryStore):
    service = Service()
    life = Life(dies_at=14)
    with pytest.raises(Killed):
        go(tmp_path, service, store, life=life, jobs_outlive_process=False)
    service.jobs.clear()
    go(tmp_path, service, store, jobs_outlive_process=False)
    assert done(store) == [0, 1, 2]


def test_stopping_after_submission_leaves_everything_out(tmp_path: Path, store: MemoryStore):
    service = Service()
    experiment = Process(tmp_path, service, store).experiment()
    with experiment.journal:
        submit_only(experiment)
    assert len(experiment.ledger.open_attempts()) == 3
    assert "collect" not in service.calls
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]
    assert service.batches == ["batch0"]


def test_a_job_that_the_service_lost_is_submitted_again(tmp_path: Path, store: MemoryStore):
    service = Service(held=True)
    experiment = Process(tmp_path, service, store).experiment()
    with experiment.journal:
        submit_only(experiment)
    del service.jobs["job1"]
    service.held = False
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]
    assert service.runs == {0: 1, 1: 1, 2: 1}


def test_a_result_that_was_damaged_on_disk_is_fetched_again(tmp_path: Path, store: MemoryStore):
    service = Service()
    go(tmp_path, service, store)
    del store.outcomes[1, 1]
    go(tmp_path, service, store)
    assert done(store) == [0, 1, 2]
    assert service.runs == {0: 1, 1: 1, 2: 1}


SUBMISSIONS = st.lists(
    st.sampled_from(
        [
            create_first,
            create_never,
            create_twice,
            BusyError("429", 1.0),
            BusyError("slots", needs_slot=True),
        ]
    ),
    max_size=4,
)
FAILURES = st.dictionaries(
    st.integers(0, 3),
    st.lists(st.sampled_from(["transient", "expired", "lost"]), max_size=2).map(
        lambda failures: [*failures, None]
    ),
    max_size=3,
)


@settings(max_examples=80)
@given(
    kills=st.lists(st.integers(1, 60), max_size=4),
    on_submit=SUBMISSIONS,
    ends=FAILURES,
    torn=st.integers(0, 40),
)
def test_wherever_it_is_killed_nothing_is_lost_and_nothing_runs_twice(
    tmp_path_factory: pytest.TempPathFactory,
    kills: list[int],
    on_submit: list[Any],
    ends: dict[int, list[Any]],
    torn: int,
):
    run_dir = tmp_path_factory.mktemp("run")
    service, store = Service(ends=dict(ends), on_submit=list(on_submit)), MemoryStore()
    for dies_at in kills:
        try:
            go(run_dir, service, store, num_partitions=4, life=Life(dies_at))
        except Killed:
            with (run_dir / JOURNAL_NAME).open("ab") as file:
                file.write(b'{"time":"2026-11-22T12:00:00Z","event":"submi'[:torn])
    go(run_dir, service, store, num_partitions=4, policy=ExecutionPolicy(retries=9, follow_ups=9))
    ledger = read_ledger(run_dir)
    assert ledger.done == {0, 1, 2, 3}
    assert not ledger.open_attempts()
    assert set(done(store)) == {0, 1, 2, 3}
    # What ran and was paid for is in the store, and nothing was paid for twice, but for those
    # that the service itself had run before they could be cancelled.
    for index in range(4):
        kept = [key for key, outcome in store.outcomes.items() if key[0] == index]
        assert sum(store.outcomes[key].state == "DONE" for key in kept) == 1
        doubled = sum(
            job.id in ledger.duplicates
            for job in service.jobs.values()
            if job.partition == index and job.state == "DONE"
        )
        assert service.runs[index] == 1 + doubled
    # Harmless once more.
    before = len(service.jobs)
    go(run_dir, service, store, num_partitions=4)
    assert len(service.jobs) == before


def test_ended_is_no_state_that_a_resumed_run_keeps(tmp_path: Path, store: MemoryStore):
    process = go(tmp_path, Service(), store)
    experiment = process.experiment()
    with experiment.journal:
        experiment.journal.append(Ended("complete"))
        assert experiment.ledger.ended == "complete"
        experiment.journal.append(Resumed("host", 1, "0"))
        assert experiment.ledger.ended is None
