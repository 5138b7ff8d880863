"""Repair of a damaged journal: what is readable stays, and what is missing is rebuilt.

A line with one flipped bit is corrected. For the others there is one rule: each line that can be
read, and each part on disk, is replayed after what it rests on, which is written before it where no
line has it. So a line of an attempt rests on its batch and its beginning, a piece on a cut, and all
of these on the plan, whose digests are computed again.

What neither a line nor a part tells is left to the service, which `qexp.batch.recover` asks for all
jobs of the run before anything is submitted: a job without lines is found by the run's tag, and
what it holds by its PUBs, also if the token was lost with the line of the first batch. An attempt
whose outcome is lost is open until the service closes it. Where a partition was cut, an attempt
whose beginning is lost has no PUBs, and its lines are left out, unless its outcome is on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

from qexp.archive.atomic_files import DamagedFileError, check_digest, replacing
from qexp.archive.parts import StoredParts, first_row, read_json
from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME, JOBS, JOURNAL_NAME, PARTITIONS
from qexp.archive.sweep_file import is_sweep, read_sweep
from qexp.errors import ArchiveError
from qexp.journal.events import (
    UNKNOWN,
    Adopted,
    BatchOpened,
    Collected,
    Cut,
    Duplicate,
    Ended,
    Event,
    Interrupted,
    NotSubmitted,
    Planned,
    Repaired,
    Sealed,
    Submitted,
    Submitting,
)
from qexp.journal.file import complete_lines, line_of, read_event
from qexp.journal.flipped_bits import readable_lines
from qexp.journal.ledger import Ledger, attempt_tag
from qexp.journal.lock import lock_folder


@dataclass(frozen=True)
class Stored:
    """The part of a journal's content that the parts of its run tell."""

    parts: tuple[str | None, ...] = ()  # SHA-256 of each; None for one that is damaged or missing
    #: Id of each batch, in order -> id of the one before it, or None.
    batches: Mapping[str, str | None] = field(default_factory=dict)
    #: (partition, attempt) -> ids of the job, `""` for none, and of the batch.
    outcomes: Mapping[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    #: Partition -> its first PUB, and one more than its last.
    pubs: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    #: The same of each outcome that is of a piece of its partition.
    pieces: Mapping[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    shares_jobs: bool = False  # a sweep: only a line tells where in a job an attempt's PUBs are


def repair_journal(folder: Path) -> str | None:
    """Repair the journal of a run that no process works on, and keep a copy of the damaged one.

    Return one line that says what was done, or None if nothing was damaged.

    Raises:
        RunLockedError: A process works on the run.
        ArchiveError: It cannot be repaired, or not be written.
    """
    path = folder / JOURNAL_NAME
    with lock_folder(folder):
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error
        stored = _stored_in_sweep(folder, raw) if is_sweep(folder) else stored_in(folder)
        lines = repaired(raw, stored, path)
        if lines is None:
            return None
        copy = _free_name(path)
        content = (line + b"\n" if isinstance(line, bytes) else line_of(line) for line in lines)
        _write(copy, raw)
        _write(path, b"".join(content))
    done = lines[-1]
    assert isinstance(done, Repaired)
    shown = [*done.assumed[:3], *("..." for _ in done.assumed[3:4])]
    return (
        f"{path} is repaired; lines that could not be read: {done.lost}, with one flipped bit that "
        f"was corrected: {done.corrected}; assumed: {', '.join(shown) or 'nothing'}; the damaged "
        f"journal is kept as {copy.name}"
    )


def _free_name(path: Path) -> Path:
    first = path.with_name(path.name + ".damaged")
    numbered = (path.with_name(f"{first.name}-{number}") for number in count(2))
    return next(name for name in chain([first], numbered) if not name.exists())


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def stored_in(folder: Path) -> Stored:
    """Read what the parts of a run tell of its journal. Parts that are damaged tell nothing."""
    stored = StoredParts(folder)
    paths = stored.numbered("partition")
    parts: list[str | None] = [None] * (max((number for (number,) in paths), default=-1) + 1)
    pubs: dict[int, tuple[int, int]] = {}
    for (number,), path in paths.items():
        with suppress(ArchiveError):
            parts[number] = check_digest(path)
            row = first_row(path, PARTITIONS.path)
            pubs[number] = int(row["first"]), int(row["stop"])
    batches, outcomes, pieces = {}, {}, {}
    for path in stored.numbered("batch").values():
        with suppress(DamagedFileError):
            batch = read_json(path)
            batches[batch["id"]] = batch["follows"]
    for (partition, attempt), path in stored.numbered("job").items():
        with suppress(DamagedFileError):
            row = first_row(path, JOBS.path)
            outcomes[partition, attempt] = (row["job_id"], row["batch_id"])
            held = int(row["first"]), int(row["stop"])
            if held != pubs.get(partition):
                pieces[partition, attempt] = held
    return Stored(tuple(parts), batches, outcomes, pubs, pieces)


def _stored_in_sweep(folder: Path, raw: bytes) -> Stored:
    """Read the same of a sweep; its partitions are numbered in the order of its planned points."""
    declared, first = read_sweep(folder).points, 0
    batches = dict(stored_in(folder).batches)
    outcomes: dict[tuple[int, int], tuple[str, str]] = {}
    pieces: dict[tuple[int, int], tuple[int, int]] = {}
    pubs: dict[int, tuple[int, int]] = {}
    planned: list[Planned] = []
    with suppress(ValueError):  # it is raised again where all lines are read
        events = map(read_event, readable_lines(raw)[0])
        planned += (event for event in events if isinstance(event, Planned))
    for event in planned:
        own = _stored_of_point(folder / declared[event.point].folder)
        outcomes |= {(first + index, n): held for (index, n), held in own.outcomes.items()}
        pieces |= {(first + index, n): held for (index, n), held in own.pieces.items()}
        pubs |= {first + index: held for index, held in own.pubs.items()}
        batches = {**own.batches, **batches}
        first += len(event.parts)
    return Stored((), batches, outcomes, pubs, pieces, shares_jobs=True)


def _stored_of_point(folder: Path) -> Stored:
    if StoredParts(folder).has_header or not (folder / ARCHIVE_NAME).exists():
        return stored_in(folder)
    with open_archive(folder) as archive:
        batches = {batch.id: batch.follows for batch in archive.batches}
        ids = [*batches]
        pubs = {one.index: (one.first, one.stop) for one in archive.partitions}
        jobs = {(job.partition, job.attempt): job for job in archive.jobs}
    outcomes = {
        key: (job.job_id, "" if job.batch is None else ids[job.batch]) for key, job in jobs.items()
    }
    pieces = {
        key: (job.first, job.stop)
        for key, job in jobs.items()
        if (job.first, job.stop) != pubs[job.partition]
    }
    return Stored((), batches, outcomes, pubs, pieces)


def repaired(raw: bytes, stored: Stored, path: Path) -> list[bytes | Event] | None:
    """Return the lines of a repaired journal, from the damaged one and what is on disk besides.

    Those that were read are as they are, without their ends; others are events that were rebuilt,
    the last one `Repaired`. None if nothing is missing or damaged.

    Raises:
        ArchiveError: A line is of a newer version of qexp, or the plan cannot be rebuilt.
    """
    lines, lost, corrected = readable_lines(raw)
    try:
        events = [read_event(line) for line in lines]
    except ValueError as error:
        raise ArchiveError(
            f"{path}: {error}; repair it with the version that the run was made with"
        ) from None
    rebuilt = _Rebuilt(stored, events, path)
    for line, event in zip(lines, events, strict=True):
        rebuilt.add(event, line)
    rebuilt.add_stored()
    # A reader leaves a last line out that lacks only its end, which parts may rest on.
    is_all_read = complete_lines(raw).count(b"\n") == len(lines)
    if is_all_read and not (lost or corrected or rebuilt.assumed):
        return None
    rebuilt.add(Repaired(lost, corrected, tuple(rebuilt.assumed)))
    return rebuilt.lines


class _Rebuilt:
    """A journal in the making: each event after those that it rests on."""

    def __init__(self, stored: Stored, events: Sequence[Event], path: Path) -> None:
        self.lines: list[bytes | Event] = []
        self.assumed: list[str] = []
        self._stored = stored
        self._path = path
        self._ledger = Ledger()
        self._batches = _batches_in_order(events, stored)
        self._foreign = _foreign_batches(events, stored)
        self._cut_ones = {partition for partition, _ in stored.pieces} | {
            event.partition
            for event in events
            if isinstance(event, Cut)
            or (isinstance(event, Submitting | Adopted) and event.first is not None)
        }
        self._unknown: set[tuple[int, int]] = set()

    def add(self, event: Event, line: bytes | None = None) -> None:
        """Add an event after what it rests on and no line has; with its own line if it has one."""
        batch: str = getattr(event, "batch", "")
        if batch:
            self._open(batch, including=not isinstance(event, BatchOpened))
        match event:
            case Ended() | Interrupted() | Sealed():
                self._plan()
            case Submitting() | Adopted():
                self._begin(event.partition, event.attempt - 1)
                self._cut(event)
            case Submitted() | NotSubmitted() | Collected() | Duplicate():
                job = event.kept if isinstance(event, Duplicate) else getattr(event, "job", "")
                self._begin(event.partition, event.attempt, batch, job)
                if (event.partition, event.attempt) in self._unknown:
                    return
                if not isinstance(event, Submitted):
                    self._note_job(event.partition, event.attempt, job)
        self._write(event, line)

    def add_stored(self) -> None:
        """Add what only the parts have."""
        for batch in self._batches:
            self._open(batch)
        for (partition, number), (job, batch) in self._stored.outcomes.items():
            self._begin(partition, number, batch, job)
            self._note_job(partition, number, job)

    def _assume(self, event: Event, text: str) -> None:
        self.assumed.append(text)
        self._write(event)

    def _write(self, event: Event, line: bytes | None = None) -> None:
        try:
            self._ledger.apply(event)
        except ValueError as error:
            raise ArchiveError(f"{self._path}: {error}; restore the folder from a copy") from None
        self.lines.append(event if line is None else line)

    def _plan(self) -> None:
        if self._ledger.planned:
            return
        parts = tuple(part for part in self._stored.parts if part is not None)
        if not parts or len(parts) < len(self._stored.parts):
            raise ArchiveError(
                f"{self._path}: the line of the plan is lost, and parts of the plan are missing or "
                f"damaged; restore the run's folder from a copy"
            )
        self._assume(Planned(parts), f"the plan has the {len(parts)} partitions that are on disk")

    def _open(self, batch: str, *, including: bool = True) -> None:
        """Open a batch, and those before it, as far as they are not open."""
        self._plan()
        end = self._batches.index(batch) + including
        for one in self._batches[:end]:
            opened = [each.batch for each in self._ledger.batches]
            if one in opened:
                continue
            if one in self._foreign:
                event = BatchOpened(one, "", is_foreign=True)
                self._assume(event, f"batch {one} was opened by another copy of the folder")
            else:
                event = BatchOpened(one, "", opened[-1] if opened else None)
                self._assume(event, f"batch {one} was opened; no token")

    def _begin(self, partition: int, number: int, batch: str = "", job: str = "") -> None:
        """Begin attempts of a partition up to one, of which a line may tell the batch and job."""
        self._plan()
        if partition >= self._ledger.num_partitions:
            raise ArchiveError(
                f"{self._path}: partition {partition} is in a line, but not in the plan; restore "
                f"the run's folder from a copy"
            )
        told = {(partition, number): (job, batch)}
        for missing in range(self._ledger.next_number(partition), number + 1):
            key = (partition, missing)
            its_job, where = self._stored.outcomes.get(key) or told.get(key, ("", ""))
            where = where or self._last_batch()
            self._open(where)
            text = f"attempt {missing} of partition {partition} was submitted to batch {where}"
            first, stop = self._stored.pieces.get(key, (None, None))
            is_place_lost = partition in self._cut_ones or self._stored.shares_jobs
            if is_place_lost and key not in self._stored.outcomes:
                # Which PUBs it had is lost: none here, so that its job is found once more.
                self._unknown.add(key)
                self._assume(Submitting(*key, where, "", first=0, stop=0), text)
                self._write(NotSubmitted(*key, "its PUBs are not known any more", "lost"))
                continue
            token, digests = self._ledger.token, self._ledger.part_digests
            tag = attempt_tag(token, digests[partition], *key) if token else ""
            begun: Submitting | Adopted = Submitting(*key, where, tag, first=first, stop=stop)
            if its_job:
                offset = UNKNOWN if self._stored.shares_jobs else 0
                told_by = (*key, where, begun.tag, its_job)
                begun = Adopted(*told_by, first=first, stop=stop, offset=offset)
            self._cut(begun)
            self._assume(begun, text)

    def _cut(self, event: Submitting | Adopted) -> None:
        """Cut a partition where an attempt has only some of its PUBs."""
        if not event.stop:
            return
        partition, ledger = event.partition, self._ledger
        before = ledger.cuts.get(partition, self._stored.pubs.get(partition, ()))
        if not before:
            raise ArchiveError(
                f"{self._path}: partition {partition} was cut, and its part, which says where it "
                f"begins and ends, is missing or damaged; restore the run's folder from a copy"
            )
        bounds = tuple(sorted({*before, event.first or 0, event.stop}))
        if bounds != ledger.cuts.get(partition):
            shown = ", ".join(map(str, bounds))
            self._assume(
                Cut(partition, bounds), f"partition {partition} was cut before PUBs {shown}"
            )

    def _note_job(self, partition: int, number: int, job: str) -> None:
        attempts = self._ledger.attempts[partition]
        attempt = attempts[number - 1]
        if job and all(job != one.job for one in attempts) and not (attempt.job or attempt.is_over):
            self._assume(
                Submitted(partition, number, attempt.batch, job, adopted=True),
                f"attempt {number} of partition {partition} is job {job}",
            )

    def _last_batch(self) -> str:
        if self._ledger.batches:
            return self._ledger.batches[-1].batch
        if self._batches:
            return self._batches[0]
        raise ArchiveError(
            f"{self._path}: jobs were submitted, and nothing says to which batch; restore the "
            f"run's folder from a copy"
        )


def _foreign_batches(events: Sequence[Event], stored: Stored) -> set[str]:
    """Return the batches that another copy of the folder opened: here, nothing was submitted to."""
    adopted, submitted = (
        {event.batch for event in events if isinstance(event, kind)}
        for kind in (Adopted, Submitting)
    )
    first = next(iter(stored.batches), None)
    unlinked = {one for one, follows in stored.batches.items() if not follows and one != first}
    return (adopted | unlinked) - submitted


def _batches_in_order(events: Sequence[Event], stored: Stored) -> list[str]:
    """Return the ids of all batches that a line or a part names, in the order of their opening."""
    order: list[str] = []
    for event in events:
        named = [getattr(event, name, None) for name in ("follows", "batch")]
        order += [batch for batch in named if batch and batch not in order]
    place = 0
    for batch in stored.batches:
        if batch not in order:
            order.insert(place, batch)
        place = order.index(batch) + 1
    order += (batch for _, batch in stored.outcomes.values())
    return list(dict.fromkeys(filter(None, order)))
