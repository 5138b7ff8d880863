"""qexp from Python: what the command line does, as functions that return objects and raise errors.

Arguments are overrides, as on the command line; keywords are overrides as well, with Python values.
Everything can be called again and again, in any thread, and in a running event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from qexp.archive.read import Archive, open_archive
from qexp.errors import ArchiveError, ConfigError

if TYPE_CHECKING:
    from qexp.batch.status import RunState
    from qexp.config.declaration import Declaration
    from qexp.core.spec import RunSpec
    from qexp.experiment import RunReport
    from qexp.planning.table import PlanTable
    from qexp.sweeps.opened import Sweep

    Circuits: TypeAlias = Iterable[Any] | Callable[..., Iterable[Any]] | str | None
    """PUBs, their generator, or the value of the override `circuits`."""


@overload
def run(
    *overrides: str | RunSpec,
    stop_after: Literal["submit"],
    circuits: Circuits = None,
    shots: int | None = None,
    precision: float | None = None,
    **values: Any,
) -> Path: ...


@overload
def run(
    *overrides: str | RunSpec,
    circuits: Circuits = None,
    shots: int | None = None,
    precision: float | None = None,
    **values: Any,
) -> Archive: ...


def run(
    *overrides: str | RunSpec,
    circuits: Circuits = None,
    shots: int | None = None,
    precision: float | None = None,
    **values: Any,
) -> Archive | Path:
    """Run an experiment, and return its archive.

    Args:
        *overrides: The name of an experiment and overrides, as on the command line; or one spec
            from `declare`, without overrides.
        circuits: PUBs as Qiskit's primitives accept them, which are copied; or a generator of PUBs,
            a function with its settings bound by `functools.partial`. Both replace the circuits
            that the experiment declares. A text or a mapping is the override `circuits=...`.
        shots: The override `primitive.shots`.
        precision: The override `primitive.precision`.
        **values: Further overrides; those with a dot as in `**{"circuits.depth": 8}`.

    Returns:
        The open archive; with `stop_after="submit"`, the run's folder for `resume`.

    Raises:
        ConfigError: The declared run is wrong; nothing was left behind.
        PlanError: The circuits cannot run as declared; nothing was left behind.
        EngineError: The batch could not be opened.
        UnfinishedError: Jobs are in flight or still to be submitted; `resume` continues.
        JobsFailedError: Everything was tried, but jobs have no result; the archive says why.
        ArchiveError: Something could not be written.
        RunLockedError: Another process works on the run.
        KeyboardInterrupt: Interrupted; what was measured is kept, and the message has the command
            that resumes the run.

    Example:
        >>> run = qexp.run("random_sampling", "circuits.depth=8", seed=7)
        >>> run = qexp.run(circuits=[(circuit, values)], primitive="sampler", shots=4096)
    """
    declared = _declared(overrides, circuits, shots, precision, values)
    report = _run_or_resume(declared)
    if declared.spec.stop_after == "submit":
        return declared.folder
    assert report.archive is not None
    return open_archive(report.archive)


def plan(
    *overrides: str | RunSpec,
    circuits: Circuits = None,
    shots: int | None = None,
    precision: float | None = None,
    **values: Any,
) -> PlanTable:
    """Plan an experiment, submit nothing, and return the plan as a table.

    The plan is kept, as with `stop_after=plan` on the command line: `qexp.resume(plan.folder)` runs
    it. Arguments and errors are those of `run`.

    Example:
        >>> plan = qexp.plan("random_sampling", backend="least_busy")
        >>> plan.total.qpu_s
        582.0
    """
    if "stop_after" in values:
        raise ConfigError("stop_after: plan() always stops after planning; leave it out")
    declared = _declared(overrides, circuits, shots, precision, {**values, "stop_after": "plan"})
    report = _run_or_resume(declared)
    assert report.archive is not None
    if report.plan is None:
        raise ConfigError(f"stop_after=plan: the run in {declared.folder} is complete")

    from qexp.planning.table import plan_table

    spec = declared.spec
    with open_archive(report.archive) as archive:
        name, num_qubits = archive.backend["name"], archive.backend["num_qubits"]
    return plan_table(
        report.plan,
        spec.max_time_s,
        spec.limits,
        spec.partition,
        backend=f"{name} ({num_qubits} qubits, engine {spec.engine.name})",
        folder=declared.folder,
        engine=spec.engine,
        budget_s=spec.budget_s,
    )


def declare(
    *overrides: str,
    circuits: Circuits = None,
    shots: int | None = None,
    precision: float | None = None,
    **values: Any,
) -> RunSpec:
    """Return a run as declared and checked, without running it, for `run`, `plan` or a test.

    No service is asked, no circuit is made and no file is written. Arguments are those of `run`.

    Raises:
        ConfigError: The declared run is wrong.

    Example:
        >>> qexp.declare("ghz", shots=100).workloads[0].primitive.shots
        100
    """
    return _declared(overrides, circuits, shots, precision, values).spec


def sweep(*overrides: str, **values: Any) -> Sweep:
    """Run a sweep as one experiment, and return it.

    Args:
        *overrides: The name of an experiment and overrides, as on the command line with `-m`.
        **values: Further overrides, of one value each.

    Returns:
        The sweep; with `stop_after="submit"` or `"plan"` without results.

    Raises:
        PointsFailedError: Points cannot run; the others are kept.
        QexpError: As `run`.
        KeyboardInterrupt: As `run`.

    Example:
        >>> sweep = qexp.sweep("ghz", "circuits.num_qubits=2,3,4", shots=1000)
        >>> sweep.to_dataset()
    """
    from qexp.config.cleanup import cleaning_up, make_folder
    from qexp.config.declaration import declare_sweep
    from qexp.config.sweep_launcher import write_declaration
    from qexp.experiment import run as run_points
    from qexp.sweeps.opened import open_sweep
    from qexp.workers import import_qiskit

    import_qiskit()
    named = {"shots": "primitive.shots", "precision": "primitive.precision"}
    launch = declare_sweep(overrides, {named.get(key, key): value for key, value in values.items()})
    with cleaning_up(launch.folder, is_new=make_folder(launch.folder, "hydra.sweep.dir")):
        write_declaration(launch)
        _run_logged(launch.specs, launch.folder, run_points)
    return open_sweep(launch.folder)


def resume(
    path: str | Path, *overrides: str, trust: Sequence[str] = (), collect_only: bool = False
) -> Archive | Sweep:
    """Resume a run or a sweep from wherever it stopped, from its folder alone, and return it.

    One that is complete is left as it is.

    Args:
        path: The run's folder, or the `run.h5` in it.
        *overrides: What is given anew: `backend.instance=...`, `backend.account=...` or
            `backend.channel=...`, `budget.qpu=...`, and keys of `execution`, such as
            `execution.retry_refused=true`.
        collect_only: Take what is finished, wait for nothing and submit nothing;
            `UnfinishedError` says what is left.
        trust: Dotted prefixes of functions and classes that the recorded config may name besides
            qexp's own, such as `"experiments.mine"`.

    Raises:
        ConfigError: There is no such run, or its config names what is not trusted.
        QexpError: As `run`.
        KeyboardInterrupt: As `run`.
    """
    from qexp.config.runs import recorded_specs
    from qexp.experiment import resume as resume_run
    from qexp.resumption import finished_archive

    folder = _folder_of(path, trust)
    archive = finished_archive(folder)
    if archive is None:
        specs = recorded_specs(folder, trust, overrides)
        if collect_only:
            specs = [replace(spec, stop_after="collect") for spec in specs]
        archive = _run_logged(specs, folder, resume_run).archive
    return _opened(folder, archive)


def cancel(path: str | Path, *overrides: str, trust: Sequence[str] = ()) -> Archive | Sweep | None:
    """Cancel the queued jobs of a run or a sweep, close its batches, and keep what has run.

    Arguments are those of `resume`.

    Returns:
        The archive; None if nothing was ever out: the run was not submitted, or its engine's jobs
        end with their process.

    Raises:
        UnfinishedError: Jobs are running; `resume(path, collect_only=True)` collects them later.
        QexpError: As `run`.
        KeyboardInterrupt: As `run`.
    """
    from qexp.config.runs import recorded_specs
    from qexp.experiment import cancel as cancel_run

    folder = _folder_of(path, trust)
    report = _run_logged(recorded_specs(folder, trust, overrides), folder, cancel_run)
    return None if report.status is None else _opened(folder, report.archive)


def status(path: str | Path, *overrides: str, trust: Sequence[str] = ()) -> RunState:
    """Ask the service how far a run is; submit, cancel and write nothing, and take no lock.

    Arguments are those of `resume`.

    Returns:
        The state of its partitions and batches, and what was charged; `print` shows a table.

    Raises:
        ConfigError: There is no such run, or its config names what is not trusted.
        EngineError: The service could not be asked, or knows none of the run's jobs.
        ArchiveError: The run is damaged.
    """
    from qexp.batch.status import read_state
    from qexp.config.runs import recorded_specs

    folder = _folder_of(path, trust)
    return read_state(recorded_specs(folder, trust, overrides), folder)


def _opened(folder: Path, archive: Path | None) -> Archive | Sweep:
    from qexp.archive.sweep_file import is_sweep
    from qexp.sweeps.opened import open_sweep

    if is_sweep(folder):
        return open_sweep(folder)
    assert archive is not None
    return open_archive(archive)


def _folder_of(path: str | Path, trust: Sequence[str]) -> Path:
    """Return the folder of a recorded run, with everything imported that it may need."""
    from qexp.config.paths import make_experiments_importable, run_folder
    from qexp.workers import import_qiskit

    import_qiskit()
    if trust:
        make_experiments_importable(is_own_process=False)
    return run_folder(path)


def _declared(
    overrides: Sequence[str | RunSpec],
    circuits: Circuits,
    shots: int | None,
    precision: float | None,
    values: dict[str, Any],
) -> Declaration:
    """Declare a run by the arguments of the public functions."""
    from qexp.config.declaration import declaration_of, declare_run
    from qexp.core.spec import RunSpec
    from qexp.workers import import_qiskit

    import_qiskit()
    named = {"primitive.shots": shots, "primitive.precision": precision}
    values = values | {key: value for key, value in named.items() if value is not None}
    if isinstance(circuits, str | Mapping):
        values, circuits = {**values, "circuits": circuits}, None
    specs = [item for item in overrides if isinstance(item, RunSpec)]
    if not specs:
        return declare_run([*overrides], values, circuits)  # type: ignore[list-item]
    stops_at_plan = values.pop("stop_after", None) == "plan"
    if len(overrides) > 1 or values or circuits is not None:
        raise ConfigError("a spec cannot be combined with overrides; pass them to qexp.declare")
    declared = declaration_of(specs[0])
    if not stops_at_plan:
        return declared
    return replace(declared, spec=replace(declared.spec, stop_after="plan"))


def _run_or_resume(declared: Declaration) -> RunReport:
    """Run or resume a declared run; leave on disk what the command line leaves."""
    from qexp.config.cleanup import cleaning_up, make_folder
    from qexp.config.runs import check_resumable
    from qexp.experiment import RunReport, resume, run

    folder = declared.folder
    if declared.run_dir is not None:
        archive = check_resumable(folder, declared.run_dir, declared.spec)
        if archive is not None:
            return RunReport(archive, "complete", None)
    is_new = declared.run_dir is None and make_folder(folder, "hydra.run.dir")
    start = run if declared.run_dir is None else resume
    with cleaning_up(folder, is_new=is_new):
        try:
            return _run_logged([declared.spec], folder, start)
        except OSError as error:
            raise ArchiveError(str(error)) from error


def _run_logged(
    specs: Sequence[RunSpec], folder: Path, start: Callable[..., RunReport]
) -> RunReport:
    from qexp.config.cleanup import LOG_NAME
    from qexp.interrupts import Interrupts, StopSignals
    from qexp.progress import Terminal
    from qexp.resumption import resume_command
    from qexp.runlog import logging_into

    try:
        with (
            StopSignals(ends_process=False) as signals,
            logging_into(folder / LOG_NAME, "the run ended with an error"),
            Terminal(specs, folder, is_quiet=True) as terminal,
        ):
            report = start(specs, folder, terminal, interrupts=Interrupts(ends_process=False))
    except KeyboardInterrupt as error:
        if str(error):
            raise
        command = resume_command(folder, specs[0].config_yaml)
        raise KeyboardInterrupt(f"interrupted; what was measured is kept: {command}") from None
    if signals.is_set():
        raise KeyboardInterrupt(f"interrupted; what was measured is kept: {folder}")
    return report
