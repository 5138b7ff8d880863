"""The batch stage against an engine that does exactly what a test says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from qexp.batch.execute import execute
from qexp.core.model import JobOutcome, JobRequest, Partition, PrimitiveSpec
from qexp.core.observer import Observer
from qexp.errors import EngineError


def request(index: int) -> JobRequest:
    partition = Partition(index, "main", index, index + 1, 10, None, 10, 100, 2.0, "end")
    return JobRequest(partition, PrimitiveSpec("sampler"), list, (), 1)


@dataclass
class ScriptedBatch:
    """States come from `script`, one mapping a poll; the last one stays."""

    script: list[dict[str, str]]
    refuse_from: int | None = None
    collect_error: BaseException | None = None
    id: str = "b1"
    queue: int | None = None
    log: list[Any] = field(default_factory=list)

    def details(self):
        self.log.append("details")
        return {"id": self.id, "closed": "close" in self.log}

    def submit(self, job):
        if self.refuse_from is not None and job.partition.index >= self.refuse_from:
            raise EngineError("refused")
        self.log.append(f"submit {job.partition.index}")
        return f"j{job.partition.index}"

    def close(self):
        self.log.append("close")

    def queue_length(self):
        return self.queue

    def abandon(self):
        self.log.append("abandon")

    def states(self):
        self.log.append("states")
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def wait(self, timeout_s):
        self.log.append("wait")

    def collect(self, job_id):
        if self.collect_error is not None:
            raise self.collect_error
        self.log.append(f"collect {job_id}")
        state = self.script[0][job_id]
        return JobOutcome(job_id, int(job_id[1:]), state, result=None)


class ScriptedEngine:
    name = "scripted"

    def __init__(self, batch: ScriptedBatch) -> None:
        self.batch = batch

    def open_batch(self, backend, *, max_time_s):
        self.opened_with = (backend, max_time_s)
        return self.batch


def run(batch: ScriptedBatch, num_jobs: int = 2):
    details: list[Any] = []
    outcomes: list[JobOutcome] = []
    report = execute(
        ScriptedEngine(batch),
        "backend",
        (request(index) for index in range(num_jobs)),
        max_time_s=60,
        on_details=lambda opened, final: details.append((opened, final)),
        on_outcome=outcomes.append,
        observer=Observer(),
    )
    return report, details, outcomes


def test_everything_is_submitted_then_closed_then_collected_as_jobs_finish():
    batch = ScriptedBatch(
        [
            {"j0": "QUEUED", "j1": "RUNNING"},
            {"j0": "QUEUED", "j1": "DONE"},
            {"j0": "DONE", "j1": "DONE"},
        ]
    )
    report, details, outcomes = run(batch)
    assert report.failure is None
    assert report.states == {0: "DONE", 1: "DONE"}
    assert [outcome.job_id for outcome in outcomes] == ["j1", "j0"]
    log = [item for item in batch.log if item not in {"states", "wait"}]
    assert log == [
        "details",
        "submit 0",
        "submit 1",
        "close",
        "collect j1",
        "collect j0",
        "details",
        "close",
    ]
    opened, final = details[-1]
    assert opened["closed"] is False
    assert final["closed"] is True


def test_there_is_one_poll_for_each_wait():
    batch = ScriptedBatch([{"j0": "QUEUED"}, {"j0": "QUEUED"}, {"j0": "DONE"}])
    run(batch, 1)
    assert Counter(batch.log)["states"] == 3
    assert Counter(batch.log)["wait"] == 2


def test_a_refused_submission_closes_the_batch_and_keeps_what_was_submitted():
    batch = ScriptedBatch([{"j0": "DONE"}], refuse_from=1)
    report, _, outcomes = run(batch, 3)
    assert isinstance(report.failure, EngineError)
    assert [outcome.partition for outcome in outcomes] == [0]
    assert batch.log.index("close") < batch.log.index("collect j0")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("x"), EngineError("x")])
def test_the_batch_is_closed_on_every_way_out(error):
    batch = ScriptedBatch([{"j0": "DONE", "j1": "DONE"}], collect_error=error)
    report, details, outcomes = run(batch)
    assert report.failure is error
    # What was submitted can still be found: no job id is lost.
    assert [(outcome.job_id, outcome.result) for outcome in outcomes] == [
        ("j0", None),
        ("j1", None),
    ]
    assert batch.log[-2:] == ["abandon", "close"]
    assert details[0][0]["id"] == "b1"


def test_failed_jobs_are_outcomes():
    batch = ScriptedBatch([{"j0": "ERROR", "j1": "CANCELLED"}])
    report, _, outcomes = run(batch)
    assert report.failure is None
    assert report.states == {0: "ERROR", 1: "CANCELLED"}
    assert len(outcomes) == 2


def execute_with(batch: ScriptedBatch, on_outcome, num_jobs: int = 2):
    return execute(
        ScriptedEngine(batch),
        "backend",
        (request(index) for index in range(num_jobs)),
        max_time_s=60,
        on_details=lambda opened, final: None,
        on_outcome=on_outcome,
        observer=Observer(),
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full")])
def test_an_outcome_whose_writing_was_interrupted_is_written_again(error):
    saved: dict[str, JobOutcome] = {}
    errors = [error]

    def save(outcome: JobOutcome) -> None:
        # As when the interruption comes after the file was renamed: writing again replaces it.
        saved[outcome.job_id] = outcome
        if errors:
            raise errors.pop()

    report = execute_with(ScriptedBatch([{"j0": "DONE", "j1": "QUEUED"}]), save)
    assert report.failure is error
    assert {key: outcome.state for key, outcome in saved.items()} == {"j0": "DONE", "j1": "QUEUED"}
    assert report.states == {0: "DONE", 1: "QUEUED"}


def test_when_nothing_can_be_written_the_first_failure_is_reported():
    def full(outcome: JobOutcome) -> None:
        raise OSError(f"disk full at {outcome.job_id}")

    report = execute_with(ScriptedBatch([{"j0": "DONE", "j1": "DONE"}]), full)
    assert str(report.failure) == "disk full at j0"
    assert report.states == {0: "QUEUED", 1: "QUEUED"}


def test_a_job_that_cannot_be_fetched_does_not_cost_the_others():
    class Damaged(ScriptedBatch):
        def collect(self, job_id):
            if job_id == "j0":
                raise EngineError("the service does not answer")
            return super().collect(job_id)

    outcomes: list[JobOutcome] = []
    report = execute_with(Damaged([{"j0": "DONE", "j1": "DONE"}]), outcomes.append)
    assert isinstance(report.failure, EngineError)
    assert [(o.job_id, o.state) for o in outcomes] == [("j1", "DONE"), ("j0", "QUEUED")]
