"""Run an archived run again from its file alone.

Nothing that an archive names is imported or executed unless it is qexp's own or trusted by the
user. The archive is only read; all that is written goes into the folder of the new run.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from qexp.archive.read import open_archive
from qexp.compare.changes import package_versions, software_changes
from qexp.compare.model import Change
from qexp.compare.verdict import USE_ARCHIVED
from qexp.core.model import SourceFile
from qexp.errors import (
    ArchiveError,
    ConfigError,
    GeneratorError,
    UntrustedError,
    is_explained_by_traceback,
)
from qexp.text import printable

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.archive.read import Archive
    from qexp.core.spec import RunSpec

_log = logging.getLogger("qexp")

Circuits: TypeAlias = Literal["generated", "archived"]

#: A distribution that pip can install from its index; other texts could be options of pip.
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")


def installed_changes(path: Path) -> tuple[Change, ...]:
    """Compare the software that an archive records with the installed one.

    The repositories are compared only if both runs were started in one.

    Args:
        path: The archive's file.

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
    """Write the packages that an archive records as a requirements file of pip.

    Args:
        archive: The archive's file.
        path: A new file.

    Raises:
        ArchiveError: The archive cannot be read, or records no packages.
        ConfigError: The file exists, or cannot be written.
    """
    with open_archive(archive) as run:
        run_id, environment = run.run_id, run.environment
    recorded = environment["distributions"]
    if not recorded:
        raise ArchiveError(f"{archive} records no packages, so that no requirements can be written")
    lines = [f"Packages of run {run_id}, Python {environment['python']}.", *recorded]
    try:
        with path.open("x", encoding="utf-8") as file:
            for line in lines:
                file.write(f"{line if _is_installable(line) else f'# {printable(line)}'}\n")
    except FileExistsError:
        raise ConfigError(f"--requirements: {path} exists; name a new file") from None
    except OSError as error:
        raise ConfigError(f"--requirements: cannot write {path}: {error.strerror}") from None


def _is_installable(distribution: str) -> bool:
    # qexp itself may come from a repository, of which an index knows nothing.
    return bool(_PINNED.fullmatch(distribution)) and "qexp" not in package_versions([distribution])


@dataclass(frozen=True)
class Reproduction:
    """An archived run that is to be run again.

    Example:
        `Reproduction(path).spec()[0]` is the run to give to `run_again`.

    Attributes:
        archive: The archive's file.
        trust: Dotted prefixes of targets that the user allows besides qexp's own.
        circuits: Whether the circuits are generated again, or taken from the archive.
        submit: Whether time on a QPU may be spent.
    """

    archive: Path
    trust: tuple[str, ...] = ()
    circuits: Circuits = "generated"
    submit: bool = False

    def spec(self) -> tuple[RunSpec, tuple[str, ...]]:
        """Return the new run, and what the user should know of it, one line each.

        Raises:
            ArchiveError: The archive cannot be read, or holds no data to compare with.
            ConfigError: Its config cannot be run here, names targets that are not trusted, or
                would cost time on a QPU without `submit`.
        """
        with open_archive(self.archive) as run:
            notes = self._check_data(run)
            loaded = self._load(run)
            self._check_cost(run, loaded)
            sources, changed = _current_sources(run.sources, self.trust)
            name = str(run.backend["name"])
            reproduces = {
                "run_id": run.run_id,
                "data_sha256": run.data_sha256,
                "circuits": self.circuits,
            }
            spec = replace(
                loaded,
                stop_after=None,
                # A choice by load could be another device today.
                select_backend=partial(_select_recorded, loaded.select_backend, name),
                workloads=self._workloads(loaded),
                overrides=run.overrides,
                sources=sources,
                metadata={**loaded.metadata, "reproduces": reproduces},
            )
        return spec, (*notes, *changed)

    def _check_data(self, run: Archive) -> tuple[str, ...]:
        planned = sum(len(results) for results in run.results.values())
        done = sum(len(results.available) for results in run.results.values())
        if not done:
            raise ArchiveError(
                f"{self.archive} is {run.status} and holds no results, so that there is nothing to "
                f"reproduce; run it with its own command line, or name a run with data"
            )
        if done == planned:
            return ()
        return (
            f"the archive is {run.status}: {done} of {planned} PUBs have a result; all are run, "
            f"and these are compared",
        )

    def _load(self, run: Archive) -> RunSpec:
        from qexp.config.paths import make_experiments_importable
        from qexp.config.recorded_config import load_recorded

        if self.trust:
            make_experiments_importable()
        load = partial(load_recorded, run.config_yaml, self.trust)
        if self.circuits == "archived":
            return load(needs_circuits=False)
        try:
            return load(needs_circuits=True)
        except ConfigError as error:
            try:
                load(needs_circuits=False)
            except ConfigError:
                # Archived circuits would be no way out.
                raise error from None
            where = ""
            if isinstance(error, UntrustedError):
                name = f"{error.target.rpartition('.')[0].replace('.', '/')}.py"
                if any(source.name == name for source in run.sources):
                    where = f"; its source is {name} in qexp.open_archive('{self.archive}').sources"
            raise ConfigError(f"{error}{where}; {USE_ARCHIVED}") from error

    def _check_cost(self, run: Archive, spec: RunSpec) -> None:
        if not spec.engine.uses_qpu or self.submit:
            return
        predicted_s = sum(partition.qpu_s for partition in run.partitions)
        raise ConfigError(
            f"{self.archive} was run on {run.backend['name']} by engine '{spec.engine.name}': to "
            f"run it again costs time on a QPU ({run.usage_s:.0f} s were charged, "
            f"{predicted_s:.0f} s predicted); nothing was submitted; add --submit to submit it"
        )

    def _workloads(self, spec: RunSpec) -> tuple[Any, ...]:
        if self.circuits == "generated":
            return spec.workloads
        return tuple(
            replace(
                each, generate=partial(_archived_pubs, self.archive, each.name), is_archived=True
            )
            for each in spec.workloads
        )


