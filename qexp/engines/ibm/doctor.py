"""Checks of IBM's service for `python -m qexp doctor`: the account, and all that a resume rests on.

They use the engine's own batch, as a run does, with the smallest jobs there are.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from qexp.core.findings import Finding, Report, UnfitError, examine
from qexp.core.model import FINAL_STATES, JOB_TAG, FoundJob, JobRequest, Partition, PrimitiveSpec
from qexp.core.spec import PartitionLimits
from qexp.engines.ibm.batch import IBMBatch
from qexp.engines.ibm.client import client_reason, reading
from qexp.engines.ibm.engine import IBMEngine
from qexp.engines.ibm.transcript import Transcript
from qexp.engines.private_api import attach_session, instance_of
from qexp.errors import BatchOverError, EngineError
from qexp.redact import redact
from qexp.text import format_duration

if TYPE_CHECKING:
    from qiskit.primitives.containers.sampler_pub import SamplerPub
    from qiskit_ibm_runtime import IBMBackend

MAX_TIME_S: Final = 600
"""The batch's time to live: what IBM's Open plan allows."""
_SHOTS: Final = 10
_NUM_PUBS: Final = 2
_JOB_QPU_S: Final = PartitionLimits.job_overhead_s
_MOST_QPU_S: Final = (5, 2, 2)
"""`max_execution_time` of the job that runs, of the one that is cancelled, of the one refused."""
_LATE_PAUSES_S: Final = (2.0, 4.0, 4.0, 8.0)
"""Pauses between further look-ups, once the protocol would have given up."""
_TRIES: Final = 5
_PAUSE_S: Final = 1.0
_SMALL_SKEW_S, _LARGE_SKEW_S = 5.0, 300.0
"""From the latter on, access tokens are taken for valid that have expired, or the other way."""
_SAVE: Final = (
    "save one with QiskitRuntimeService.save_account or set QISKIT_IBM_TOKEN, see README.md; "
    "simulators need none"
)
_WORKLOADS: Final = "https://quantum.cloud.ibm.com/workloads"
_SEND: Final = "send the transcript to qexp's maintainers"


def check_account() -> str:
    """Describe the accounts that IBM's client would find, without a request and without tokens."""
    from qiskit_ibm_runtime import QiskitRuntimeService

    if os.environ.get("QISKIT_IBM_TOKEN"):
        given = {
            key: os.environ.get(f"QISKIT_IBM_{key.upper()}") for key in ("channel", "instance")
        }
        return _described("QISKIT_IBM_TOKEN", given)
    try:
        saved = QiskitRuntimeService.saved_accounts()
    except Exception as error:  # The file can hold anything.
        reason = client_reason(error)
        raise UnfitError(f"the file of saved accounts cannot be read: {reason}") from None
    if not saved:
        raise UnfitError("none: only simulators can be used", "warning", _SAVE)
    return f"saved: {', '.join(_described(*account) for account in sorted(saved.items()))}"


def _described(name: str, account: Mapping[str, Any]) -> str:
    instance = str(account.get("instance") or "found by the client")
    if instance.startswith("crn:"):
        instance = "given by its CRN"
    return redact(f"{name} (channel {account.get('channel') or 'default'}, instance {instance})")


def proposal(backend: IBMBackend) -> list[str]:
    """Describe what would be submitted and what it may cost, by one request.

    Raises:
        EngineError: The service could not be asked.
    """
    with reading(f"reading the status of {backend.name}"):
        pending = int(backend.status().pending_jobs)
    return [
        f"backend    {backend.name}, {backend.num_qubits} qubits, {pending} jobs in its queue",
        f"submits    two jobs of {_NUM_PUBS} one-qubit circuits with {_SHOTS} shots, of which one",
        "           is cancelled; a third, for the closed batch, has to be refused",
        f"QPU time   {2 * _JOB_QPU_S:.0f} s predicted, at most {sum(_MOST_QPU_S)} s "
        "(max_execution_time)",
    ]


