"""A run that is on disk: its config, and how far it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.archive.parts import HEADER
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME, PARTS_NAME
from qexp.archive.sweep_file import is_sweep, read_sweep
from qexp.config.paths import make_experiments_importable, run_folder
from qexp.config.recorded_config import differences, load_recorded
from qexp.core.model import SourceFile
from qexp.errors import ArchiveError, ConfigError
from qexp.journal.file import read_ledger
from qexp.journal.ledger import Ledger

if TYPE_CHECKING:
    from qexp.archive.sweep_file import SweepPoint
    from qexp.core.spec import RunSpec

NOTHING_RECORDED = (
    "stopped before its config was on disk, and nothing was submitted; run its own command line "
    "with run_dir={} added, or remove the folder"
)


def is_planned(folder: Path) -> bool:
    """Return True if the run's plan is complete and on disk.

    Raises:
        ArchiveError: The journal is damaged.
    """
    return (folder / ARCHIVE_NAME).exists() or bool(read_ledger(folder).planned)


def config_of(folder: Path) -> str | None:
    """Return the config that a run, or the first point of a sweep, recorded.

    None for a run that stopped before that.

    Raises:
        ArchiveError: The journal or the record is damaged.
    """
    from qexp.archive import parts

    if is_sweep(folder):
        return read_sweep(folder).points[0].config_yaml
    try:
        return parts.read_config_yaml(folder)
    except ArchiveError:
        if (folder / PARTS_NAME / HEADER).exists() or is_planned(folder):
            raise
        return None


def recorded_specs(
    folder: Path, trust: Sequence[str], anew: Sequence[str] = (), *, plans: bool = True
) -> list[RunSpec]:
    """Return the specs with which an unfinished run, or each point of a sweep, is resumed.

    As `recorded_spec`, with the budget that it was last given anew; where nothing `plans`, the
    circuits' code is not needed.

    Raises:
        As `recorded_spec`.
    """
    ledger = read_ledger(folder) if (folder / JOURNAL_NAME).exists() else Ledger()
    if not any("budget." in word for word in anew):
        anew = (*anew, *ledger.anew)
    if not is_sweep(folder):
        return [recorded_spec(folder, trust, anew)]
    if trust:
        make_experiments_importable()
    return [
        declared_spec(point, trust, anew, needs_circuits=plans and index not in ledger.planned)
        for index, point in enumerate(read_sweep(folder).points)
    ]


def declared_spec(
    point: SweepPoint, trust: Sequence[str], anew: Sequence[str], *, needs_circuits: bool = True
) -> RunSpec:
    """Return the spec of a point as its sweep declared it; see `load_recorded`.

    Raises:
        ConfigError: `load_recorded` refuses it.
    """
    spec = load_recorded(point.config_yaml, trust, anew, needs_circuits=needs_circuits)
    return replace(
        spec,
        stop_after=None,
        overrides=point.overrides,
        sources=point.sources,
        given_anew=_kept_words(anew),
    )


def _kept_words(anew: Sequence[str]) -> tuple[str, ...]:
    """Return the overrides that the command that resumes the run again needs, too."""
    return tuple(word for word in anew if "backend." in word or "budget." in word)


def recorded_spec(folder: Path, trust: Sequence[str], anew: Sequence[str] = ()) -> RunSpec:
    """Return the spec with which an unfinished run is resumed, from its folder alone.

    Arguments and errors are those of `load_recorded`.

    Raises:
        ArchiveError: The journal or the record is damaged.
    """
    from qexp.archive.parts import StoredParts

    if trust:
        make_experiments_importable()
    config_yaml, has_plan = config_of(folder), is_planned(folder)
    if config_yaml is None:
        raise ConfigError(f"{folder}: {NOTHING_RECORDED.format(folder)}")
    spec = load_recorded(config_yaml, trust, anew, needs_circuits=not has_plan)
    spec = replace(spec, given_anew=_kept_words(anew))
    if has_plan:
        return replace(spec, stop_after=None)
    # The run is planned from the start, and recorded once more.
    header = StoredParts(folder).read_header()
    return replace(
        spec,
        stop_after="plan" if spec.stop_after == "plan" else None,
        overrides=tuple(header["overrides"]),
        sources=tuple(SourceFile(**source) for source in header["sources"]),
    )


def check_resumable(run_dir: Path, named: str, spec: RunSpec) -> Path | None:
    """Check that a run can be resumed with a config in which `run_dir` names it.

    Return the archive of a run with nothing left to do; None if there is something.

    Raises:
        ConfigError: It is another folder, or `refuse_other_config` refuses the config.
        ArchiveError: The archive, the journal or the recorded config is damaged.
    """
    from qexp.resumption import finished_archive

    if is_sweep(run_dir):
        raise ConfigError(
            f"run_dir: {run_dir} is a sweep; to go on with it: python -m qexp resume {run_dir}"
        )
    if run_folder(named) != run_dir:
        raise ConfigError(
            f"hydra.run.dir: {run_dir} is not the folder of the run that run_dir={named} names; "
            f"leave hydra.run.dir as it is"
        )
    refuse_other_config(run_dir, spec)
    return finished_archive(run_dir)


def refuse_other_config(folder: Path, spec: RunSpec) -> None:
    """Refuse to resume a run with another config, or to plan a planned one again.

    Raises:
        ConfigError: The config differs in a key that decides data; the message lists such keys.
        ArchiveError: The journal or the recorded config cannot be read.
    """
    recorded = config_of(folder)
    if recorded is None:
        return
    found = differences(recorded, spec.config_yaml)
    if found:
        more = f" (and {len(found) - 10} more)" if len(found) > 10 else ""
        raise ConfigError(
            f"run_dir: the run in {folder} has another config: {'; '.join(found[:10])}{more}; "
            f"set it as it was, or leave out run_dir for a new run"
        )
    if spec.stop_after == "plan" and is_planned(folder):
        raise ConfigError(
            f"stop_after=plan: the run in {folder} is planned already; leave out stop_after to "
            f"resume it, or run_dir for a new run"
        )
