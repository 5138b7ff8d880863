"""A run, top-down: lock its folder, plan, run the batch, seal the archive; and go on with one.

What is on disk after each step: the journal's first line, the header and the plan before the first
submission, each job's part as soon as it is collected, the sealed `run.h5` at the end. A run that
stops anywhere leaves all that `resume` needs; `qexp.batch.execute` says how.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qexp import __version__
from qexp.archive.parts import StoredParts
from qexp.archive.pubs import PubRow
from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME, PARTS_NAME
from qexp.archive.writer import RunStore
from qexp.batch.context import Clock, RunContext, Stopped
from qexp.batch.execute import execute
from qexp.batch.journal import JOURNAL_NAME, Journal
from qexp.batch.ledger import Ended, Ledger, Planned, Resumed, Started
from qexp.batch.lock import run_lock
from qexp.batch.recover import note_what_is_on_disk
from qexp.batch.requests import CommittedPubs, Requests, run_tag
from qexp.core.model import Partition, Plan
from qexp.core.observer import Guarded, Observer
from qexp.core.spec import RunSpec
from qexp.ending import Ending, RunReport, analyse
from qexp.errors import ArchiveError, ConfigError
from qexp.interrupts import Interrupts
from qexp.planning.build import build_plan, check_max_time
from qexp.provenance import run_header
from qexp.redact import redactor
from qexp.workers import available_cores, end_workers, start_server

if TYPE_CHECKING:
    from qiskit.providers import BackendV2


_log = logging.getLogger(__name__)

_WORTH_WORKERS = 64
"""Circuits from which on worker processes are started before it is known that they are needed."""


def run(
    spec: RunSpec, run_dir: Path, observer: Observer | None = None, *, clock: Clock | None = None
) -> RunReport:
    """Run a declared experiment and leave its archive in `run_dir`.

    Args:
        spec: The validated experiment.
        run_dir: The run's own folder; its name is the run id.
        observer: Is told about progress; None: silent.
        clock: For tests; None: real time.

    Raises:
        ConfigError: The backend does not exist or does not suit the engine, or `run_dir` already
            holds a run.
        PlanError: The circuits cannot run as declared; nothing was submitted.
        EngineError: The batch could not be opened.
        UnfinishedError: Jobs are still out or to be submitted; `resume` goes on.
        JobsFailedError: Everything was tried, but jobs have no result; the archive says why.
        ArchiveError: Something could not be written.
        RunLockedError: Another process works on the run.
        KeyboardInterrupt: Interrupted; the archive is sealed with what was collected.
    """
    _refuse_used(run_dir)
    told = Guarded(observer or Observer())
    with _at_work(run_dir) as journal:
        journal.append(Started(socket.gethostname(), os.getpid(), __version__))
        report = _Work(spec, run_dir, journal, told, clock or Clock()).plan_and_carry_out()
    analyse(spec.analyses, report, run_dir, told)
    return report


def resume(
    spec: RunSpec, run_dir: Path, observer: Observer | None = None, *, clock: Clock | None = None
) -> RunReport:
    """Go on with a run from wherever it stopped. Harmless on one that is complete.

    Nothing is generated or transpiled again once the plan was committed, and no job is submitted
    whose partition has a result or a job that may still give one.

    Args:
        spec: The same experiment; its `policy` and `stop_after` may differ.
        run_dir: The run's folder, which may have been copied from elsewhere.
        observer: Is told about progress; None: silent.
        clock: For tests; None: real time.

    Raises:
        As `run`.
    """
    if not (run_dir / JOURNAL_NAME).exists() and not (run_dir / ARCHIVE_NAME).exists():
        raise ConfigError(f"{run_dir} holds no run: name the folder of one, as in outputs/NAME/ID")
    if is_sealed(run_dir):
        return _as_sealed(run_dir)
    told = Guarded(observer or Observer())
    report = _go_on(spec, run_dir, told, clock or Clock())
    analyse(spec.analyses, report, run_dir, told)
    return report


def _go_on(spec: RunSpec, run_dir: Path, observer: Observer, clock: Clock) -> RunReport:
    with _at_work(run_dir) as journal:
        work = _Work(spec, run_dir, journal, observer, clock)
        if (run_dir / ARCHIVE_NAME).exists() and not work.store.has_parts:
            # A process was killed while it removed what the archive already holds.
            work.store.seal("complete", keep_parts=False)
            return _as_sealed(run_dir)
        journal.append(Resumed(socket.gethostname(), os.getpid(), __version__))
        if journal.ledger.plan is None:
            # Nothing was submitted on the strength of a plan that is not complete.
            work.store.discard_plan()
            return work.plan_and_carry_out()
        return work.carry_out_recorded()


def is_sealed(run_dir: Path) -> bool:
    """Whether a run has its archive, and no parts from which it could go on."""
    return (run_dir / ARCHIVE_NAME).exists() and not any(
        PARTS_NAME in name for name in os.listdir(run_dir)
    )


def _as_sealed(run_dir: Path) -> RunReport:
    archive = run_dir / ARCHIVE_NAME
    with open_archive(archive) as sealed:
        status = sealed.status
    if status != "complete":
        raise ArchiveError(
            f"{archive} is {status}, and the parts that a run goes on from are not beside it; "
            f"run it again with the overrides that it records"
        )
    return RunReport(archive, status, None)


def _refuse_used(run_dir: Path) -> None:
    used = [name for name in (ARCHIVE_NAME, PARTS_NAME, JOURNAL_NAME) if (run_dir / name).exists()]
    if used:
        raise ConfigError(
            f"hydra.run.dir: {run_dir} already holds a run, which is never overwritten; name "
            f"another folder or leave hydra.run.dir and hydra.sweep.subdir as they are "
            f"(to go on with that run: run_dir={run_dir})"
        )


@contextmanager
def _at_work(run_dir: Path) -> Iterator[Journal]:
    """Hold the run's lock, with its journal open; no worker process stays behind."""
    with run_lock(run_dir), Journal(run_dir) as journal:
        try:
            yield journal
        finally:
            end_workers()


