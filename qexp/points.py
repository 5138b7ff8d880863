"""An experiment, and the points that it consists of.

A point is one declared run: its spec, its PUBs, its archive. An experiment is what its points
share: a folder with a lock and a journal, batches, worker processes. Today an experiment has one
point, which has the same folder; nothing here or in `qexp.batch` relies on that.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from qexp.archive.schema import ARCHIVE_NAME, PARTS_NAME
from qexp.archive.writer import RunStore
from qexp.core.model import Partition, Plan, RunStatus
from qexp.core.observer import Guarded, Observer
from qexp.core.protocols import Engine
from qexp.core.spec import RunSpec
from qexp.errors import ConfigError
from qexp.interrupts import Interrupts
from qexp.journal.file import Journal
from qexp.journal.ledger import Ledger
from qexp.journal.lock import lock_folder
from qexp.redact import redactor
from qexp.workers import Workers, available_cores

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

T = TypeVar("T")

_WORTH_WORKERS = 64
"""Circuits from which on planning in worker processes pays."""

_SLICE_S = 0.1
"""The longest sleep without asking whether to stop."""


class StopRequested(Exception):  # noqa: N818 - no error
    """The experiment was asked to stop (Ctrl-C, SIGTERM)."""


@dataclass(frozen=True)
class Clock:
    """Time, so that tests need none."""

    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random  # a number in [0, 1)
    settle_s: float = 2.0  # after which a job that was submitted is in every listing


@dataclass
class Point:
    """One declared run, its folder, and what is on disk of it."""

    spec: RunSpec
    folder: Path
    index: int = 0  # in its experiment
    backend: BackendV2 | None = None  # None until it is selected
    partitions: tuple[Partition, ...] = ()  # its jobs-to-be, numbered through the experiment
    archive: Path | None = None  # path of its `run.h5`, once this process has sealed it
    status: RunStatus | None = None  # the status in that archive

    def __post_init__(self) -> None:
        # Worker processes may have another working directory.
        self.folder = self.folder.absolute()

    @cached_property
    def store(self) -> RunStore:
        """Its parts on disk, and the archive that is made of them."""
        return RunStore(self.folder, redactor())

    @cached_property
    def run_id(self) -> str:
        """Its id: as recorded, because the folder may have been copied; else the folder's name."""
        recorded = self.store.read_header() if self.store.has_parts else {}
        return str(recorded.get("run_id", self.folder.name))

    @property
    def recorded_backend(self) -> str | None:
        """Name of the backend that its recorded plan is for; None before it is planned."""
        return self.store.read_header()["backend"]["name"] if self.partitions else None

    def seal(self, status: RunStatus) -> None:
        """Make the archive of what is on disk; the parts of a complete run are removed.

        Raises:
            ArchiveError: It cannot be written; the parts are kept.
        """
        self.archive = self.store.seal(status, keep_parts=status != "complete")
        self.status = status