def _judge_skew(skew_s: float | None) -> str:
    if skew_s is None:
        raise UnfitError("the service sent no date", "warning", "")
    if abs(skew_s) > _SMALL_SKEW_S:
        found = f"the service's clock is {skew_s:+.0f} s from this one"
        raise UnfitError(found, "problem" if abs(skew_s) > _LARGE_SKEW_S else "warning")
    return f"less than {_SMALL_SKEW_S:.0f} s"


def _not_tried(reason: str) -> UnfitError:
    return UnfitError(f"not tried: {reason}", "warning", "")


@dataclass
class LiveChecks:
    """One batch, two jobs and a third one that must be refused; `run` makes all checks."""

    backend: IBMBackend  # a backend of the service
    report: Report  # takes each finding
    transcript: Transcript  # a new one; takes every request and every finding
    settle_s: float  # time until every listing contains a new job, as the protocol assumes
    wait_s: float  # longest time to wait for the first job, listed every `poll_interval_s`
    poll_interval_s: float = 3.0
    is_stopped: Callable[[], bool] = lambda: False  # asked before each step
    say: Callable[[str], None] = lambda _: None  # takes a line about what is being waited for
    sleep: Callable[[float], None] = time.sleep
    now_s: Callable[[], float] = time.monotonic
    _batch: IBMBatch | None = None
    _jobs: list[str] = field(default_factory=list)
    _outcome: Any = None

    def run(self) -> None:
        """Make all checks; cancel and close what is open, however this ends.

        Raises:
            EngineError: The service could not be asked about the backend.
            KeyboardInterrupt: `is_stopped` said so.
        """
        self._run_tag = f"qexp-run:doctor-{secrets.token_hex(8)}"
        try:
            with self.transcript.recording(self.backend.service):
                self._check_all()
        finally:
            skew = partial(_judge_skew, self.transcript.skew_s())
            self._note(examine("clock skew", skew, "set the clock: timedatectl set-ntp true"))
            if failure := self.transcript.failure:
                self.report(Finding("transcript", "problem", failure, "make room, and try again"))

    def _check_all(self) -> None:
        name, is_over = self.backend.name, False
        no_resume = f"do not rely on resume after a crash, and {_SEND}"
        with reading(f"reading what the service says of {name}"):
            # Again, so that the transcript has all that a replay needs.
            self.backend.service.backend(name, instance=instance_of(self.backend))
            self.backend.refresh()
        try:
            is_over = all(
                [
                    self._check("batch", self._open, "try another backend or instance"),
                    self._check("first job", partial(self._submit_and_find, 0), no_resume),
                    self._check("second job", partial(self._submit_and_find, 1), no_resume),
                    self._check("listing by run", self._list_by_run, no_resume),
                    self._check("listing by batch", self._list_by_batch, _SEND),
                    self._check("cancelling", self._cancel, _SEND),
                    self._check("closing", self._close, f"close it on {_WORKLOADS}, and {_SEND}"),
                    self._check("result", self._collect, _SEND),
                ]
            )
            self._check("usage", self._read_usage, _SEND)
        finally:
            if self._batch is not None and not is_over:
                self._tidy_up(self._batch)

    def _check(self, name: str, check: Callable[[], str], advice: str) -> bool:
        self._pause(0.0)
        finding = examine(name, check, advice)
        self._note(finding)
        return finding.state == "ok"

    def _note(self, finding: Finding) -> None:
        self.transcript.note(finding)
        self.report(finding)

    @property
    def batch(self) -> IBMBatch:
        """The open batch."""
        if self._batch is None:
            raise _not_tried("there is no batch")
        return self._batch

    def _submitted(self) -> list[str]:
        if len(self._jobs) < 2:
            raise _not_tried(f"{len(self._jobs)} of 2 jobs were accepted")
        return self._jobs[:2]

    def _open(self) -> str:
        engine = IBMEngine(poll_interval_s=self.poll_interval_s)
        self._batch = engine.open_batch(self.backend, max_time_s=MAX_TIME_S)
        batch_id, details = self._batch.id, self._batch.details()
        wanted = {"id": batch_id, "backend_name": self.backend.name, "max_time": MAX_TIME_S}
        wrong = [f"{key}={details.get(key)!r}" for key in wanted if details.get(key) != wanted[key]]
        if wrong:
            raise UnfitError(f"{batch_id} was opened, but its details have {', '.join(wrong)}")
        return f"{batch_id} is open, with the details that were asked for"

    def _submit_and_find(self, index: int) -> str:
        request = _tiny_request(self.backend, self._run_tag, index)
        job_id = self.batch.submit(request)
        self._jobs.append(job_id)
        # The protocol looks up at once and after `settle_s`; nobody else needs to know it sooner.
        pauses_s = [*(self.settle_s / part for part in (8, 8, 4, 2)), *_LATE_PAUSES_S]
        began_s = self.now_s()
        while not (found := self.batch.find(request.tag)) and pauses_s:
            self._pause(pauses_s.pop(0))
        after = f"{self.now_s() - began_s:.1f} s after it was accepted"
        if not found:
            raise UnfitError(f"{job_id} is not listed by its tag, {after}")
        sent = (job_id, sorted(request.tags), self.batch.id)
        listed = [(each.job_id, sorted(each.tags), each.batch_id) for each in found]
        if listed != [sent]:
            raise UnfitError(f"{job_id} was sent with tags and batch {sent[1:]}; listed: {listed}")
        when = f"{job_id} was listed by its tag when asked {after}"
        if len(pauses_s) < len(_LATE_PAUSES_S):
            raise UnfitError(f"{when}; the protocol waits for {self.settle_s:.1f} s")
        return f"{when}, with all its tags"

    def _list_by_run(self) -> str:
        return _compare(self.batch.find(self._run_tag), self._submitted(), "the run's tag")

    def _list_by_batch(self) -> str:
        return _compare(self.batch.listed(), self._submitted()[::-1], "the batch")

    def _cancel(self) -> str:
        job_id = self._submitted()[1]
        self.batch.cancel_job(job_id)
        for _ in range(_TRIES):
            state = self.batch.states()[job_id]
            if state in FINAL_STATES:
                if state == "CANCELLED":
                    return f"{job_id} was cancelled"
                has_run = f"{job_id} is {state}: it had run before it could be cancelled"
                raise UnfitError(has_run, "warning")
            self._pause(_PAUSE_S)
        raise UnfitError(f"{job_id} is still {state}, {_TRIES * _PAUSE_S:.0f} s after")

    def _close(self) -> str:
        batch_id = self.batch.id
        self.batch.close()
        for _ in range(_TRIES):
            if self.batch.details().get("accepting_jobs") is False:
                break
            self._pause(_PAUSE_S)
        else:
            raise UnfitError(f"{batch_id} was closed, but says that it still accepts jobs")
        # A second object for the same batch: the first knows that it is closed, and asks nobody.
        again = IBMBatch(attach_session(self.backend, batch_id), self.backend, poll_interval_s=1.0)
        try:
            job_id = again.submit(_tiny_request(self.backend, self._run_tag, 2))
        except BatchOverError:
            return f"{batch_id} says that it accepts no jobs, and refused one"
        self._jobs.append(job_id)
        again.cancel_job(job_id)
        raise UnfitError(f"{job_id} was accepted by a batch that is closed; it was cancelled")

    def _collect(self) -> str:
        job_id, state = self._submitted()[0], "QUEUED"
        until_s, longest = self.now_s() + self.wait_s, format_duration(self.wait_s)
        self.say(f"waiting for job {job_id}, {longest} at most; Ctrl-C cancels it")
        while True:
            with suppress(EngineError):
                state = self.batch.states()[job_id]
            if state in FINAL_STATES:
                break
            if (left_s := until_s - self.now_s()) <= 0:
                raise _not_tried(f"{job_id} is {state} after {longest}")
            self.batch.wait(left_s, self.is_stopped)
            self._pause(0.0)
        outcome = self._outcome = self.batch.collect(job_id)
        if outcome.result is None:
            ended = f"{outcome.state} ({outcome.failure}, code {outcome.error_code})"
            raise UnfitError(f"{job_id} is {ended}: {outcome.error}")
        shapes = [
            {name: (bits.shape, bits.num_shots, bits.num_bits) for name, bits in pub.data.items()}
            for pub in outcome.result
        ]
        if shapes != [{"meas": ((), _SHOTS, 1)}] * _NUM_PUBS:
            raise UnfitError(f"{job_id} has the registers (shape, shots, bits) {shapes}")
        ones = [pub.data.meas.get_counts().get("1", 0) for pub in outcome.result]
        counted = f"{ones} ones of [0, {_SHOTS}], {len(outcome.spans)} execution spans"
        return f"{job_id}: {_NUM_PUBS} PUBs with {_SHOTS} shots of 1 bit, {counted}"

    def _read_usage(self) -> str:
        if self._outcome is None:
            raise _not_tried("no job was collected")
        metrics, seconds = self._outcome.metrics, self._outcome.usage_s
        if seconds is None:
            raise UnfitError(f"the metrics lack usage: {dict(metrics)}")
        if (status := metrics["usage"].get("status")) != "complete":
            may_change = f"{seconds} s, {status}: it may change after a job was collected"
            raise UnfitError(may_change, "warning")
        return f"{seconds} QPU seconds are charged, {status}"

    def _tidy_up(self, batch: IBMBatch) -> None:
        """Cancel the batch, which ends what is queued, and then jobs that run."""
        reasons, advice, jobs = ["interrupted again"], "", set(self._jobs)
        try:
            with suppress(EngineError):
                jobs |= {job.job_id for job in batch.find(self._run_tag)}
            cancels: list[Callable[[], None]] = [batch.cancel]
            cancels += [partial(batch.cancel_job, job_id) for job_id in sorted(jobs)]
            for number in range(_TRIES):
                self.sleep(_PAUSE_S if number else 0.0)
                if not (reasons := [text for each in cancels if (text := _failure(each))]):
                    break
        finally:
            # Also on a second Ctrl-C.
            found = f"batch {batch.id}: {'; '.join(reasons) or 'it was cancelled, and is over'}"
            if reasons:
                advice = f"cancel it on {_WORKLOADS}; it ends by itself after {MAX_TIME_S} s"
            self._note(Finding("left behind", "problem" if reasons else "ok", found, advice))

    def _pause(self, seconds: float) -> None:
        if seconds:
            self.sleep(seconds)
        if self.is_stopped():
            raise KeyboardInterrupt("interrupted; the findings so far are in the transcript")


