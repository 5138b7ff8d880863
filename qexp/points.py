"""The two nouns: an experiment, and the points that it consists of.

A point is one declared run: its spec, its PUBs, its archive. An experiment is what its points
share: a folder, a lock, a journal, batches, worker processes. Today it has one point, whose folder
is its own; nothing here or in `qexp.batch` relies on that.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from qexp.archive.schema import ARCHIVE_NAME, PARTS_NAME
from qexp.archive.writer import RunStore
from qexp.core.model import Partition, Plan, RunStatus
from qexp.core.observer import Guarded, Observer
from qexp.core.policy import ExecutionPolicy
from qexp.core.protocols import Engine
from qexp.core.spec import Limit, RunSpec
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
"""Circuits from which on worker processes plan."""

_SLICE_S = 0.1
"""The longest sleep without asking whether to stop."""


class Stopped(Exception):  # noqa: N818 - no error
    """The experiment was asked to stop (Ctrl-C, SIGTERM)."""


@dataclass(frozen=True)
class Clock:
    """Time, so that tests need none.

    Attributes:
        now_s: Seconds that never decrease.
        sleep: Sleeps for some seconds.
        jitter: A number in [0, 1).
        settle_s: How long a job that was submitted may take to show up in a listing, seconds.
    """

    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    settle_s: float = 2.0


@dataclass
class Point:
    """One declared run, its folder, and what is on disk of it.

    Attributes:
        spec: The declared run.
        folder: The point's folder.
        index: Number of the point in its experiment, from 0.
        backend: The backend that it runs on; None until it is selected.
        partitions: Its jobs to be, numbered through the experiment; empty until it is planned.
        archive: Path of its `run.h5`; None where this process has not sealed it.
        status: The status in that archive, or None.
    """

    spec: RunSpec
    folder: Path
    index: int = 0
    backend: BackendV2 | None = None
    partitions: tuple[Partition, ...] = ()
    archive: Path | None = None
    status: RunStatus | None = None

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

    Attributes:
        folder: Its folder, which this process has locked.
        points: Its points, at least one.
        journal: Its journal; every step is in it before it is taken.
        observer: Receives progress events.
        clock: Time.
        interrupts: Tells whether it was asked to stop.
        plan: The partitions of all points, in the order of submission; empty until planned.
    """

    folder: Path
    points: tuple[Point, ...]
    journal: Journal
    observer: Observer = field(default_factory=Observer)
    clock: Clock = field(default_factory=Clock)
    interrupts: Interrupts = field(default_factory=Interrupts)
    plan: Plan = field(default_factory=lambda: Plan(()))

    @property
    def ledger(self) -> Ledger:
        """The state that follows from the journal."""
        return self.journal.ledger

    def point_of(self, partition: int) -> Point:
        """Return the point that a partition belongs to."""
        return self.points[self.plan.partitions[partition].point]

    @cached_property
    def id(self) -> str:
        """The id that is in the tags of all jobs: that of the first point, which is on disk."""
        return self.points[0].run_id

    # The points must agree on the following, because they share batches. One that differs needs
    # a batch of its own.

    @cached_property
    def engine(self) -> Engine:
        """The engine that runs the jobs."""
        return agreed("engine", (point.spec.engine for point in self.points))

    @property
    def backend(self) -> BackendV2:
        """The backend that the jobs run on, once it is selected."""
        backends = {point.backend.name: point.backend for point in self.points if point.backend}
        return backends[agreed("backend", backends)]

    @cached_property
    def policy(self) -> ExecutionPolicy:
        """The way jobs are driven."""
        return agreed("execution", (point.spec.policy for point in self.points))

    @cached_property
    def max_time_s(self) -> int | None:
        """The `max_time` of a batch in seconds, or None."""
        return agreed("batch.max_time", (point.spec.max_time_s for point in self.points))

    @cached_property
    def limits(self) -> Mapping[str, Limit]:
        """The service's documented limits by name."""
        return agreed("limits", (point.spec.limits for point in self.points))

    @cached_property
    def stop_after(self) -> Literal["plan", "submit"] | None:
        """The stage to stop after; None: go on to the end."""
        return agreed("stop_after", (point.spec.stop_after for point in self.points))

    @cached_property
    def workers(self) -> Workers:
        """Worker processes that plan and simulate; none runs before it has something to do."""
        return Workers(self.engine.workers or available_cores())

    @cached_property
    def plans_with_workers(self) -> bool:
        """True if there are circuits enough, as far as the config says how many."""
        asked = [item.num_circuits for point in self.points for item in point.spec.workloads]
        return sum(number for number in asked if isinstance(number, int)) >= _WORTH_WORKERS

    def gather_plan(self) -> None:
        """Make the plan of the partitions of all points."""
        self.plan = Plan(tuple(job for point in self.points for job in point.partitions))

    @property
    def has_work(self) -> bool:
        """True if a job is out, may be, or is to be submitted."""
        return bool(self.ledger.open() or self.ledger.wanted(self.policy))

    def done(self, point: Point | None = None) -> set[int]:
        """Return the partitions, of one point or of all, that have a result."""
        partitions = self.plan.partitions if point is None else point.partitions
        return self.ledger.done & {partition.index for partition in partitions}

    def status(self, point: Point | None = None) -> RunStatus:
        """Return how a point, or the whole experiment, would end now."""
        planned = self.plan.partitions if point is None else point.partitions
        done = self.done(point)
        if len(done) == len(planned):
            return "complete"
        return "partial" if done else "failed"

    def raise_if_stopped(self) -> None:
        """Raise `Stopped` if the experiment was asked to stop."""
        if self.interrupts.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Sleep until the time has passed.

        Raises:
            Stopped: The experiment was asked to stop, before or meanwhile.
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
        observer: Receives progress events; None: nobody does.
        clock: For tests; None: real time.
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
    """Import Qiskit, if this is the first use of it and the thread may end before the process.

    Its allocator takes the thread that imports it first for the main thread, and the process
    crashes once that has ended. So a thread that never ends does it.
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
    """Return the value that all points have.

    Args:
        key: The key of the config that it comes from.
        values: The value of each point.

    Raises:
        ConfigError: Points have different values.
    """
    first, *others = values
    if any(other != first for other in others):
        raise ConfigError(f"{key}: the points of one experiment must have the same value")
    return first


def is_sealed(folder: Path) -> bool:
    """Return whether a run has its archive, and no parts from which it could go on."""
    return (folder / ARCHIVE_NAME).exists() and not any(
        PARTS_NAME in name for name in os.listdir(folder)
    )
