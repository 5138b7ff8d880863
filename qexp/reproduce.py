"""Run an archived run again from nothing but its file, and compare.

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
from qexp.archive.verify import require_intact
from qexp.compare.changes import of_environments, versions
from qexp.compare.model import Change, Comparison
from qexp.core.model import SourceFile
from qexp.errors import (
    ArchiveError,
    ConfigError,
    GeneratorError,
    NotReproducedError,
    UntrustedError,
    is_explained_by_traceback,
)

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qexp.archive.read import Archive
    from qexp.core.spec import RunSpec

_log = logging.getLogger("qexp")

Circuits: TypeAlias = Literal["generated", "archived"]

#: What pip can be told to install from its index; anything else in a list may be an option of pip.
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_ARCHIVED = "to run the circuits as they are in the archive: --circuits archived"


@dataclass(frozen=True)
class Software:
    """The software that is installed, beside the one that was.

    Attributes:
        changes: What differs in Python, platform, repository and the packages that there were.
        num_added: Number of packages that were not installed then.
    """

    changes: tuple[Change, ...]
    num_added: int


def software(path: Path) -> Software:
    """Compare the software that an archive records with what is installed here.

    Args:
        path: The archive's file.

    Raises:
        ArchiveError: It cannot be read.
    """
    from qexp.provenance import describe_environment

    with open_archive(path) as run:
        then = run.environment
    now = describe_environment(Path.cwd())
    if not (then.get("git_commit") and now["git_commit"]):
        # Of the folder in which a run was started, which need not be in a repository.
        for environment in (then, now):
            environment.update(git_commit="", git_diff="")
    changes = of_environments(then, now)
    kept = tuple(change for change in changes if change.kind != "added")
    return Software(kept, len(changes) - len(kept))


def requirements(path: Path) -> str:
    """The packages that an archive records, as a requirements file of pip.

    Args:
        path: The archive's file.

    Raises:
        ArchiveError: It cannot be read, or records no packages.
    """
    with open_archive(path) as run:
        run_id, environment = run.run_id, run.environment
    recorded = environment["distributions"]
    lines = [f"# Packages of run {_plain(run_id)}, Python {_plain(environment['python'])}."]
    # qexp itself may have been installed from a repository, of which an index knows nothing.
    for item in recorded:
        is_pinned = _PINNED.fullmatch(item) and "qexp" not in versions([item])
        lines.append(item if is_pinned else f"# {_plain(item)}")
    if not recorded:
        raise ArchiveError(f"{path} records no packages, so that no requirements can be written.")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


@dataclass(frozen=True)
class Repetition:
    """How an archived run is to be repeated.

    Attributes:
        archive: The archive's file.
        trust: Dotted prefixes of targets that the user allows beside qexp's own.
        circuits: Whether the circuits are generated again, or taken from the archive.
        submit: Whether time on a QPU may be spent.
    """

    archive: Path
    trust: tuple[str, ...] = ()
    circuits: Circuits = "generated"
    submit: bool = False

    def spec(self) -> tuple[RunSpec, tuple[str, ...]]:
        """The run to be run, and what the user should know of it, one line each.

        Raises:
            ArchiveError: The archive cannot be read, or holds no data to compare with.
            ConfigError: Its config cannot be run here; names what is not trusted; or would cost
                time on a QPU, which was not allowed.
        """
        with open_archive(self.archive) as run:
            notes = self._check_data(run)
            loaded = self._load(run)
            self._check_cost(run, loaded)
            sources, changed = _sources(run.sources, self.trust)
            name = str(run.backend["name"])
            spec = replace(
                loaded,
                stop_after=None,
                # One that chooses by load would choose another device today.
                select_backend=partial(_select_recorded, loaded.select_backend, name),
                workloads=self._workloads(loaded),
                overrides=run.overrides,
                sources=sources,
                metadata={
                    **loaded.metadata,
                    "reproduces": {
                        "run_id": run.run_id,
                        "data_sha256": run.data_sha256,
                        "circuits": self.circuits,
                    },
                },
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
            if not _can(lambda: load(needs_circuits=False)):
                raise
            where = ""
            if isinstance(error, UntrustedError):
                name = f"{error.target.rpartition('.')[0].replace('.', '/')}.py"
                if any(source.name == name for source in run.sources):
                    where = f"; its source is {name} in qexp.open_archive('{self.archive}').sources"
            raise ConfigError(f"{error}{where}; {_ARCHIVED}") from error

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
            replace(each, generate=partial(_archived_pubs, self.archive, each.name))
            for each in spec.workloads
        )


def _can(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except ConfigError:
        return False
    return True


def _select_recorded(
    select: Callable[[str | None], BackendV2], name: str, _pinned: str | None
) -> BackendV2:
    return select(name)


def _archived_pubs(archive: Path, workload: str, _sequence: Any) -> Iterator[Any]:
    with open_archive(archive) as run:
        yield from run.pubs(workload)


def _sources(
    recorded: Sequence[SourceFile], trust: Sequence[str]
) -> tuple[tuple[SourceFile, ...], tuple[str, ...]]:
    """The sources of the new run: of trusted modules, those that are imported; and what changed."""
    sources, changed = [], []
    for source in recorded:
        text = _current_text(source.name, trust)
        if text is not None and text != source.text:
            changed.append(f"{source.name} is not what it was: the archive holds another text")
        sources.append(source if text is None else replace(source, text=text))
    return tuple(sources), tuple(changed)


def _current_text(name: str, trust: Sequence[str]) -> str | None:
    """The text of a trusted module as it would be imported now."""
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


def repeat(repetition: Repetition, spec: RunSpec, run_dir: Path) -> Path:
    """Run it; progress and summary go to the terminal.

    Args:
        repetition: How it is repeated.
        spec: What `Repetition.spec` returned.
        run_dir: What `new_folder` returned.

    Returns:
        The new archive.

    Raises:
        As `qexp.experiment.run`. What never came to a batch leaves nothing behind.
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
        if isinstance(error, GeneratorError) and repetition.circuits == "generated":
            raise GeneratorError(f"{error}; the traceback is in {log}; {_ARCHIVED}") from error
        raise
    assert report.archive is not None
    return report.archive


