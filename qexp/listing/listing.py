"""List the runs below a folder: what is new or changed is read, the rest is in the index."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from qexp.archive.isolated import IsolatedError, IsolatedReader
from qexp.errors import ConfigError
from qexp.listing.entry import Entry, as_fields, not_read
from qexp.listing.find import Found, runs_below
from qexp.listing.index import Index

_READ: Final = "qexp.listing.reading:read_entry"
#: For one file. Reading takes some milliseconds, and the digest of 16 MiB some tens of them.
_PATIENCE_S: Final = 20.0
_MAX_READERS: Final = 4
#: A process takes as long to start as some tens of archives take to be read.
_PER_READER: Final = 50

Progress = Callable[[int, int], None]


def list_runs(
    root: Path, index: Index, *, is_fresh: bool = False, progress: Progress | None = None
) -> list[Entry]:
    """Every run below a folder, by path: complete, partial, failed, planned, unfinished, damaged.

    Args:
        root: The folder, a run's folder, or an archive.
        index: What earlier listings read.
        is_fresh: Whether all runs are read again.
        progress: Told how many of how many runs have been read, from any thread.

    Raises:
        ConfigError: There is no such folder.
    """
    if not root.exists():
        raise ConfigError(f"{root} does not exist; name the folder that your runs are in")
    runs = sorted(runs_below(root), key=lambda run: run.path)
    known = {} if is_fresh else index.read(root, runs)
    missing = [run for run in runs if run not in known]
    read = _read_all(missing, progress or (lambda *_: None))
    if read or root.is_dir():
        index.write(root, runs, read)
    return [_entry(run, known.get(run) or read[run]) for run in runs]


def _entry(run: Found, fields: dict[str, Any]) -> Entry:
    return replace(Entry(**fields), path=str(run.path), size_bytes=run.size_bytes)


def _read_all(runs: Sequence[Found], progress: Progress) -> dict[Found, dict[str, Any]]:
    waiting: SimpleQueue[Found] = SimpleQueue()
    for run in runs:
        waiting.put(run)
    entries: dict[Found, dict[str, Any]] = {}

    def work(_: int) -> None:
        with IsolatedReader(_READ) as reader:
            while True:
                try:
                    run = waiting.get_nowait()
                except Empty:
                    return
                entries[run] = _read_one(reader, run)
                progress(len(entries), len(runs))

    readers = min(_MAX_READERS, os.cpu_count() or 1, -(-len(runs) // _PER_READER))
    if readers:
        with ThreadPoolExecutor(readers) as pool:
            try:
                list(pool.map(work, range(readers)))
            except BaseException:
                # Interrupted: the pool waits for its threads, which are to find nothing more.
                with suppress(Empty):
                    while True:
                        waiting.get_nowait()
                raise
    return entries


def _read_one(reader: IsolatedReader, run: Found) -> dict[str, Any]:
    try:
        (fields,) = reader.read(str(run.path), _PATIENCE_S)
    except IsolatedError as error:
        fields = as_fields(not_read(run.path, "unreadable", str(error)))
    return dict(fields)