@dataclass
class Experiment:
    """The common ground of its points, while this process works on them.

    Raises:
        ConfigError: The points do not agree on what they share.
    """

    folder: Path  # this process has locked it
    points: tuple[Point, ...]  # at least one
    journal: Journal  # every step is in it before it is taken
    observer: Observer = field(default_factory=Observer)
    clock: Clock = field(default_factory=Clock)
    interrupts: Interrupts = field(default_factory=Interrupts)
    plan: Plan = field(default_factory=lambda: Plan(()))  # of all points; empty until planned

    def __post_init__(self) -> None:
        # Points share batches, and so all of this. One that differs needs a batch of its own.
        specs = [point.spec for point in self.points]
        self.engine: Engine = agreed("engine", (spec.engine for spec in specs))
        self.policy = agreed("execution", (spec.policy for spec in specs))
        self.max_time_s = agreed("batch.max_time", (spec.max_time_s for spec in specs))
        self.limits = agreed("limits", (spec.limits for spec in specs))
        self.stop_after = agreed("stop_after", (spec.stop_after for spec in specs))
        # None of them runs before it has something to plan or to simulate.
        self.workers = Workers(self.engine.workers or available_cores())

    @property
    def backend(self) -> BackendV2:
        """The backend that the jobs run on, once it is selected."""
        backends = {point.backend.name: point.backend for point in self.points if point.backend}
        return backends[agreed("backend", backends)]

    @property
    def ledger(self) -> Ledger:
        """The state that follows from the journal."""
        return self.journal.ledger

    @cached_property
    def id(self) -> str:
        """The id that is in the tags of all jobs: that of the first point, which is on disk."""
        return self.points[0].run_id

    @property
    def plans_with_workers(self) -> bool:
        """True if there are circuits enough, as far as the config says how many."""
        asked = [item.num_circuits for point in self.points for item in point.spec.workloads]
        return sum(number for number in asked if isinstance(number, int)) >= _WORTH_WORKERS

    def gather_plan(self) -> None:
        """Make the plan of the partitions of all points."""
        self.plan = Plan(tuple(job for point in self.points for job in point.partitions))

    def point_of(self, partition: int) -> Point:
        """Return the point that a partition belongs to."""
        return self.points[self.plan.partitions[partition].point]

    @property
    def has_work(self) -> bool:
        """True if a job is out, may be, or is to be submitted."""
        return bool(self.ledger.open_attempts() or self.ledger.wanted(self.policy))

    def done(self, point: Point | None = None) -> set[int]:
        """Return the partitions, of one point or of all, that have a result."""
        partitions = self.plan.partitions if point is None else point.partitions
        return self.ledger.done & {partition.index for partition in partitions}

    def status(self, point: Point | None = None) -> RunStatus:
        """Return the status in which a point, or the whole experiment, would end now."""
        if not self.ledger.batches:
            return "planned"
        done = len(self.done(point))
        if done == len(self.plan.partitions if point is None else point.partitions):
            return "complete"
        return "partial" if done else "failed"

    def raise_if_stopped(self) -> None:
        """Raise `StopRequested` if the experiment was asked to stop."""
        if self.interrupts.is_set():
            raise StopRequested

    def pause(self, seconds: float) -> None:
        """Sleep until the time has passed.

        Raises:
            StopRequested: The experiment was asked to stop, before or meanwhile.
        """
        until_s = self.clock.now_s() + seconds
        while (left_s := until_s - self.clock.now_s()) > 0:
            self.raise_if_stopped()
            self.clock.sleep(min(left_s, _SLICE_S))
        self.raise_if_stopped()


@contextmanager
def open_experiment(
    folder: Path,
    points: Iterable[Point],
    observer: Observer | None,
    clock: Clock | None,
    interrupts: Interrupts | None = None,
) -> Iterator[Experiment]:
    """Lock an experiment's folder and open its journal; no worker process outlasts the context.

    Args:
        folder: The experiment's folder.
        points: Its points.
        observer: Receives progress events.
        clock: The time; tests bring their own.
        interrupts: Notes signals; None: the second one ends the process.

    Raises:
        RunLockedError: Another process works on the experiment.
        ArchiveError: The folder cannot be written, or its journal is damaged.
    """
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
        with experiment.workers:
            yield experiment


def import_qiskit() -> None:
    """Import Qiskit in a thread that never ends, unless this is the main thread.

    Qiskit's allocator takes the thread that imports it first for the main thread, and the process
    crashes once that thread has ended.
    """
    if "qiskit" in sys.modules or threading.current_thread() is threading.main_thread():
        return
    imported, never = threading.Event(), threading.Event()

    def import_and_stay() -> None:
        try:
            import qiskit  # noqa: F401
        finally:
            imported.set()
        never.wait()

    threading.Thread(target=import_and_stay, name="qexp-qiskit", daemon=True).start()
    imported.wait()


def agreed(key: str, values: Iterable[T]) -> T:
    """Return the value that all points have for a `key` of the config.

    Raises:
        ConfigError: Points have different values.
    """
    first, *others = values
    if any(other != first for other in others):
        raise ConfigError(f"{key}: the points of one experiment must have the same value")
    return first


def is_sealed(folder: Path) -> bool:
    """Return True if a run has its archive, and no parts from which it could go on."""
    return (folder / ARCHIVE_NAME).exists() and not any(
        PARTS_NAME in name for name in os.listdir(folder)
    )
