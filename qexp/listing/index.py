"""Keep the entries of runs between listings, as a cache.

One SQLite file in the user's cache folder. An entry counts only for a file whose size and times are
those with which it was read, and only if it has its checksum. If anything is wrong with the index,
it is made again, or the listing does without it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from qexp import __version__
from qexp.listing.find import RunPath

#: Version of the format of the entries; another version is another file.
_FORMAT: Final = 3
_WAIT_S: Final = 5.0
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS runs (path TEXT PRIMARY KEY, signature TEXT, crc32 INTEGER, "
    "entry TEXT) WITHOUT ROWID"
)
_SELECT: Final = "SELECT {} FROM runs WHERE path = ? OR (path >= ? AND path < ?)"


def index_path() -> Path:
    """Return the index's path in the user's cache folder, such as `~/.cache/qexp`.

    Where there is no such folder, nothing can be at the path.
    """
    import platformdirs

    try:
        folder = platformdirs.user_cache_dir("qexp", appauthor=False)
    except RuntimeError:
        # No HOME, and a user id without a name.
        folder = os.devnull
    return Path(folder, f"runs-{__version__}-{_FORMAT}.sqlite")


class Index:
    """The index of all runs that were ever listed.

    No method raises an error: a listing is the same without the index.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, root: Path, runs: Iterable[RunPath]) -> dict[RunPath, dict[str, Any]]:
        """Return the entries of those runs below a folder that have not changed."""
        if not self._path.is_file():
            return {}
        there = {_key(run.path): run for run in runs}
        try:
            with closing(self._open()) as database:
                rows = database.execute(_SELECT.format("*"), _range(root)).fetchall()
            return {
                there[key]: json.loads(text)
                for key, signature, crc32, text in rows
                if key in there and there[key].signature == signature
                if crc32 == _crc32(there[key], text)
            }
        except (sqlite3.Error, ValueError) as error:
            self._remove_if_damaged(error)
            return {}

    def write(
        self, root: Path, runs: Iterable[RunPath], entries: Mapping[RunPath, Mapping[str, Any]]
    ) -> None:
        """Keep entries of runs below a folder, and forget those of runs that are not there."""
        there = {_key(run.path) for run in runs}
        texts = {run: json.dumps(entry) for run, entry in entries.items()}
        rows = [
            (_key(run.path), run.signature, _crc32(run, text), text) for run, text in texts.items()
        ]
        for _ in range(2):
            try:
                self._write(root, there, rows)
            except (sqlite3.Error, OSError) as error:
                if self._remove_if_damaged(error):
                    continue
            return

    def _write(self, root: Path, there: set[str], rows: list[tuple[Any, ...]]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as database, database:
            database.execute(_TABLE)
            known = database.execute(_SELECT.format("path"), _range(root))
            gone = [(key,) for (key,) in known if key not in there]
            database.executemany("DELETE FROM runs WHERE path = ?", gone)
            database.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", rows)

    def _remove_if_damaged(self, error: Exception) -> bool:
        """Remove an index that is damaged or has another table; return True if it was removed."""
        # Any other OperationalError: the file is locked, or cannot be read or written.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        is_operational = isinstance(error, sqlite3.OperationalError)
        if isinstance(error, OSError) or (is_operational and code != sqlite3.SQLITE_ERROR):
            return False
        # A journal that is left would be applied to the next file of this name.
        for name in (f"{self._path.name}-journal", self._path.name):
            with suppress(OSError):
                self._path.with_name(name).unlink(missing_ok=True)
        return True

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_WAIT_S)


def _key(path: Path) -> str:
    # Names that are not UTF-8 have lone surrogates, which SQLite does not take.
    return os.fsencode(os.path.join(os.getcwd(), path)).decode("utf-8", "backslashreplace")


def _crc32(run: RunPath, text: str) -> int:
    return zlib.crc32(f"{_key(run.path)}\0{run.signature}\0{text}".encode("utf-8", "replace"))


def _range(root: Path) -> tuple[str, str, str]:
    """Return the key of a folder or file, and the first and last key of what is below it."""
    key = _key(root)
    below = key.rstrip(os.sep)  # that of `/` is only a separator
    return key, below + os.sep, below + chr(ord(os.sep) + 1)