def _select_recorded(
    select: Callable[[str | None], BackendV2], name: str, _pinned: str | None
) -> BackendV2:
    return select(name)


def _archived_pubs(archive: Path, workload: str, _sequence: Any) -> Iterator[Any]:
    with open_archive(archive) as run:
        yield from run.pubs(workload)


def _current_sources(
    recorded: Sequence[SourceFile], trust: Sequence[str]
) -> tuple[tuple[SourceFile, ...], tuple[str, ...]]:
    """Return the sources of the new run, with the present text of trusted modules; and changes."""
    sources, changed = [], []
    for source in recorded:
        text = _current_text(source.name, trust)
        if text is not None and text != source.text:
            changed.append(f"{source.name} is not what it was: the archive holds another text")
        sources.append(source if text is None else replace(source, text=text))
    return tuple(sources), tuple(changed)


def _current_text(name: str, trust: Sequence[str]) -> str | None:
    """Return the text of a trusted module as it would be imported now; None for another file."""
    module = name.removesuffix(".py").replace("/", ".")
    # Either may be within the other: a package may be trusted, or one function.
    pairs = [(f"{module}.", f"{prefix.rstrip('.')}.") for prefix in trust]
    if not name.endswith(".py") or not any(a.startswith(b) or b.startswith(a) for a, b in pairs):
        return None
    try:
        found = find_spec(module)
        return Path(found.origin).read_text("utf-8") if found and found.origin else None
    except (ImportError, OSError, ValueError):
        return None


def run_again(spec: RunSpec, run_dir: Path, circuits: Circuits = "generated") -> Path:
    """Run an archived run again; progress and summary go to the terminal.

    Args:
        spec: As `Reproduction.spec` returned it.
        run_dir: As `new_folder` returned it.
        circuits: As in `Reproduction`.

    Returns:
        The new archive.

    Raises:
        As `qexp.experiment.run`. If it fails before a batch is opened, nothing is left behind.
    """
    from qexp.config.cleanup import clean_up
    from qexp.config.runs import log_into
    from qexp.experiment import run
    from qexp.progress import Terminal

    run_dir.mkdir(parents=True, exist_ok=True)
    log = log_into(run_dir)
    try:
        with Terminal(spec, run_dir) as terminal:
            report = run(spec, run_dir, terminal)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if is_explained_by_traceback(error) and not isinstance(error, KeyboardInterrupt):
            _log.error("the run ended with an error", exc_info=True)
        clean_up(run_dir, error)
        if isinstance(error, GeneratorError) and circuits == "generated":
            raise GeneratorError(f"{error}; the traceback is in {log}; {USE_ARCHIVED}") from error
        raise
    assert report.archive is not None
    return report.archive


def new_folder(spec: RunSpec, into: str | None) -> Path:
    """Return the folder of the new run, which does not exist yet or is empty.

    Args:
        spec: The run.
        into: The folder that the user names; None: a new one in `outputs/` of the current folder,
            as for any run.

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