@dataclass
class _Work:
    """One process's work on one run."""

    spec: RunSpec
    run_dir: Path
    journal: Journal
    observer: Observer
    clock: Clock

    def __post_init__(self) -> None:
        self.store = RunStore(self.run_dir, redactor())
        self._ending = Ending(self.run_dir, self.store, self.journal, self.observer)

    @property
    def ledger(self) -> Ledger:
        return self.journal.ledger

    def plan_and_carry_out(self) -> RunReport:
        """Select the backend, plan, and run the plan."""
        self._start_early()
        backend = self._select(None)
        header = run_header(self.spec, backend, self.run_dir.name)
        self.store.write_header(header)
        plan = self._plan(backend)
        if self.spec.stop_after == "plan":
            self.journal.append(Ended("planned"))
            return self._ending.sealed(plan, "planned")
        return self._carry_out(backend, plan, header.run_id)

    def carry_out_recorded(self) -> RunReport:
        """Run what is left of the recorded plan."""
        header, plan = self.store.read_header(), Plan(self.store.read_partitions())
        ledger, policy = self.ledger, self.spec.policy
        if len(plan.partitions) != ledger.num_partitions:
            raise ArchiveError(
                f"{self.run_dir} has parts of {len(plan.partitions)} partitions, but "
                f"{ledger.num_partitions} were planned; restore them from a copy"
            )
        note_what_is_on_disk(self.journal, self.store)
        out, done = len(ledger.open()), len(ledger.done)
        self.observer.resumed(plan, done, out, ledger.num_partitions - done - out)
        if not ledger.open() and not ledger.wanted(policy):
            return self._ending.finished(plan, None)
        backend = self._select(header["backend"]["name"])
        return self._carry_out(backend, plan, header["run_id"])

    def _start_early(self) -> None:
        """Let worker processes import while this one does, if there is enough for them to do."""
        if self._num_workers() > 1:
            start_server()

    def _num_workers(self) -> int:
        asked = [workload.num_circuits for workload in self.spec.workloads]
        known = sum(number for number in asked if isinstance(number, int))
        if known < _WORTH_WORKERS:
            return 1
        return self.spec.engine.workers or available_cores()

    def _select(self, recorded: str | None) -> BackendV2:
        backend = self.spec.select_backend(recorded)
        self.spec.engine.check_backend(backend)
        if recorded is not None and backend.name != recorded:
            raise ConfigError(
                f"backend: the run's circuits are for {recorded!r}, and the config selects "
                f"{backend.name!r}; select the former"
            )
        self.observer.backend_selected(backend.name, backend.num_qubits, self.spec.engine.name)
        for message in _ignored(self.spec):
            self.observer.warned(message)
        return backend

    def _plan(self, backend: BackendV2) -> Plan:
        """Plan; every part is on disk, and then in the journal, when this returns."""
        spec, parts = self.spec, list[str]()

        def keep(partition: Partition, pubs: list[PubRow]) -> None:
            parts.append(self.store.write_partition(partition, pubs))

        plan = build_plan(
            spec.workloads,
            seed=spec.seed,
            backend=backend,
            engine=spec.engine,
            partition=spec.partition,
            limits=spec.limits,
            on_partition=keep,
            on_pub=self.observer.pub_planned,
            num_workers=self._num_workers(),
        )
        warnings = check_max_time(plan, spec.max_time_s, spec.limits)
        self.journal.append(Planned(tuple(parts)))
        self.observer.planned(plan, spec.max_time_s, spec.limits)
        for message in warnings if spec.engine.uses_qpu else ():
            self.observer.warned(message)
        return plan

    def _carry_out(self, backend: BackendV2, plan: Plan, run_id: str) -> RunReport:
        """Submit and collect until nothing is left, or until it cannot go on."""
        failure: Exception | None = None
        with Interrupts() as interrupts:
            context = self._context(backend, plan, run_id, interrupts)
            try:
                execute(context, stop_after_submit=self.spec.stop_after == "submit")
            except Exception as error:
                if not self.ledger.batches:
                    raise
                _log.error("the run stopped", exc_info=not isinstance(error, Stopped))
                failure = error
            if self.spec.stop_after == "submit" and failure is None and self.ledger.open():
                return self._ending.detached(plan)
            return self._ending.finished(plan, failure)

    def _context(
        self, backend: BackendV2, plan: Plan, run_id: str, interrupts: Interrupts
    ) -> RunContext:
        spec, committed = self.spec, self.ledger.plan
        assert committed is not None

        return RunContext(
            engine=spec.engine,
            backend=backend,
            run_tag=run_tag(run_id),
            request=Requests(
                run_id=run_id,
                seed=spec.seed,
                plan=plan,
                ledger=self.ledger,
                primitives={workload.name: workload.primitive for workload in spec.workloads},
                load_pubs=CommittedPubs(StoredParts(self.run_dir), committed),
            ),
            journal=self.journal,
            store=self.store,
            policy=spec.policy,
            max_time_s=spec.max_time_s,
            observer=self.observer,
            is_stopped=interrupts.is_set,
            clock=self.clock,
        )


def _ignored(spec: RunSpec) -> Iterator[str]:
    """What `engine.allow_ignored_options` lets pass; without it the config was refused."""
    for workload in spec.workloads:
        for option, value in spec.engine.unhonoured(workload.primitive).items():
            yield (
                f"workload '{workload.name}': the engine '{spec.engine.name}' does not honour "
                f"{option}={value}"
            )