def new_folder(spec: RunSpec, into: str | None) -> Path:
    """Where the new run goes: as that of the runner, in the current folder, if nothing is said.

    Raises:
        ConfigError: There is something in the folder that was named, or it cannot be one.
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


def judge(found: Comparison) -> str:
    """What came of it, in one line.

    Args:
        found: The archive compared with the new one.

    Raises:
        NotReproducedError: The data differ, or not all of them could be compared.
    """
    data, missing = found.data, found.a.num_results - found.data.num_common
    if missing:
        raise NotReproducedError(
            f"not reproduced: for {missing} of {found.a.num_results} PUBs the new run has another "
            f"circuit or no result; other software or another generator may be the reason; "
            f"{_ARCHIVED}"
        )
    if data.verdict == "identical":
        return "reproduced: bit-identical"
    if data.verdict == "compatible":
        return "reproduced: statistically compatible, not bit-identical"
    if data.verdict == "untested":
        why = "; ".join(dict.fromkeys(pub.problem for pub in data.untested))
        raise NotReproducedError(
            f"not reproduced: the data of {len(data.untested)} of {data.num_common} PUBs are not "
            f"bit-identical and cannot be tested: {why}"
        )
    raise NotReproducedError(
        f"not reproduced: the data are not compatible (level {data.alpha:g}); to see all of it: "
        f"python -m qexp diff {found.a.path} {found.b.path}"
    )


def checked(path: str | Path) -> Path:
    """The archive's file, absolute, if it is what was sealed.

    Raises:
        ArchiveError: It is not there, damaged, or no archive.
    """
    return require_intact(path).resolve()
