"""The state of a run on disk and on the service, read without a lock and without changing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from qexp.archive.parts import StoredParts
from qexp.archive.read import open_archive
from qexp.archive.schema import JOURNAL_NAME
from qexp.batch.request import run_tag
from qexp.core.model import FINAL_STATES, Charge, FoundJob, charged_s, is_charge_pending
from qexp.core.protocols import RemoteEngine
from qexp.core.spec import RunSpec
from qexp.errors import EngineError
from qexp.journal.file import read_ledger
from qexp.journal.ledger import Attempt, Ledger
from qexp.points import finished_archive, resume_command
from qexp.text import format_duration, short_path

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

PartitionState: TypeAlias = Literal[
    "done", "running", "queued", "unlisted", "failed", "unsubmitted"
]


@dataclass(frozen=True)
class RunState:
    """The state of a run at the moment when it was asked for.

    Attributes:
        state: `"complete"`; `"out"`: jobs are on the service, or finished and not collected;
            `"cancelled"`; `"not submitted"`; `"unfinished"`: nothing is out, and not all is done.
        batches: Id and state of each batch, in order, as the service reports it; `"closed"` or
            `"not closed"` as recorded where it was not asked.
        unlisted: Partitions with a job that the service does not list.
        strays: Ids of jobs with the run's tag that this folder does not know.
        next: Command to type -> what it does.
    """

    path: str
    state: Literal["complete", "out", "cancelled", "not submitted", "unfinished"]
    engine: str
    backend: str | None
    partitions: int = 0
    done: int = 0  # finished on the service, collected or not
    collected: int = 0  # their results are on disk
    running: int = 0
    queued: int = 0
    unlisted: int = 0
    failed: int = 0
    unsubmitted: int = 0
    batches: list[dict[str, str]] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    usage_s: float = 0.0  # QPU seconds charged for all jobs so far
    usage_pending: int = 0  # jobs that run or ran, and whose charge is not final
    predicted_qpu_s: float = 0.0  # of all partitions
    next: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Yield the state as lines of a short table."""
        where = f" on {self.backend}" if self.backend else ""
        yield f"{self.path}: {self.state}{where} (engine {self.engine})"
        uncollected = self.done - self.collected
        counts = {
            "done" + (f" ({uncollected} not collected yet)" if uncollected else ""): self.done,
            "running": self.running,
            "queued": self.queued,
            "failed": self.failed,
            "never submitted": self.unsubmitted,
        }
        if self.unlisted:
            counts["not listed by the service"] = self.unlisted
        listed = ", ".join(f"{number} {name}" for name, number in counts.items())
        yield f"  partitions  {self.partitions}: {listed}"
        if self.batches:
            listed = ", ".join(f"{batch['id']} ({batch['state']})" for batch in self.batches)
            yield f"  batches     {listed}"
        if self.strays:
            listed = ", ".join(self.strays[:3]) + (", ..." if len(self.strays) > 3 else "")
            yield f"  other jobs  {len(self.strays)} carry the run's tag: {listed}"
        if self.engine != "ibm" and self.state != "complete":
            yield f"  note        the jobs of engine '{self.engine}' end with their process"
        yield f"  charged     {self._charged()}"
        width = max(map(len, self.next), default=0)
        for number, (command, purpose) in enumerate(self.next.items()):
            yield f"  {'or' if number else 'next':<12}{command:<{width}}   {purpose}"

    def _charged(self) -> str:
        pending, plural = self.usage_pending, "" if self.usage_pending == 1 else "s"
        told = f"{format_duration(self.usage_s)} so far"
        told += f", {pending} charge{plural} pending" if pending else ""
        return f"{told} (predicted for all: {format_duration(self.predicted_qpu_s)})"


