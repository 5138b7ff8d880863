"""A run, top-down: select the backend, plan, run the batch, seal the archive.

What is on disk after each step: the header and the plan before the first submission, each job's
part as soon as it is collected, the sealed `run.h5` at the end. So a run that stops anywhere
leaves everything it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.archive.store import RunStore
from qexp.batch.execute import BatchReport, execute
from qexp.core.model import JobOutcome, JobRequest, Partition, Plan, RunHeader, RunStatus
from qexp.core.observer import Observer
from qexp.core.seeds import as_int, child, describe, stream
from qexp.core.spec import RunSpec
from qexp.errors import ConfigError, EngineError, JobsFailedError, QexpError
from qexp.plan.build import build_plan, check_max_time
from qexp.provenance import describe_backend, describe_environment
from qexp.redact import redact, redactor

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.core.model import Pub


@dataclass(frozen=True)
class RunReport:
    """How a run ended.

    Attributes:
        archive: Path of the sealed `run.h5`.
        status: As in the archive.
        plan: What was planned.
        batch: What became of the batch; None when only planned.
    """

    archive: Path
    status: RunStatus
    plan: Plan
    batch: BatchReport | None


def run(spec: RunSpec, run_dir: Path, observer: Observer | None = None) -> RunReport:
    """Run a declared experiment and leave its archive in `run_dir`.

    Args:
        spec: The validated experiment.
        run_dir: The run's own folder; its name is the run id.
        observer: Is told about progress; None: silent.

    Raises:
        ConfigError: The backend does not exist or does not suit the engine, or `run_dir` already
            holds a run.
        PlanError: The circuits cannot run as declared; nothing was submitted.
        EngineError: The batch could not be opened.
        JobsFailedError: The archive is sealed, but jobs are missing in it.
        KeyboardInterrupt: Interrupted; the archive is sealed with what was collected.
    """
    observer = observer or Observer()
    _refuse_used(run_dir)
    backend = spec.select_backend()
    spec.engine.check_backend(backend)
    observer.backend_selected(backend.name, backend.num_qubits, spec.engine.name)
    for message in _ignored(spec):
        observer.warned(message)
    store = RunStore(run_dir, redactor())
    store.write_header(_header(spec, backend, run_dir.name))
    plan = _plan(spec, backend, store, observer)
    if spec.stop_after == "plan":
        archive = store.seal("planned")
        observer.sealed(archive, [])
        return RunReport(archive, "planned", plan, None)
    report, outcomes = _execute(spec, backend, plan, store, run_dir.name, observer)
    status = _status(plan, report)
    archive = store.seal(status)
    observer.sealed(archive, outcomes)
    _raise_unless_complete(status, report, archive)
    return RunReport(archive, status, plan, report)


def _refuse_used(run_dir: Path) -> None:
    if (run_dir / "run.h5").exists() or (run_dir / "parts").exists():
        raise ConfigError(
            f"hydra.run.dir: {run_dir} already holds a run, which is never overwritten; name "
            f"another folder or leave hydra.run.dir and hydra.sweep.subdir as they are"
        )


def _ignored(spec: RunSpec) -> Iterator[str]:
    """What `engine.allow_ignored_options` lets pass; without it the config was refused."""
    for workload in spec.workloads:
        for option, value in spec.engine.unhonoured(workload.primitive).items():
            yield (
                f"workload '{workload.name}': the engine '{spec.engine.name}' does not honour "
                f"{option}={value}"
            )


def _plan(spec: RunSpec, backend: BackendV2, store: RunStore, observer: Observer) -> Plan:
    plan = build_plan(
        spec.workloads,
        seed=spec.seed,
        backend=backend,
        engine=spec.engine,
        partition=spec.partition,
        limits=spec.limits,
        on_partition=store.write_partition,
        on_pub=observer.pub_planned,
    )
    warnings = check_max_time(plan, spec.max_time_s, spec.limits)
    observer.planned(plan, spec.max_time_s, spec.limits)
    if spec.engine.uses_qpu:
        for message in warnings:
            observer.warned(message)
    return plan


def _execute(
    spec: RunSpec,
    backend: BackendV2,
    plan: Plan,
    store: RunStore,
    run_id: str,
    observer: Observer,
) -> tuple[BatchReport, list[JobOutcome]]:
    outcomes: list[JobOutcome] = []

    def keep(outcome: JobOutcome) -> None:
        store.write_job(outcome)
        outcomes.append(_without_result(outcome))

    report = execute(
        spec.engine,
        backend,
        _requests(spec, plan, store.load_isa_pubs, run_id),
        max_time_s=spec.max_time_s,
        on_details=store.write_batch,
        on_outcome=keep,
        observer=observer,
    )
    return report, outcomes


def _requests(
    spec: RunSpec,
    plan: Plan,
    load_isa_pubs: Callable[[Partition], list[Pub]],
    run_id: str,
) -> Iterator[JobRequest]:
    primitives = {workload.name: workload.primitive for workload in spec.workloads}
    for partition in plan.partitions:
        sequence = stream(spec.seed, partition.workload, "simulate")
        yield JobRequest(
            partition=partition,
            primitive=primitives[partition.workload],
            load_pubs=partial(load_isa_pubs, partition),
            tags=("qexp", f"qexp-run:{run_id}"[:86], f"qexp-partition:{partition.index}"),
            # Counted from the workload's first PUB, so that another workload shifts nothing.
            seed=as_int(child(sequence, partition.first)),
        )


def _without_result(outcome: JobOutcome) -> JobOutcome:
    # The result is on disk; keeping it would make memory grow with the number of jobs.
    return replace(outcome, result=None)


def _status(plan: Plan, report: BatchReport) -> RunStatus:
    done = sum(state == "DONE" for state in report.states.values())
    if done == len(plan.partitions):
        return "complete"
    return "partial" if done else "failed"


def _raise_unless_complete(status: RunStatus, report: BatchReport, archive: Path) -> None:
    if isinstance(report.failure, KeyboardInterrupt):
        raise report.failure
    if isinstance(report.failure, QexpError):
        raise type(report.failure)(f"{report.failure}; what was measured is in {archive}")
    if report.failure is not None:
        raise EngineError(
            f"batch {report.batch_id} ended early: {_one_line(report.failure)}; "
            f"what was measured is in {archive}"
        ) from report.failure
    if status != "complete":
        failed = sorted(index for index, state in report.states.items() if state != "DONE")
        raise JobsFailedError(
            f"{len(failed)} of {len(report.states)} jobs have no result (partitions "
            f"{', '.join(map(str, failed[:10]))}{'...' if len(failed) > 10 else ''}); the others "
            f"and the reasons are in {archive}"
        )


def _one_line(error: BaseException) -> str:
    text = redact(str(error)).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}"


def _header(spec: RunSpec, backend: BackendV2, run_id: str) -> RunHeader:
    return RunHeader(
        run_id=run_id,
        experiment=spec.experiment,
        engine=spec.engine.name,
        created=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        config_yaml=spec.config_yaml,
        overrides=spec.overrides,
        sources=spec.sources,
        seed=spec.seed,
        seeds=describe(spec.seed, [workload.name for workload in spec.workloads]),
        environment=describe_environment(Path.cwd()),
        backend=describe_backend(backend),
        limits={name: asdict(limit) for name, limit in spec.limits.items()},
        not_honoured={
            workload.name: spec.engine.unhonoured(workload.primitive) for workload in spec.workloads
        },
        metadata=spec.metadata,
    )
