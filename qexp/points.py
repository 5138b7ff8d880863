"""An experiment, and the points that it consists of.

A point is one declared run: its spec, its PUBs, its archive. An experiment is what its points
share: a folder with a lock and a journal, batches, worker processes. A single run is an experiment
of one point, in the same folder. Points on one backend share its batches: they are one lane.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from qexp.archive.analyses import analysis_files
from qexp.archive.header import Calibrations
from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME
from qexp.archive.sweep_file import is_sweep, read_sweep
from qexp.archive.writer import RunStore, SharedRecord
from qexp.core.model import Forecast, JobOutcome, Partition, Plan, RunStatus
from qexp.core.observer import Guarded, Observer
from qexp.core.protocols import Batch, Engine
from qexp.core.spec import RunSpec, common_value
from qexp.errors import ConfigError
from qexp.interrupts import Interrupts, StopRequested, stop_requested
from qexp.journal.file import Journal
from qexp.journal.ledger import Ledger, Piece
from qexp.journal.lock import lock_folder
from qexp.redact import redactor
from qexp.workers import Workers, available_cores, import_qiskit

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

T = TypeVar("T")

_MIN_CIRCUITS_FOR_WORKERS = 64
"""With fewer circuits, starting worker processes takes longer than planning without them."""

_SLICE_S = 0.1
"""Longest sleep between two checks for a request to stop."""


@dataclass(frozen=True)
class Clock:
    """The clock; tests substitute their own."""

    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random  # a number in [0, 1)
    settle_s: float = 2.0  # time until every listing contains a new job


@dataclass
class Point:
    """One declared run, its folder and its files."""

    spec: RunSpec
    folder: Path
    index: int = 0  # position in the experiment
    lane: int = 0  # index of the first point on the same backend
    backend: BackendV2 | None = None  # None until it is selected
    partitions: tuple[Partition, ...] = ()  # planned jobs, numbered through the experiment
    forecast: Forecast | None = None  # of its simulation, where this process has planned it
    archive: Path | None = None  # path of `run.h5`, once this process has sealed it
    status: RunStatus | None = None  # the status in that archive
    is_to_analyse: bool = False  # just completed, and its analyses are still to be made

    def __post_init__(self) -> None:
        # Worker processes may have another working directory.
        self.folder = self.folder.absolute()

    @cached_property
    def store(self) -> RunStore:
        """Its parts on disk, and the archive merged from them."""
        return RunStore(self.folder, redactor())

    @cached_property
    def run_id(self) -> str:
        """Its recorded id, as the folder may have been copied; else the folder's name."""
        recorded = self.store.read_header() if self.store.has_header else {}
        return str(recorded.get("run_id", self.folder.name))

    @cached_property
    def identity(self) -> str:
        """Its id and the moment it was declared: no later run has both, whatever its folder."""
        recorded = self.store.read_header() if self.store.has_header else {}
        return f"{self.run_id} {recorded.get('created', '')}"

    @property
    def recorded_backend(self) -> str | None:
        """Name of the backend of its recorded plan; None before it is planned."""
        if self.is_sealed:
            with open_archive(self.folder) as archive:
                return str(archive.backend["name"])
        return self.store.read_header()["backend"]["name"] if self.partitions else None

    @property
    def is_sealed(self) -> bool:
        """True if it is complete: all that is known of it is in its archive."""
        return self.status == "complete"

    @property
    def own_indices(self) -> range:
        """The indices of its partitions in the experiment; its files count from 0."""
        first = self.partitions[0].index if self.partitions else 0
        return range(first, first + len(self.partitions))

    def on_disk(self, partition: Partition) -> Partition:
        """Return a partition, or a piece of one, as its files number it."""
        return replace(partition, index=partition.index - self.own_indices.start)

    def number(self, partitions: Iterable[Partition], first: int) -> None:
        """Take its partitions as its files number them; `first` is the experiment's next index."""
        self.partitions = tuple(
            replace(one, index=first + number, point=self.index)
            for number, one in enumerate(partitions)
        )

    def write_job(self, outcome: JobOutcome, calibrations: Calibrations | None = None) -> None:
        """Write a finished attempt; see `RunStore.write_job`."""
        index = outcome.partition - self.own_indices.start
        raw = outcome.raw if self.spec.keeps_raw else None
        self.store.write_job(replace(outcome, partition=index, raw=raw), calibrations)

    def note_sealed(self) -> None:
        """Note if an earlier process has sealed it, complete."""
        if (self.folder / ARCHIVE_NAME).exists() and not self.store.has_header:
            self.status = "complete"
            declared = {spec.name for spec in self.spec.analyses}
            if not declared <= analysis_files(self.folder).keys():
                self.archive, self.is_to_analyse = self.folder / ARCHIVE_NAME, True

    def seal(self, status: RunStatus, shared: SharedRecord | None = None) -> None:
        """Make the archive from what is on disk, as `RunStore.seal`; remove parts once complete.

        Raises:
            ArchiveError: It cannot be written; the parts are kept.
        """
        is_complete = status == "complete"
        self.archive = self.store.seal(status, keep_parts=not is_complete, shared=shared)
        self.status, self.is_to_analyse = status, is_complete


