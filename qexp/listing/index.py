"""What was read of each run, kept between listings: a cache that is never the truth.

One SQLite file in the user's cache folder. An entry counts only for a file whose size and times are
those with which it was read, and only if it has its checksum. Whatever is wrong with the index, it
is made again, or done without.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from qexp import __version__
from qexp.listing.find import Found

#: Of the form of the entries; another one is another file.
_FORM: Final = 1
_WAIT_S: Final = 5.0
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS runs (path TEXT PRIMARY KEY, signature TEXT, crc32 INTEGER, "
    "entry TEXT) WITHOUT ROWID"
)
_PATHS: Final = "SELECT path FROM runs WHERE path = ? OR (path >= ? AND path < ?)"
_ENTRIES: Final = "SELECT * FROM runs WHERE path = ? OR (path >= ? AND path < ?)"
#: What is no fault of the file: it is locked, or its place cannot be read or written.
_NO_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_INTERRUPT,
    }
)


def index_path() -> Path:
    """Where the index is: in the user's cache folder, such as `~/.cache/qexp`."""
    import platformdirs

    name = f"runs-{__version__}-{_FORM}.sqlite"
    return Path(platformdirs.user_cache_dir("qexp", appauthor=False)) / name


class Index:
    """The index of all runs that were ever listed.

    Nothing that it does raises an error: a listing is the same without it.

    Args:
        path: Path of its file; created with its folder where it can be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, root: Path, runs: Iterable[Found]) -> dict[Found, dict[str, Any]]:
        """The entries of those runs that are as they were when they were read.

        Args:
            root: The folder that was listed.
            runs: What is there now.
        """
        if not self._path.is_file():
            return {}
        try:
            return dict(self._kept(root, {_key(run.path): run for run in runs}))
        except (sqlite3.Error, ValueError) as error:
            self._after(error)
            return {}

    def write(
        self, root: Path, runs: Iterable[Found], entries: Mapping[Found, Mapping[str, Any]]
    ) -> None:
        """Keep entries, and forget those of runs that are no longer there.

        Args:
            root: The folder that was listed.
            runs: What is there now.
            entries: What was read of some of them.
        """
        rows = []
        for run, entry in entries.items():
            text = json.dumps(entry)
            rows.append((_key(run.path), run.signature, _crc32(run, text), text))
        there = {_key(run.path) for run in runs}
        for _ in range(2):
            try:
                self._write(root, there, rows)
            except (sqlite3.Error, OSError) as error:
                if not self._after(error):
                    return
            else:
                return

    def _kept(
        self, root: Path, runs: Mapping[str, Found]
    ) -> Iterator[tuple[Found, dict[str, Any]]]:
        with closing(self._open()) as database:
            rows = database.execute(_ENTRIES, _range(root))
            for key, signature, crc32, text in rows:
                run = runs.get(key)
                if run and run.signature == signature and _crc32(run, text) == crc32:
                    yield run, json.loads(text)

    def _write(self, root: Path, there: set[str], rows: list[tuple[Any, ...]]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as database, database:
            database.execute(_TABLE)
            known = database.execute(_PATHS, _range(root))
            gone = [(key,) for (key,) in known if key not in there]
            database.executemany("DELETE FROM runs WHERE path = ?", gone)
            database.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", rows)

    def _after(self, error: Exception) -> bool:
        """Remove an index that is damaged; whether it was."""
        code = getattr(error, "sqlite_errorcode", None)
        if isinstance(error, OSError) or (code is not None and code & 0xFF in _NO_DAMAGE):
            return False
        # A journal that is left would be applied to the next file of this name.
        for name in (f"{self._path.name}-journal", self._path.name):
            with suppress(OSError):
                self._path.with_name(name).unlink(missing_ok=True)
        return True

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_WAIT_S)


def _key(path: Path) -> str:
    # Names that are no UTF-8 come as lone surrogates, which SQLite does not take.
    return os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")


def _crc32(run: Found, text: str) -> int:
    return zlib.crc32(f"{_key(run.path)}\0{run.signature}\0{text}".encode("utf-8", "replace"))


def _range(root: Path) -> tuple[str, str, str]:
    """The key of a folder or file itself, and from which to which are those of what is below."""
    key = _key(root)
    below = key.rstrip(os.sep)  # that of `/` is only a separator
    return key, below + os.sep, below + chr(ord(os.sep) + 1)