def _failure(cancel: Callable[[], None]) -> str:
    """Cancel something; return why that failed, or an empty text."""
    try:
        cancel()
    except EngineError as error:
        return str(error)
    return ""


def _compare(found: Sequence[FoundJob], wanted: list[str], by: str) -> str:
    listed = [job.job_id for job in found]
    if listed != wanted:
        are = ", ".join(wanted)
        raise UnfitError(f"the jobs of {by} are {are}, listed are {listed or 'none'}")
    return f"exactly the {len(wanted)} jobs of {by} are listed, in order"


def _tiny_request(backend: IBMBackend, run_tag: str, index: int) -> JobRequest:
    """Return the smallest job there is, with tags as those of a run."""
    tag = f"{JOB_TAG}{index}.1:{secrets.token_hex(8)}"
    executions, options = _NUM_PUBS * _SHOTS, {"max_execution_time": _MOST_QPU_S[index]}
    return JobRequest(
        Partition(index, "doctor", 0, _NUM_PUBS, _SHOTS, None, executions, 0, _JOB_QPU_S, "end"),
        PrimitiveSpec("sampler", shots=_SHOTS, options=options),
        partial(_tiny_pubs, backend),
        tags=("qexp", run_tag, tag),
        seed=0,
        tag=tag,
    )


def _tiny_pubs(backend: IBMBackend) -> list[SamplerPub]:
    """Return two PUBs of one qubit each: one that measures 0, one that measures 1."""
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.sampler_pub import SamplerPub
    from qiskit.transpiler import generate_preset_pass_manager

    passes = generate_preset_pass_manager(optimization_level=1, backend=backend)
    circuits = [QuantumCircuit(1, name=f"doctor-{index}") for index in range(_NUM_PUBS)]
    circuits[1].x(0)
    for circuit in circuits:
        circuit.measure_all()
    return [SamplerPub.coerce(passes.run(circuit), _SHOTS) for circuit in circuits]
