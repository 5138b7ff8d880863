"""The rest of a run or a sweep on disk: if anything is left to do, and the command that does it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME, PARTS_NAME
from qexp.archive.summary import load_config
from qexp.archive.sweep_file import is_sweep, read_sweep
from qexp.core.flatten import leaves
from qexp.errors import ArchiveError, ConfigError
from qexp.journal.file import read_ledger
from qexp.redact import redact
from qexp.text import short_path


def unclosed_batches(folder: Path) -> list[str]:
    """Return the ids of the batches that a run opened and no process has closed.

    A journal that cannot be read names none: where it matters, whoever opens it says so.
    """
    with suppress(ArchiveError):
        return read_ledger(folder).unclosed_batches
    return []


def finished_archive(folder: Path) -> Path | None:
    """Return the archive of a run, or the folder of a sweep, with nothing left to do, else None.

    A batch that could not be closed is something.

    Raises:
        ArchiveError: The archive is damaged.
        ConfigError: There is only the archive of an unfinished run, which cannot be resumed.
    """
    has_parts = any(PARTS_NAME in name for name in os.listdir(folder))
    if is_sweep(folder):
        points = [folder / point.folder for point in read_sweep(folder).points]
        is_finished = all(point.is_dir() and _is_finished(point) for point in points)
        return None if not is_finished or has_parts or unclosed_batches(folder) else folder
    archive = folder / ARCHIVE_NAME
    if not archive.exists() or has_parts:
        return None
    with open_archive(archive) as run:
        status = run.status
    if status == "complete":
        return None if unclosed_batches(folder) else archive
    raise ConfigError(
        f"{archive} is {status}, but the parts of its run are missing; to resume it, take the "
        f"whole folder from where the run began"
    )


def _is_finished(point: Path) -> bool:
    """Return True for a point with nothing left to do; one that is damaged is for `verify`."""
    try:
        return finished_archive(point) is not None
    except ArchiveError:
        return True


def resume_command(folder: Path, config_yaml: str = "{}", *words: str, verb: str = "resume") -> str:
    """Return the command that resumes a run, to be copied into a shell.

    The config is that of a run that was declared here, so that its code may be trusted; `words` are
    further words of the command, as they are typed, of which the first with a key counts, and
    `verb` another that takes the same ones.
    """
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.partition("=")[0], word)
    more = [redact(word) for word in first.values()]
    if is_sweep(folder):
        # No command line of its own leads into a sweep's folder: secrets are given anew.
        for path, value in leaves(load_config(config_yaml)):
            if path[:1] == ("backend",) and redact(str(value)) != str(value):
                more.append(f"{'.'.join(path)}=...")
    elif redact(config_yaml) != config_yaml and verb == "resume":
        # It is recorded without its secret, and only its own command line has that.
        named = shlex.join([f"run_dir={short_path(folder)}", *more])
        return f"python -m qexp ... {named} (with the run's own overrides, which have a secret)"
    modules = modules_to_trust(load_config(config_yaml))
    trusted = [part for name in modules for part in ("--trust", name)]
    return shlex.join(["python", "-m", "qexp", verb, short_path(folder), *more, *trusted])


def modules_to_trust(config: Mapping[str, Any]) -> list[str]:
    """List the modules besides qexp's own that a run needs to be resumed.

    Those of its circuits are not needed, because the circuits are on disk.
    """
    modules = {
        str(target).rpartition(".")[0]
        for path, target in leaves(config)
        if path[-1:] == ("_target_",) and "circuits" not in path
    }
    return sorted(name for name in modules if name.partition(".")[0] != "qexp")