@dataclass
class Experiment:
    """The state that the points share while this process works on them.

    Raises:
        ConfigError: The points differ in a setting that they must share.
    """

    folder: Path  # locked by this process
    points: tuple[Point, ...]  # at least one
    journal: Journal  # submissions are recorded before they happen, outcomes once on disk
    observer: Observer = field(default_factory=Observer)
    clock: Clock = field(default_factory=Clock)
    interrupts: Interrupts = field(default_factory=Interrupts)
    plan: Plan = field(default_factory=lambda: Plan(()))  # of all points; empty until planned
    keeps_batches: bool = False  # more points are to come, and the batches stay open for them
    open_batches: dict[int, Batch] = field(default_factory=dict)  # lane -> batch kept for them
    first_of_round: int = 0  # number of the first of the points that were added last
    next_words: tuple[str, ...] = ()  # without which the command to resume would not go on

    def __post_init__(self) -> None:
        self._agree()
        # A worker process starts when it first has something to plan or simulate.
        self.workers = Workers(self.engine.workers or available_cores())

    def add_points(self, points: Sequence[Point]) -> None:
        """Add points at the end, which `sweep.json` has by now."""
        self.first_of_round = len(self.points)
        self.points += tuple(points)
        self._agree()

    def _agree(self) -> None:
        """Settle what the points share."""
        specs = [point.spec for point in self.points]
        engines = {spec.place: spec.engine for spec in specs}
        self.engine: Engine = common_value("engine", engines.values())
        self.policy = common_value("execution", (spec.policy for spec in specs))
        self.budget_s = common_value("budget.qpu", (spec.budget_s for spec in specs))
        self.limits = common_value("limits", (spec.limits for spec in specs))
        self.stop_after = common_value("stop_after", (spec.stop_after for spec in specs))
        self.sharing = common_value("sweep", (spec.sharing for spec in specs))
        lanes: dict[tuple[str, int | None], int] = {}
        for point in self.points:
            spec = point.spec
            point.lane = lanes.setdefault((spec.place, spec.max_time_s), point.index)

    @property
    def is_sweep(self) -> bool:
        """True if its points have folders of their own."""
        return is_sweep(self.folder)

    @property
    def lanes(self) -> list[int]:
        """The lanes with something left to do, in order."""
        unsealed = {point.lane for point in self.points if not point.is_sealed}
        return sorted(unsealed | {self.lane_of(one) for one in self.ledger.unclosed_batches})

    def lane_of(self, batch: str) -> int:
        """Return the lane of a batch."""
        return self.points[self.ledger.point_of(batch)].lane

    def backend_of(self, lane: int) -> BackendV2:
        """Return the backend of a lane, once it is selected."""
        backend = self.points[lane].backend
        assert backend is not None
        return backend

    @cached_property
    def store(self) -> RunStore:
        """The parts that the points share: the details of the batches."""
        first = self.points[0]
        shares_folder = first.folder == self.folder.absolute()
        return first.store if shares_folder else RunStore(self.folder, redactor())

    @property
    def ledger(self) -> Ledger:
        """The state derived from the journal."""
        return self.journal.ledger

    @property
    def id(self) -> str:
        """The id in the tags of all jobs: that of the sweep, or of the single run."""
        return self.identity.rpartition(" ")[0] if self.is_sweep else self.points[0].run_id

    @cached_property
    def identity(self) -> str:
        """Its id and the moment it was declared: no later one has both, whatever its folder."""
        if not self.is_sweep:
            return self.points[0].identity
        declared = read_sweep(self.folder)
        return f"{declared.id} {declared.created}"

    @property
    def plans_with_workers(self) -> bool:
        """True if the config asks for enough circuits to plan in worker processes."""
        asked = [item.num_circuits for point in self.points for item in point.spec.workloads]
        known = sum(number for number in asked if isinstance(number, int))
        return known >= _MIN_CIRCUITS_FOR_WORKERS

    @property
    def unplanned(self) -> list[Point]:
        """The points that have no plan yet."""
        return [point for point in self.points if point.index not in self.ledger.planned]

    def point_of(self, partition: int) -> Point:
        """Return the point that a partition belongs to."""
        return self.points[self.plan.partitions[partition].point]

    @property
    def has_work(self) -> bool:
        """True if a job is in flight, may be, or is to be submitted."""
        return bool(self.ledger.open_attempts() or self.ledger.wanted(self.policy))

    def _indices(self, point: Point | None) -> range:
        return range(len(self.plan.partitions)) if point is None else point.own_indices

    def out(self, point: Point | None = None) -> int:
        """Return the number of jobs that are in flight, or may be, of one point or of all."""
        attempts = self.ledger.open_attempts(self._indices(point))
        return len({attempt.job or attempt.tag for attempt in attempts})

    def left(self, point: Point | None = None) -> list[Piece]:
        """Return the pieces of one point, or of all, that are still to be submitted."""
        if self.ledger.is_cancelled:
            return []
        return self.ledger.wanted(self.policy, self._indices(point))

    def done(self, point: Point | None = None) -> set[int]:
        """Return the partitions that have a result, of one point or of all."""
        has_result = self.ledger.has_result
        return {index for index in self._indices(point) if has_result(Piece(index))}

    def is_measured(self, point: Point) -> bool:
        """Return True if a point has every result."""
        return 0 < len(point.partitions) == len(self.done(point))

    def status(self, point: Point | None = None) -> RunStatus:
        """Return the status that a point, or the whole experiment, would end with now."""
        if not self.ledger.batches:
            return "planned"
        done, planned = len(self.done(point)), len(self._indices(point))
        is_whole = planned > 0 and (point is not None or not self.unplanned)
        # While a job is in flight, needed or not, its usage is not known.
        if done == planned and is_whole and not self.out(point):
            return "complete"
        # Only a run with nothing left to do can have failed.
        return "partial" if done or self.out(point) or self.left(point) else "failed"

    def raise_if_stopped(self) -> None:
        """Raise `StopRequested` if a stop was asked for."""
        if self.interrupts.is_set():
            raise StopRequested

    def pause(self, seconds: float) -> None:
        """Sleep until the time has passed.

        Raises:
            StopRequested: A stop was asked for, before or meanwhile.
        """
        until_s = self.clock.now_s() + seconds
        while (left_s := until_s - self.clock.now_s()) > 0:
            self.raise_if_stopped()
            self.clock.sleep(min(left_s, _SLICE_S))
        self.raise_if_stopped()


