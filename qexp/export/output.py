"""Write an output completely or not at all, and never in place of anything else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from qexp.archive import commit
from qexp.errors import ArchiveError, ConfigError


def refuse_existing(path: Path, archive: Path, *, is_file: bool, force: bool) -> None:
    """Refuse an output that exists, unless it may be replaced.

    Args:
        path: The output.
        archive: The archive, which is never replaced.
        is_file: Whether the output is a file rather than a folder.
        force: Whether an earlier output may be replaced.

    Raises:
        ConfigError: The output exists, and may not or cannot be replaced.
    """
    if not os.path.lexists(path):
        return
    if archive.resolve().is_relative_to(path.resolve()):
        raise ConfigError(f"{path} is or holds the archive itself: choose another --output")
    if path.is_symlink() or path.is_dir() == is_file:
        kind = "file" if is_file else "folder"
        raise ConfigError(f"{path} exists and is no {kind}: choose another --output")
    if not force:
        raise ConfigError(
            f"{path} exists already: choose another --output, or replace it with --force"
        )


def replacing(path: Path, *, is_file: bool) -> AbstractContextManager[Path]:
    """Yield a path beside `path` to write to; on success it becomes `path`.

    On an exception nothing is left behind and an existing `path` stays as it was. A folder is not
    replaced if it holds files that the new one does not have.

    Raises:
        ArchiveError: The output cannot be written.
        ConfigError: The folder holds other files.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveError(
            f"cannot create {path.parent}: {error.strerror}; choose another --output"
        ) from error
    return commit.replacing(path) if is_file else _replacing_folder(path)


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    temporary, old = (path.with_name(f".{path.name}.{name}") for name in ("tmp", "old"))
    try:
        # A process that was killed may have left one.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        if path.is_dir():
            _refuse_other_files(path, temporary)
            os.replace(path, old)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise ArchiveError(
            f"cannot write {path}: {reason}; check free space and permissions"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _refuse_other_files(folder: Path, new: Path) -> None:
    for item in sorted(folder.rglob("*")):
        if not os.path.lexists(new / item.relative_to(folder)):
            raise ConfigError(
                f"{item} would be lost: {folder} holds more than this export writes; remove it "
                "yourself, or choose another --output"
            )
