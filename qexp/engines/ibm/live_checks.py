"""Checks of IBM's service on the user's own account: everything the crash protocol rests on.

They use the engine's own batch, as a run does, with the smallest jobs there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from qexp.core.findings import Finding, Report
from qexp.core.model import FINAL_STATES, FoundJob
from qexp.engines.ibm.batch import IBMBatch
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.tiny_jobs import NUM_PUBS, SHOTS, tiny_requests
from qexp.engines.private_api import attach_session
from qexp.errors import BatchOverError, EngineError, UnclearError
from qexp.text import format_duration, typed_reason

if TYPE_CHECKING:
    from qiskit_ibm_runtime import IBMBackend

MAX_TIME_S: Final = 600
"""The batch's time to live: what IBM's Open plan allows."""
_LATE_PAUSES_S: Final = (2.0, 4.0, 4.0, 8.0)
"""Pauses between further look-ups, once the protocol would have given up."""
_WORKLOADS: Final = "https://quantum.cloud.ibm.com/workloads"
_TRIES: Final = 5
_PAUSE_S: Final = 1.0

Verdict: TypeAlias = tuple[Literal["ok", "warning", "problem"], str]


class _NotTriedError(Exception):
    """A check that needs what an earlier one did not get."""


@dataclass
class LiveChecks:
    """One batch, two jobs and a third one that must be refused; `run` makes all checks.

    Attributes:
        backend: A backend of the service.
        report: Takes each finding.
        settle_s: Time until every listing contains a new job, as the protocol assumes.
        wait_s: Longest time to wait for the first job.
        poll_interval_s: Seconds between two listings meanwhile.
        is_stopped: Asked before each step.
        say: Takes a line about what is being waited for.
    """

    backend: IBMBackend
    report: Report
    settle_s: float
    wait_s: float
    poll_interval_s: float = 3.0
    is_stopped: Callable[[], bool] = lambda: False
    say: Callable[[str], None] = lambda _: None
    sleep: Callable[[float], None] = time.sleep
    now_s: Callable[[], float] = time.monotonic
    _batch: IBMBatch | None = None
    _jobs: dict[int, str] = field(default_factory=dict)  # job ids, by the index of the request
    _open_jobs: set[str] = field(default_factory=set)  # those not known to have ended
    _outcome: Any = None
    _is_closing: bool = False  # the service says that it takes no more jobs
    _is_closed: bool = False  # the service says that it is over
    _is_unclear: bool = False  # there may be a job that nobody knows

    def run(self) -> None:
        """Make all checks; cancel and close what is open, however this ends.

        Raises:
            KeyboardInterrupt: `is_stopped` said so.
        """
        self._engine = IBMEngine(poll_interval_s=self.poll_interval_s)
        self._run_tag, self._requests = tiny_requests(self.backend)
        try:
            for name, check, advice in self._checks():
                self._raise_if_stopped()
                self.report(self._finding(name, check, advice))
        finally:
            self._tidy_up()

    def _checks(self) -> Sequence[tuple[str, Callable[[], Verdict], str]]:
        send = "send the transcript to qexp's maintainers"
        tag_advice = f"do not rely on resume after a crash, and {send}"
        return (
            ("batch", self._check_opening, "see IBM's message; try another backend or instance"),
            ("first job", lambda: self._check_job(0), tag_advice),
            ("second job", lambda: self._check_job(1), tag_advice),
            ("listing by run", self._check_run_tag, tag_advice),
            ("listing by batch", self._check_batch_listing, send),
            ("job by id", self._check_look_up, tag_advice),
            ("cancelling", self._check_cancelling, send),
            ("closing", self._check_closing, f"close it on {_WORKLOADS}, and {send}"),
            ("closed batch", self._check_refusal, send),
            ("result", self._check_result, send),
            ("usage", self._check_usage, send),
            ("batch at the end", self._check_end, send),
        )

    def _finding(self, name: str, check: Callable[[], Verdict], advice: str) -> Finding:
        try:
            state, found = check()
        except _NotTriedError as reason:
            return Finding(name, "warning", f"not tried: {reason}")
        except EngineError as error:
            return Finding(name, "problem", str(error), advice)
        except Exception as error:  # Anything may come back from a service that nobody has tried.
            return Finding(name, "problem", typed_reason(error), advice)
        return Finding(name, state, found, "" if state == "ok" else advice)

    @property
    def batch(self) -> IBMBatch:
        """The open batch."""
        if self._batch is None:
            raise _NotTriedError("there is no batch")
        return self._batch

    def _check_opening(self) -> Verdict:
        self._batch = self._engine.open_batch(self.backend, max_time_s=MAX_TIME_S)
        details = self.batch.details()
        wanted = {
            "id": self.batch.id,
            "backend_name": self.backend.name,
            "mode": "batch",
            "max_time": MAX_TIME_S,
            "accepting_jobs": True,
        }
        wrong = [f"{key}={details.get(key)!r}" for key in wanted if details.get(key) != wanted[key]]
        if wrong:
            return "problem", f"{self.batch.id} was opened, but its details have {', '.join(wrong)}"
        return "ok", f"{self.batch.id} is open, with the details that were asked for"

    def _check_job(self, index: int) -> Verdict:
        request = self._requests[index]
        job_id = self._jobs[index] = self._submit(self.batch, index)
        began_s = self.now_s()
        # The protocol looks up at once and after `settle_s`; nobody else needs to know it sooner.
        in_time = [0.0, *(self.settle_s / part for part in (8, 8, 4, 2))]
        for number, pause_s in enumerate((*in_time, *_LATE_PAUSES_S)):
            self._sleep(pause_s)
            asked_s = self.now_s() - began_s
            found = self.batch.find(request.tag)
            if found:
                # Duplicates, too.
                self._open_jobs.update(job.job_id for job in found)
                return self._judge(job_id, found, asked_s, is_late=number >= len(in_time))
        lost_s = self.now_s() - began_s
        return "problem", f"{job_id} is not listed by its tag, {lost_s:.1f} s after it was accepted"

    def _submit(self, batch: IBMBatch, index: int) -> str:
        try:
            job_id = batch.submit(self._requests[index])
        except UnclearError:
            self._is_unclear = True
            raise
        self._open_jobs.add(job_id)
        return job_id

    def _judge(
        self, job_id: str, found: Sequence[FoundJob], asked_s: float, *, is_late: bool
    ) -> Verdict:
        """Judge what was listed by the tag of one job."""
        when = f"listed by its tag when asked {asked_s:.1f} s after it was accepted"
        if [job.job_id for job in found] != [job_id]:
            return "problem", f"{job_id}: {len(found)} jobs have its tag"
        (job,) = found
        tags = next(each.tags for each in self._requests if each.tag in job.tags)
        if sorted(job.tags) != sorted(tags):
            return "problem", f"{job_id} was sent with tags {tags} and is listed with {job.tags}"
        if job.batch_id != self.batch.id:
            return "problem", f"{job_id} is listed as one of batch {job.batch_id!r}"
        if is_late:
            return "problem", f"{job_id} was {when}; the protocol waits for {self.settle_s:.1f} s"
        return "ok", f"{job_id} was {when}, with all its tags"

    def _check_run_tag(self) -> Verdict:
        return self._compare(self.batch.find(self._run_tag), self._submitted(), "the run's tag")

    def _check_batch_listing(self) -> Verdict:
        return self._compare(self.batch.listed(), self._submitted()[::-1], "the batch")

    def _compare(self, found: Sequence[FoundJob], wanted: list[str], by: str) -> Verdict:
        listed = [job.job_id for job in found]
        if listed == wanted:
            return "ok", f"exactly the {len(wanted)} jobs of {by} are listed, in order"
        return "problem", f"the jobs of {by} are {', '.join(wanted)}, listed are {listed or 'none'}"

    def _check_look_up(self) -> Verdict:
        job_id = self._submitted()[0]
        attached = self._engine.attach_batch(self.backend, self.batch.id)
        attached.look_up(job_id)
        return "ok", f"{job_id} is found by its id"

    def _check_cancelling(self) -> Verdict:
        job_id = self._submitted()[1]
        self.batch.cancel_job(job_id)
        for _ in range(_TRIES):
            state = self.batch.states()[job_id]
            if state in FINAL_STATES:
                self._open_jobs.discard(job_id)
                if state == "CANCELLED":
                    return "ok", f"{job_id} was cancelled"
                return "warning", f"{job_id} is {state}: it had run before it could be cancelled"
            self._sleep(_PAUSE_S)
        return "problem", f"{job_id} is still {state}, {_TRIES * _PAUSE_S:.0f} s after"

    def _check_closing(self) -> Verdict:
        self.batch.close()
        for _ in range(_TRIES):
            details = self.batch.details()
            if details.get("accepting_jobs") is False:
                self._is_closing = True
                return "ok", f"{self.batch.id} is {details.get('state')} and accepts no jobs"
            self._sleep(_PAUSE_S)
        return "problem", f"{self.batch.id} was closed, but says that it still accepts jobs"

    def _check_refusal(self) -> Verdict:
        if not self._is_closing:
            raise _NotTriedError("the batch is not closed")
        # A second object for the same batch: the first knows that it is closed, and asks nobody.
        session = attach_session(self.backend, self.batch.id)
        again = IBMBatch(session, self.backend, poll_interval_s=self.poll_interval_s)
        try:
            job_id = self._submit(again, 2)
        except BatchOverError:
            return "ok", "a further job was refused, because the batch is over"
        again.cancel_job(job_id)
        return "problem", f"{job_id} was accepted by a batch that is closed; it was cancelled"

    def _check_result(self) -> Verdict:
        job_id = self._submitted()[0]
        self._wait_for(job_id)
        outcome = self._outcome = self.batch.collect(job_id)
        if outcome.result is None:
            code = "" if outcome.error_code is None else f", code {outcome.error_code}"
            kind = f"{outcome.failure}{code}"
            return "problem", f"{job_id} is {outcome.state} ({kind}): {outcome.error}"
        shapes = [
            {name: (bits.shape, bits.num_shots, bits.num_bits) for name, bits in pub.data.items()}
            for pub in outcome.result
        ]
        if shapes != [{"meas": ((), SHOTS, 1)}] * NUM_PUBS:
            return "problem", f"{job_id} has the registers (shape, shots, bits) {shapes}"
        ones = [pub.data.meas.get_counts().get("1", 0) for pub in outcome.result]
        text = f"{job_id}: {NUM_PUBS} PUBs with {SHOTS} shots of 1 bit, {ones} ones of [0, {SHOTS}]"
        return "ok" if outcome.spans else "warning", f"{text}, {len(outcome.spans)} execution spans"

    def _check_usage(self) -> Verdict:
        if self._outcome is None:
            raise _NotTriedError("no job was collected")
        usage, seconds = self._outcome.metrics.get("usage"), self._outcome.usage_s
        times = self._outcome.metrics.get("timestamps") or {}
        lacking = [name for name in ("created", "running", "finished") if not times.get(name)]
        if seconds is None or lacking:
            missing = ", ".join([*lacking, *(["usage"] if seconds is None else [])])
            return "problem", f"the metrics lack {missing}: {dict(self._outcome.metrics)}"
        status = usage.get("status")
        if status != "complete":
            return "warning", f"{seconds} s, {status}: it may change after a job was collected"
        return "ok", f"{seconds} QPU seconds are charged, {status}"

    def _check_end(self) -> Verdict:
        for _ in range(_TRIES):
            details = self.batch.details()
            text = f"{self.batch.id} is {details.get('state')}"
            if details.get("state") == "closed":
                self._is_closed = True
                return "ok", f"{text}, and used {details.get('usage_time')} s"
            self._sleep(_PAUSE_S)
        return "warning", f"{text}, although no job is left"

    def _submitted(self) -> list[str]:
        if len(self._jobs) < 2:
            raise _NotTriedError(f"{len(self._jobs)} of 2 jobs were accepted")
        return [self._jobs[index] for index in sorted(self._jobs)]

    def _wait_for(self, job_id: str) -> None:
        until_s, failures = self.now_s() + self.wait_s, 0
        longest = format_duration(self.wait_s)
        self.say(f"waiting for job {job_id}, {longest} at most; Ctrl-C cancels it")
        while True:
            try:
                state, failures = self.batch.states()[job_id], 0
            except EngineError:
                failures += 1
                if failures == _TRIES:
                    raise
                state = "QUEUED"
            if state in FINAL_STATES:
                self._open_jobs.discard(job_id)
                return
            left_s = until_s - self.now_s()
            if left_s <= 0:
                raise _NotTriedError(f"{job_id} is {state} after {longest}")
            self.batch.wait(left_s, self.is_stopped)
            self._raise_if_stopped()

    def _tidy_up(self) -> None:
        """Cancel what has not ended and close the batch, unless the service says that it is."""
        is_over = self._is_closed and not self._is_unclear and not self._open_jobs
        if self._batch is None or is_over:
            return
        name, batch_id, reason = "left behind", self._batch.id, "interrupted again"
        try:
            reason = self._cancel_all(self._batch)
        finally:
            # Also on a second Ctrl-C.
            if reason:
                advice = f"cancel it on {_WORKLOADS}; it ends by itself after {MAX_TIME_S} s"
                self.report(Finding(name, "problem", f"batch {batch_id}: {reason}", advice))
        if not reason:
            self.report(Finding(name, "ok", f"nothing: batch {batch_id} was cancelled"))

    def _cancel_all(self, batch: IBMBatch) -> str:
        """Cancel the batch, then jobs that run; return why that failed, or an empty text."""
        reasons: list[str] = []
        for number in range(_TRIES):
            self.sleep(_PAUSE_S if number else 0.0)
            reasons.clear()
            jobs = [partial(batch.cancel_job, job_id) for job_id in sorted(self._open_jobs)]
            cancels: list[Callable[[], None]] = [batch.cancel, *jobs]
            for cancel in cancels:
                try:
                    cancel()
                except EngineError as error:
                    reasons.append(str(error))
            if not reasons:
                break
        return "; ".join(reasons)

    def _sleep(self, seconds: float) -> None:
        self.sleep(seconds)
        self._raise_if_stopped()

    def _raise_if_stopped(self) -> None:
        if self.is_stopped():
            raise KeyboardInterrupt("interrupted; the findings so far are in the transcript")