@contextmanager
def open_experiment(
    folder: Path,
    points: Sequence[Point],
    observer: Observer | None,
    clock: Clock | None,
    interrupts: Interrupts | None = None,
) -> Iterator[Experiment]:
    """Lock an experiment's folder and open its journal; no worker process outlasts the context.

    Tests have a clock of their own. Without `interrupts`, the second signal ends the process.

    Raises:
        RunLockedError: Another process works on the experiment.
        ArchiveError: The folder cannot be written, or its journal is damaged or not whole.
        KeyboardInterrupt: A stop was asked for earlier.
    """
    if stop_requested():
        raise KeyboardInterrupt
    import_qiskit()
    with lock_folder(folder), Journal(folder) as journal:
        experiment = Experiment(
            folder,
            tuple(points),
            journal,
            Guarded(observer or Observer()),
            clock or Clock(),
            interrupts or Interrupts(),
        )
        for point in points:
            point.note_sealed()
        journal.refuse_lost_lines(_stored_attempts(experiment), experiment.store)
        with experiment.workers:
            yield experiment


def points_in(folder: Path, specs: RunSpec | Sequence[RunSpec]) -> list[Point]:
    """Return the points of an experiment, given the spec of the run, or of each point.

    Raises:
        ConfigError: The folder is that of a point of a sweep.
    """
    each = [specs] if isinstance(specs, RunSpec) else specs
    if not is_sweep(folder):
        if is_sweep(folder.parent):
            raise ConfigError(
                f"{folder} is in the folder of a sweep, whose points share jobs and a journal; "
                f"name the sweep: {folder.parent}"
            )
        (spec,) = each
        return [Point(spec, folder)]
    declared = zip(each, read_sweep(folder).points, strict=True)
    return [Point(spec, folder / one.folder, n) for n, (spec, one) in enumerate(declared)]


def _stored_attempts(experiment: Experiment) -> Iterator[tuple[int, int]]:
    """Yield partition and number of every attempt with an outcome on disk."""
    for point in experiment.points:
        first = experiment.ledger.partitions_of(point.index).start
        for partition, number in point.store.numbered("job"):
            yield first + partition, number
