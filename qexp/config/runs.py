"""A run that is on disk: where it is, how it stands, and whether a config is its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qexp.archive.parts import HEADER
from qexp.archive.schema import ARCHIVE_NAME, PARTS_NAME
from qexp.errors import ArchiveError, ConfigError
from qexp.journal.file import JOURNAL_NAME, read_ledger

if TYPE_CHECKING:
    from qexp.core.spec import RunSpec


def run_folder(given: str | Path) -> Path:
    """The folder of a run, absolute.

    Args:
        given: The folder, or the `run.h5` in it.

    Raises:
        ConfigError: There is no such folder, or no run in it.
    """
    path = Path(given).expanduser()
    folder = path.parent if path.name == ARCHIVE_NAME else path
    if not folder.is_dir():
        raise ConfigError(f"{given} does not exist; name the folder of a run")
    if not any((folder / name).is_file() for name in (JOURNAL_NAME, ARCHIVE_NAME)):
        raise ConfigError(
            f"{given} holds no run: there is neither {JOURNAL_NAME} nor {ARCHIVE_NAME} in it; name "
            f"the folder of a run"
        )
    return folder.resolve()


def finished_archive(folder: Path) -> Path | None:
    """The archive of a run to which nothing is left to do; None if there is something.

    Raises:
        ArchiveError: The archive is damaged.
        ConfigError: Only the archive of an unfinished run is there, with which nobody can go on.
    """
    from qexp.archive.read import open_archive
    from qexp.points import is_sealed

    if not is_sealed(folder):
        return None
    archive = folder / ARCHIVE_NAME
    with open_archive(archive) as run:
        status = run.status
    if status == "complete":
        return archive
    raise ConfigError(
        f"{archive} is {status}, but the parts of its run are missing; to go on, take the whole "
        f"folder from where the run began"
    )


def is_planned(folder: Path) -> bool:
    """Whether the run's plan is complete and on disk.

    Raises:
        ArchiveError: The journal is damaged.
    """
    return (folder / ARCHIVE_NAME).exists() or read_ledger(folder).plan is not None


def config_of(folder: Path) -> str | None:
    """The config that a run recorded; None if it was stopped before it recorded anything.

    Raises:
        ArchiveError: The journal or the record is damaged.
    """
    from qexp.archive.parts import recorded_config

    try:
        return recorded_config(folder)
    except ArchiveError:
        if (folder / PARTS_NAME / HEADER).exists() or is_planned(folder):
            raise
        return None


def refuse_other_config(folder: Path, spec: RunSpec) -> None:
    """Refuse to go on with a run of another config, or to plan what is planned.

    Raises:
        ConfigError: The config differs in what decides data; the message says in what.
        ArchiveError: The journal or the recorded config cannot be read.
    """
    from qexp.config.compare import differences

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
            f"stop_after=plan: the run in {folder} is planned already; leave out stop_after to go "
            f"on with it, or run_dir for a new run"
        )


def finished_line(archive: Path) -> str:
    """What is said when nothing is left to do."""
    return f"complete, nothing is left to do: {archive}"


def log_into(folder: Path) -> Path:
    """Send the log into the run's `run.log`, set up as for a run that Hydra starts.

    Returns:
        Path of that file.
    """
    import logging.config

    import yaml  # type: ignore[import-untyped]

    from qexp.config.hydra_setup import shipped_root

    text = (shipped_root() / "conf" / "qexp.yaml").read_text(encoding="utf-8")
    declared = yaml.safe_load(text)["hydra"]["job_logging"]
    path = folder / "run.log"
    declared["handlers"]["file"]["filename"] = str(path)
    logging.config.dictConfig(declared)
    return path