def read_state(spec: RunSpec, folder: Path) -> RunState:
    """Read the state of a run; submit, cancel and write nothing.

    Args:
        spec: The run, as recorded.
        folder: Its folder, in which another process may be working.

    Raises:
        ConfigError: The backend or the account is not available, or there is only the archive of an
            unfinished run.
        EngineError: The service could not be asked, or knows none of the jobs that are out.
        ArchiveError: The journal or a part is damaged.
    """
    ledger = read_ledger(folder) if (folder / JOURNAL_NAME).exists() else Ledger()
    if finished_archive(folder) is not None:
        return _complete(spec, folder, ledger)
    store = StoredParts(folder)
    header = store.read_header() if store.has_header else {"backend": {}}
    charges, found = store.charges(), _Found()
    states: dict[int, PartitionState] = {}
    if ledger.batches and isinstance(spec.engine, RemoteEngine):
        backend = spec.select_backend(header["backend"].get("name"))
        found = _ask(spec.engine, backend, str(header["run_id"]), ledger, charges)
    if ledger.committed is not None:
        states = {p: _partition_state(ledger, found, p) for p in range(ledger.num_partitions)}
    if not isinstance(spec.engine, RemoteEngine):
        # What a process has not finished is run again from the start.
        states = {p: "done" if state == "done" else "unsubmitted" for p, state in states.items()}
    counts = Counter(states.values())
    collected = len(ledger.done)
    is_out = counts["running"] + counts["queued"] + counts["unlisted"] + counts["done"] > collected
    all_charges = [*found.charges.values(), *(c for k, c in charges.items() if k not in found.keys)]
    return RunState(
        path=short_path(folder),
        state=_word(ledger, is_out=is_out),
        engine=spec.engine.name,
        backend=header["backend"].get("name"),
        partitions=len(states),
        **{name: counts[name] for name in get_args(PartitionState)},
        collected=collected,
        batches=_batches(ledger, found),
        strays=found.strays,
        usage_s=sum(seconds for seconds, _ in all_charges),
        usage_pending=sum(is_pending for _, is_pending in all_charges),
        predicted_qpu_s=sum(partition.qpu_s for partition in store.read_partitions()),
        next=_next(spec, folder, ledger, counts, is_out=is_out),
    )


def _complete(spec: RunSpec, folder: Path, ledger: Ledger) -> RunState:
    """Return the state of a run with nothing left to do, from its archive."""
    with open_archive(folder) as archive:
        jobs = list(archive.jobs)
        backend = archive.backend.get("name")
    predicted = {job.partition: job.predicted_qpu_s for job in jobs}
    return RunState(
        path=short_path(folder),
        state="complete",
        engine=spec.engine.name,
        backend=backend,
        partitions=len(predicted),
        done=len(predicted),
        collected=len(predicted),
        batches=_batches(ledger, _Found()),
        usage_s=sum(job.usage_s or 0.0 for job in jobs),
        usage_pending=sum(is_charge_pending(job.metrics) for job in jobs),
        predicted_qpu_s=sum(predicted.values()),
    )


@dataclass
class _Found:
    """The answers of the service."""

    jobs: dict[tuple[int, int], list[FoundJob]] = field(default_factory=dict)  # by attempt
    strays: list[str] = field(default_factory=list)
    charges: dict[str, Charge] = field(default_factory=dict)  # by job id
    keys: set[tuple[int, int]] = field(default_factory=set)  # attempts whose charges those are
    batches: dict[str, str] = field(default_factory=dict)  # id -> state


def _ask(
    engine: RemoteEngine,
    backend: BackendV2,
    run_id: str,
    ledger: Ledger,
    stored: Mapping[tuple[int, int], Charge],
) -> _Found:
    """Ask for the run's jobs, the charges that are not final on disk, and the batches."""
    found = _Found()
    attempts = {name: one for one in ledger.all_attempts() for name in (one.tag, one.job) if name}
    for job in engine.find_jobs(backend, run_tag(run_id)):
        attempt = next(
            (attempts[name] for name in (job.job_id, *job.tags) if name in attempts), None
        )
        key = None if attempt is None else (attempt.partition, attempt.number)
        if key is None:
            found.strays.append(job.job_id)
        else:
            found.jobs.setdefault(key, []).append(job)
        is_own = attempt is not None and attempt.job in (None, job.job_id)
        if is_own and key is not None and key in stored and not stored[key][1]:
            continue
        charge = _charge(engine, backend, job)
        if charge is not None:
            found.charges[job.job_id] = charge
            if is_own and key is not None:
                found.keys.add(key)
    for opened in ledger.batches:
        try:
            details = engine.attach_batch(backend, opened.batch).details()
            found.batches[opened.batch] = str(details.get("state") or "of unknown state")
        except EngineError as error:
            found.batches[opened.batch] = "not known to this account"
            _refuse_other_account(ledger.open_attempts(), found, error)
    return found


