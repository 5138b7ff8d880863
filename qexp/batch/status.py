"""The state of a run on disk and on the service, read without a lock and without changing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from qexp.archive.jobs import JobRecord
from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME
from qexp.archive.sweep_file import is_sweep, read_sweep
from qexp.batch.batches import command_to_resume
from qexp.batch.budget import Budget, charges_of
from qexp.batch.packing import read_plan
from qexp.batch.request import run_tag
from qexp.core.model import FINAL_STATES, Charge, FoundJob, JobState, charged_s, is_charge_pending
from qexp.core.protocols import RemoteEngine
from qexp.core.spec import RunSpec
from qexp.errors import EngineError
from qexp.journal.file import ReadJournal, read_ledger
from qexp.journal.ledger import Attempt, Ledger
from qexp.points import Experiment, Point, points_in
from qexp.resumption import finished_archive
from qexp.text import format_duration, short_path

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

PartitionState: TypeAlias = Literal[
    "done", "running", "queued", "unlisted", "failed", "unsubmitted"
]

_FURTHEST_FIRST: Final[tuple[PartitionState, ...]] = get_args(PartitionState)
_STATES: Final[Mapping[JobState, PartitionState]] = {
    "DONE": "done",
    "RUNNING": "running",
    "QUEUED": "queued",
    "INITIALIZING": "queued",
    "ERROR": "failed",
    "CANCELLED": "failed",
}


@dataclass(frozen=True)
class RunState:
    """The state of a run at the moment when it was asked for.

    A run is `"out"` while jobs are on the service, or finished and not collected, and
    `"unfinished"` if nothing is out, and not all is done. The state of a batch is as the service
    reports it; `"closed"` or `"not closed"` as recorded where it was not asked.
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
    unlisted: int = 0  # partitions with a job that the service does not list
    failed: int = 0
    unsubmitted: int = 0
    batches: list[dict[str, str]] = field(default_factory=list)  # id and state of each, in order
    strays: list[str] = field(default_factory=list)  # jobs of the run not known here
    usage_s: float = 0.0  # QPU seconds charged for all jobs so far
    usage_pending: int = 0  # jobs that run or ran, and whose charge is not final
    predicted_qpu_s: float = 0.0  # of all partitions
    next: dict[str, str] = field(default_factory=dict)  # command to type -> what it does

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


def read_state(specs: RunSpec | Sequence[RunSpec], folder: Path) -> RunState:
    """Read the state of a run or a sweep; submit, cancel and write nothing.

    Another process may be working in its folder.

    Raises:
        ConfigError: The backend or the account is not available, or there is only the archive of an
            unfinished run.
        EngineError: The service could not be asked, or knows none of the jobs that are out.
        ArchiveError: The journal or a part is damaged.
    """
    ledger = read_ledger(folder) if (folder / JOURNAL_NAME).exists() else Ledger()
    batches = {
        one.batch: "closed" if one.batch in ledger.closed else "not closed"
        for one in ledger.batches
    }
    points = points_in(folder, specs)
    spec = points[0].spec
    experiment = Experiment(folder, tuple(points), ReadJournal(ledger))
    read_plan(experiment)
    if finished_archive(folder) is not None:
        return _complete(experiment, batches)
    charges = charges_of(points, ledger)
    engine, listed, asked = spec.engine, list[FoundJob](), dict[str, Charge]()
    lanes = _backends(points)
    tag = run_tag(read_sweep(folder).id if is_sweep(folder) else points[0].run_id)
    for number, (place, (name, selecting)) in enumerate(lanes.items()):
        if not (batches and isinstance(engine, RemoteEngine)):
            break
        backend = selecting.select_backend(name)
        found = engine.find_jobs(backend, tag)
        known_ids = {one.job_id for one in listed}
        new = [job for job in found if job.job_id not in known_ids]
        asked |= _ask_charges(engine, backend, new, ledger, charges)
        listed += new
        is_out = any(attempt.job for attempt in ledger.open_attempts())
        is_lost = not listed and is_out and number == len(lanes) - 1
        asked_for = [one.batch for one in ledger.batches if points[one.point].spec.place == place]
        batches |= _ask_batches(engine, backend, asked_for, is_lost=is_lost)
    # Of two jobs with the tag of one attempt, the first one counts.
    jobs = {name: job for job in reversed(listed) for name in (*job.tags, job.job_id)}
    states = [partition_state(ledger, jobs, index) for index in range(ledger.num_partitions)]
    if not isinstance(engine, RemoteEngine):
        # What a process has not finished is run again from the start.
        states = ["done" if state == "done" else "unsubmitted" for state in states]
    counts, collected = Counter(states), len(ledger.done)
    is_waited_for = bool(counts["running"] + counts["queued"] + counts["unlisted"])
    is_out = is_waited_for or counts["done"] > collected
    own = (jobs.get(one.job or one.tag) for one in ledger.all_attempts())
    known_jobs = ledger.duplicates | {job.job_id for job in own if job is not None}
    return RunState(
        path=short_path(folder),
        state=_word(ledger, is_out=is_out),
        engine=engine.name,
        backend=_names(lanes),
        partitions=len(states),
        **{name: counts[name] for name in _FURTHEST_FIRST},
        collected=collected,
        batches=_rows(batches),
        strays=[job.job_id for job in listed if job.job_id not in known_jobs],
        usage_s=sum(seconds for seconds, _ in (*charges.values(), *asked.values())),
        usage_pending=sum(pending for _, pending in (*charges.values(), *asked.values())),
        predicted_qpu_s=experiment.plan.qpu_s,
        next=_next(experiment, counts, is_out=is_out, is_waited_for=is_waited_for),
    )


