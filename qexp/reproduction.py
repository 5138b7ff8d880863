"""Run an archived run again from its file alone.

Nothing that an archive names is imported or executed unless it is qexp's own or trusted by the
user. The archive is only read; all that is written goes into the folder of the new run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from qexp.archive.read import open_archive
from qexp.compare.changes import package_versions, software_changes
from qexp.compare.model import Change, Comparison
from qexp.config.recorded_config import given_workloads, load_recorded
from qexp.config.sources import current_sources
from qexp.core.protocols import SimulatingEngine
from qexp.engines.options import flatten, nested
from qexp.errors import (
    ArchiveError,
    ConfigError,
    GeneratorError,
    NotReproducedError,
    QexpError,
    UntrustedError,
)
from qexp.text import printable

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.archive.read import Archive
    from qexp.core.spec import RunSpec, WorkloadSpec

Circuits: TypeAlias = Literal["generated", "archived"]
Device: TypeAlias = Literal["installed", "archived"]

_USE_ARCHIVED = "to run the circuits as they are in the archive: --circuits archived"
"""Advice if circuits cannot be generated as they were."""
_CONFIGURATION = {"backend_name", "basis_gates", "gates", "n_qubits"}
"""Fields of a configuration from which a device can be rebuilt."""
#: A distribution that pip can install from its index; other texts could be options of pip.
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")


def installed_changes(path: Path) -> tuple[Change, ...]:
    """Compare the software that an archive records with the installed one.

    The repositories are compared only if both runs were started in one.

    Raises:
        ArchiveError: The archive cannot be read.
    """
    from qexp.provenance import describe_environment

    with open_archive(path) as run:
        recorded = run.environment
    installed = describe_environment(Path.cwd())
    if not (recorded["git_commit"] and installed["git_commit"]):
        no_repository = {"git_commit": "", "git_diff": ""}
        recorded, installed = recorded | no_repository, installed | no_repository
    return software_changes(recorded, installed)


def write_requirements(archive: Path, path: Path) -> None:
    """Write the packages that an archive records as a new requirements file of pip.

    Raises:
        ArchiveError: The archive cannot be read, or records no packages.
        ConfigError: The file exists, or cannot be written.
    """
    with open_archive(archive) as run:
        run_id, environment = run.run_id, run.environment
    recorded = environment["distributions"]
    if not recorded:
        raise ArchiveError(f"{archive} records no packages, so that no requirements can be written")
    lines = [f"Packages of run {run_id}, Python {environment['python']}."]
    if source := environment.get("qexp_source"):
        lines.append("qexp: " + ", ".join(f"{name} {value}" for name, value in source.items()))
    lines += recorded
    try:
        with path.open("x", encoding="utf-8") as file:
            for line in lines:
                # qexp itself may come from a repository, which no package index knows.
                is_own = "qexp" in package_versions([line])
                is_installable = _PINNED.fullmatch(line) and not is_own
                file.write(f"{line if is_installable else f'# {printable(line)}'}\n")
    except FileExistsError:
        raise ConfigError(f"--requirements: {path} exists; name a new file") from None
    except OSError as error:
        raise ConfigError(f"--requirements: cannot write {path}: {error.strerror}") from None


def reproduction_spec(
    archive: Path,
    trust: Sequence[str] = (),
    circuits: Circuits = "generated",
    *,
    device: Device | None = None,
    submit: bool = False,
) -> tuple[RunSpec, tuple[str, ...]]:
    """Return the new run, and what the user should know about it, one line each.

    Example:
        `reproduction_spec(path)[0]` is the run to give to `run_again`.

    Args:
        archive: The archive's file.
        trust: Dotted prefixes of targets that the user allows besides qexp's own.
        circuits: Generate the circuits again, or take them from the archive.
        device: Simulate the device that the installed packages have by this name, or the one that
            is in the archive; None: the latter if the name is gone or its calibration has changed.
        submit: Allow a run that costs time on a QPU.

    Raises:
        ArchiveError: The archive cannot be read, or holds no data to compare with.
        ConfigError: Its config cannot be run here, names targets that are not trusted, or would
            cost time on a QPU without `submit`.
    """
    with open_archive(archive) as run:
        notes = _check_data(run)
        loaded = _load(run, trust, circuits)
        if loaded.engine.uses_qpu and not submit:
            predicted_s = sum(partition.qpu_s for partition in run.partitions)
            raise ConfigError(
                f"{archive} was run on {run.backend['name']} by engine '{loaded.engine.name}': to "
                f"run it again costs time on a QPU ({run.usage_s:.0f} s were charged, "
                f"{predicted_s:.0f} s predicted); nothing was submitted; add --submit to submit it"
            )
        sources, changed = current_sources(run.sources, trust)
        given = given_workloads(run.config_yaml)
        if given:
            notes += (
                f"the circuits of {', '.join(sorted(given))} were given in Python; those of the "
                f"archive are run",
            )
        workloads = tuple(
            replace(each, generate=partial(_archived_pubs, archive, each.name), is_archived=True)
            if circuits == "archived" or each.name in given
            else each
            for each in (_as_honoured(run, each) for each in loaded.workloads)
        )
        reproduces = {
            "run_id": run.run_id,
            "data_sha256": run.data_sha256,
            "circuits": "archived" if given else circuits,
        }
        select, note = _choose_device(run, loaded, device)
        engine = loaded.engine
        spec = replace(
            loaded,
            stop_after=None,
            # However long the recorded run took, it is wanted again.
            engine=engine.unbounded() if isinstance(engine, SimulatingEngine) else engine,
            select_backend=select,
            workloads=workloads,
            overrides=run.overrides,
            sources=sources,
            metadata={**loaded.metadata, "reproduces": reproduces},
        )
    return spec, (*notes, *changed, *note)


def _as_honoured(run: Archive, workload: WorkloadSpec) -> WorkloadSpec:
    """Return a workload without the options that its run did not honour, though it would now."""
    primitive, ignored = workload.primitive, run.not_honoured.get(workload.name, {})
    kept = {path: value for path, value in flatten(primitive.options) if path not in ignored}
    return replace(workload, primitive=replace(primitive, options=nested(kept), ignored=ignored))


def _check_data(run: Archive) -> tuple[str, ...]:
    """Refuse an archive without results; return a note on one that lacks some."""
    planned = sum(len(results) for results in run.results.values())
    done = sum(len(results.available) for results in run.results.values())
    if not done:
        raise ArchiveError(
            f"{run.path} is {run.status} and holds no results, so that there is nothing to "
            f"reproduce; run it with its own command line, or name a run with data"
        )
    if done == planned:
        return ()
    return (
        f"the archive is {run.status}: {done} of {planned} PUBs have a result; all are run, and "
        f"these are compared",
    )


def _load(run: Archive, trust: Sequence[str], circuits: Circuits) -> RunSpec:
    from qexp.config.paths import make_experiments_importable

    if trust:
        make_experiments_importable()
    load = partial(load_recorded, run.config_yaml, trust)
    if circuits == "archived":
        return load(needs_circuits=False)
    try:
        return load(needs_circuits=True)
    except ConfigError as error:
        try:
            load(needs_circuits=False)
        except ConfigError:
            # Archived circuits would not help.
            raise error from None
        where = ""
        if isinstance(error, UntrustedError):
            name = f"{error.target.rpartition('.')[0].replace('.', '/')}.py"
            if any(source.name == name for source in run.sources):
                where = f"; its source is {name} in qexp.open_archive('{run.path}').sources"
        raise ConfigError(f"{error}{where}; {_USE_ARCHIVED}") from error


def _choose_device(
    run: Archive, spec: RunSpec, device: Device | None
) -> tuple[Callable[[str | None], BackendV2], tuple[str, ...]]:
    """Return what selects the device of the new run, and a note if it is that of the archive."""
    described = run.backend
    name = str(described["name"])
    # A device chosen by load could be another one today.
    installed = partial(_select_recorded, spec.select_backend, name)
    data = configuration, properties = described.get("configuration"), described["properties"]
    is_whole = bool(properties) and set(configuration or ()) >= _CONFIGURATION
    can_be_rebuilt = is_whole and not spec.engine.uses_qpu
    if device == "archived" and not can_be_rebuilt:
        raise ConfigError(
            f"--device archived: {run.path} has no simulated device with a calibration (got {name} "
            f"by engine '{spec.engine.name}'); leave --device out"
        )
    if device == "installed" or not can_be_rebuilt:
        return installed, ()
    reason = "" if device == "archived" else _reason_to_rebuild(installed, properties)
    if device is None and not reason:
        return installed, ()
    return partial(_rebuild, *data), (f"{name} is rebuilt from the archive{reason}",)


def _reason_to_rebuild(installed: Callable[[None], BackendV2], recorded: Any) -> str:
    from qexp.engines.local.backends import calibration

    try:
        is_same = calibration(installed(None)) == recorded
    except QexpError as error:
        return f": {error}"
    return "" if is_same else ": the installed packages have another calibration of it"


def _rebuild(configuration: Any, properties: Any, _pinned: str | None) -> BackendV2:
    from qexp.engines.local.archived_device import ArchivedDevice

    return ArchivedDevice(configuration, properties)


def _select_recorded(
    select: Callable[[str | None], BackendV2], name: str, _pinned: str | None
) -> BackendV2:
    return select(name)


def _archived_pubs(archive: Path, workload: str, _sequence: Any) -> Iterator[Any]:
    with open_archive(archive) as run:
        yield from run.pubs(workload)


def run_again(spec: RunSpec, run_dir: Path, circuits: Circuits = "generated") -> Path:
    """Run an archived run again, as `reproduction_spec` returned it, and return the new archive.

    Progress and summary go to the terminal. If it fails before a batch is opened, nothing is left
    behind in `run_dir`, which is from `new_folder`.

    Raises:
        As `qexp.experiment.run`.
    """
    from qexp.config.cleanup import LOG_NAME, clean_up
    from qexp.experiment import run
    from qexp.progress import Terminal
    from qexp.runlog import logging_into

    run_dir.mkdir(parents=True, exist_ok=True)
    log = run_dir / LOG_NAME
    try:
        with (
            logging_into(log, "the run ended with an error"),
            Terminal([spec], run_dir) as terminal,
        ):
            report = run(spec, run_dir, terminal)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        clean_up(run_dir, error)
        if isinstance(error, GeneratorError) and circuits == "generated":
            raise GeneratorError(f"{error}; the traceback is in {log}; {_USE_ARCHIVED}") from error
        raise
    assert report.archive is not None
    return report.archive


def new_folder(spec: RunSpec, into: str | None) -> Path:
    """Return the folder of the new run, which does not exist yet or is empty.

    It is the one that the user names, or a new one in `outputs/` of the current folder.

    Raises:
        ConfigError: The named folder is not empty, or cannot be made.
    """
    if into is None:
        from qexp.config.paths import new_run_id

        return Path.cwd() / "outputs" / spec.experiment / new_run_id()
    folder = Path(into).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--into: {into} is not empty; name a folder that does not exist yet")
    above = next(parent for parent in folder.parents if parent.exists())
    if not above.is_dir():
        raise ConfigError(f"--into: {into} cannot be a folder: {above} is a file; name another")
    return folder


def reproduction_verdict(comparison: Comparison) -> str:
    """Return the outcome of a reproduction, from the comparison of the archive with the new one.

    Raises:
        NotReproducedError: The data differ, or not all of them could be compared.
    """
    data, missing = comparison.data, comparison.a.num_results - comparison.data.num_common
    if missing:
        raise NotReproducedError(
            f"not reproduced: for {missing} of {comparison.a.num_results} PUBs the new run has "
            f"another circuit or no result; other software or another generator may be the reason; "
            f"{_USE_ARCHIVED}"
        )
    if data.verdict == "identical":
        return "reproduced: bit-identical"
    if data.verdict == "compatible":
        then, now = comparison.a.simulator_version, comparison.b.simulator_version
        if then != now and None not in {then, now}:
            return (
                f"reproduced: statistically compatible (simulator version {then} then, {now} now)"
            )
        return "reproduced: statistically compatible, not bit-identical"
    if data.verdict == "untested":
        reasons = "; ".join(dict.fromkeys(pub.problem for pub in data.untested))
        raise NotReproducedError(
            f"not reproduced: the data of {len(data.untested)} of {data.num_common} PUBs are not "
            f"bit-identical and cannot be tested: {reasons}"
        )
    raise NotReproducedError(
        f"not reproduced: the data are not compatible (level {data.alpha:g}); to see all of it: "
        f"python -m qexp diff {comparison.a.path} {comparison.b.path}"
    )