def _refuse_other_account(out: Sequence[Attempt], found: _Found, error: EngineError) -> None:
    if any(attempt.job for attempt in out) and not found.jobs:
        raise EngineError(
            f"the account or instance in use knows none of this run's jobs ({error}); name the one "
            f"that has them, also if it was renamed or moved: backend.instance=NAME"
        ) from None


def _charge(engine: RemoteEngine, backend: BackendV2, job: FoundJob) -> Charge | None:
    """Return what a job is charged; None for one that has not begun to run."""
    if job.state not in FINAL_STATES:
        return (0.0, True) if job.state == "RUNNING" else None
    metrics = engine.read_metrics(backend, job.job_id)
    return charged_s(metrics) or 0.0, is_charge_pending(metrics)


def _partition_state(ledger: Ledger, found: _Found, partition: int) -> PartitionState:
    if partition in ledger.done:
        return "done"
    attempts = ledger.attempts.get(partition, [])
    # A job of an attempt that was given up may have turned up since.
    open_ones = [one for one in attempts if not one.is_over or (one.job or one.state) is None]
    jobs = [job for one in open_ones for job in found.jobs.get((partition, one.number), ())]
    states = {job.state for job in jobs}
    if "DONE" in states:
        return "done"
    if "RUNNING" in states:
        return "running"
    if states & {"QUEUED", "INITIALIZING"}:
        return "queued"
    if not states and any(one.job and not one.is_over for one in open_ones):
        return "unlisted"
    return "failed" if states or any(one.is_over for one in attempts) else "unsubmitted"


def _word(
    ledger: Ledger, *, is_out: bool
) -> Literal["out", "cancelled", "not submitted", "unfinished"]:
    if not ledger.batches:
        return "not submitted"
    if is_out:
        return "out"
    return "cancelled" if ledger.is_cancelled else "unfinished"


def _batches(ledger: Ledger, found: _Found) -> list[dict[str, str]]:
    def state(batch: str) -> str:
        return found.batches.get(batch, "closed" if batch in ledger.closed else "not closed")

    return [{"id": opened.batch, "state": state(opened.batch)} for opened in ledger.batches]


def _next(
    spec: RunSpec,
    folder: Path,
    ledger: Ledger,
    counts: Mapping[PartitionState, int],
    *,
    is_out: bool,
) -> dict[str, str]:
    """Return the commands that may follow, and what each does."""

    def command(*words: str, verb: str = "resume") -> str:
        return resume_command(folder, spec.config_yaml, *words, *spec.given_anew, verb=verb)

    again = [a[-1].failure for p, a in ledger.attempts.items() if p not in ledger.done]
    is_refused = not is_out and bool(again) and set(again) == {"refused"}
    commands = {}
    if is_out and isinstance(spec.engine, RemoteEngine):
        rest = ", submit the rest" if counts["failed"] + counts["unsubmitted"] else ""
        if not ledger.is_cancelled:
            commands[command()] = f"wait for what is out and collect it{rest}"
        is_waited_for = counts["running"] + counts["queued"] + counts["unlisted"]
        if is_waited_for or rest or ledger.is_cancelled:
            commands[command("--collect-only")] = "take what is finished, submit nothing"
        if is_waited_for:
            commands[command(verb="cancel")] = "cancel what is queued, close the batch"
    elif is_refused and not counts["unsubmitted"]:
        commands[command("--retry-refused")] = "submit again what the service refused"
    else:
        commands[command()] = "submit what has no result"
    return commands