def _backends(points: Sequence[Point]) -> dict[str, tuple[str, RunSpec]]:
    """Return the name of the backend of each place, and a spec that selects it."""
    found: dict[str, tuple[str, RunSpec]] = {}
    for point in points:
        if point.spec.place not in found and (name := _name(point)) is not None:
            found[point.spec.place] = name, point.spec
    return found


def _names(lanes: Mapping[str, tuple[str, RunSpec]]) -> str | None:
    return ", ".join(dict.fromkeys(name for name, _ in lanes.values())) or None


def _name(point: Point) -> str | None:
    if point.store.has_header:
        return str(point.store.read_header()["backend"]["name"])
    if not (point.folder / ARCHIVE_NAME).exists():
        return None
    with open_archive(point.folder) as archive:
        return str(archive.backend["name"])


def _complete(experiment: Experiment, batches: Mapping[str, str]) -> RunState:
    """Return the state of an experiment with nothing left to do, from its archives."""
    jobs, predicted = list[JobRecord](), dict[tuple[int, int], float]()
    for point in experiment.points:
        with open_archive(point.folder) as archive:
            own = list(archive.jobs)
        jobs += own
        predicted |= {(point.index, job.partition): job.predicted_qpu_s for job in own}
    return RunState(
        path=short_path(experiment.folder),
        state="complete",
        engine=experiment.engine.name,
        backend=_names(_backends(experiment.points)),
        partitions=len(predicted),
        done=len(predicted),
        collected=len(predicted),
        batches=_rows(batches),
        usage_s=sum(job.usage_s or 0.0 for job in jobs),
        usage_pending=sum(is_charge_pending(job.metrics) for job in jobs),
        # There is no plan without a journal.
        predicted_qpu_s=experiment.plan.qpu_s or sum(predicted.values()),
    )


def _word(
    ledger: Ledger, *, is_out: bool
) -> Literal["out", "cancelled", "not submitted", "unfinished"]:
    if not ledger.batches:
        return "not submitted"
    if is_out:
        return "out"
    return "cancelled" if ledger.is_cancelled else "unfinished"


def _rows(batches: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"id": batch, "state": state} for batch, state in batches.items()]


def _ask_charges(
    engine: RemoteEngine,
    backend: BackendV2,
    listed: Sequence[FoundJob],
    ledger: Ledger,
    charges: dict[tuple[int, int], Charge],
) -> dict[str, Charge]:
    """Return the charges of jobs that have no final one on disk, by id; drop theirs there."""
    asked = {}
    for job in listed:
        keys = [(one.partition, one.number) for one in ledger.attempts_with(job.job_id)]
        if keys and not any(charges.get(key, (0.0, True))[1] for key in keys):
            continue
        for key in keys:
            charges.pop(key, None)
        if job.state in FINAL_STATES:
            metrics = engine.read_metrics(backend, job.job_id)
            asked[job.job_id] = charged_s(metrics) or 0.0, is_charge_pending(metrics)
        elif job.state == "RUNNING":
            asked[job.job_id] = 0.0, True
    return asked


def _ask_batches(
    engine: RemoteEngine, backend: BackendV2, batches: Sequence[str], *, is_lost: bool
) -> dict[str, str]:
    """Return the states of batches that the service reports; it must know one if jobs are lost."""
    states = {}
    for batch in batches:
        try:
            details = engine.attach_batch(backend, batch).details()
            states[batch] = str(details.get("state") or "of unknown state")
        except EngineError as error:
            states[batch] = "not known to this account"
            if is_lost:
                raise EngineError(
                    f"the account or instance in use knows none of this run's jobs ({error}); name "
                    f"the one that has them, also if it was renamed or moved: backend.instance=NAME"
                ) from None
    return states


def partition_state(ledger: Ledger, jobs: Mapping[str, FoundJob], partition: int) -> PartitionState:
    """Return how far a partition is: of each piece the furthest attempt, of these the least far.

    `jobs` are the listed ones, by id and by tag.
    """

    def state(attempt: Attempt) -> PartitionState:
        if attempt.holds_result:
            return "done"
        # A job of an attempt that was given up may have turned up since.
        job = jobs.get(attempt.job or attempt.tag)
        if attempt.is_over and (attempt.job is not None or job is None):
            return "failed"
        if job is not None:
            return _STATES[job.state]
        return "unlisted" if attempt.job else "unsubmitted"

    far = _FURTHEST_FIRST.index
    pieces = [map(state, ledger.attempts_of(piece)) for piece in ledger.pieces(partition)]
    return max((min(each, key=far, default="unsubmitted") for each in pieces), key=far)


def _next(
    experiment: Experiment,
    counts: Mapping[PartitionState, int],
    *,
    is_out: bool,
    is_waited_for: bool,
) -> dict[str, str]:
    """Return the commands that may follow, and what each does."""
    ledger, command = experiment.ledger, partial(command_to_resume, experiment)
    if not is_out:
        if experiment.budget_s is not None:
            Budget(experiment, experiment.budget_s).note_needed()
        last = {a[-1].failure for p, a in ledger.attempts.items() if p not in ledger.done}
        if last == {"refused"} and not counts["unsubmitted"]:
            return {command("--retry-refused"): "submit again what the service refused"}
        return {command(): "submit what has no result"}
    rest = ", submit the rest" if counts["failed"] + counts["unsubmitted"] else ""
    commands = {}
    if not ledger.is_cancelled:
        commands[command()] = f"wait for what is out and collect it{rest}"
    if is_waited_for or rest or ledger.is_cancelled:
        commands[command("--collect-only")] = "take what is finished, submit nothing"
    if is_waited_for:
        commands[command(verb="cancel")] = "cancel what is queued, close the batch"
    return commands
