"""List the runs below a folder: new and changed runs are read, the others are in the index."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qexp.archive.isolated import IsolatedError, IsolatedReader
from qexp.core.flatten import flatten
from qexp.errors import ConfigError
from qexp.listing.filters import matching, ordered, parse, values_of
from qexp.listing.find import RunPath, find_runs
from qexp.listing.index import Index, index_path
from qexp.listing.summary import LISTED, RunEntry, entry_without_data
from qexp.text import typed_path

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

_READ: Final = "qexp.listing.read:read_entry"
#: For one file. Reading takes milliseconds, the digest of 16 MiB some tens of them.
_TIME_LIMIT_S: Final = 20.0
_MAX_READERS: Final = 4
#: A process takes as long to start as some tens of archives take to be read.
_RUNS_PER_READER: Final = 50

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RunTable:
    """The runs of a folder that fulfil the conditions, as a sequence."""

    root: Path
    runs: tuple[RunEntry, ...]
    statuses: Counter[str]  # runs that fulfil the conditions, by status; `limit` does not count
    num_all: int  # runs in the folder
    keys: tuple[str, ...] = ()  # by which the runs were filtered and sorted

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, index: int) -> RunEntry:
        return self.runs[index]

    def __iter__(self) -> Iterator[RunEntry]:
        return iter(self.runs)

    def __repr__(self) -> str:
        return f"<RunTable {self}>"

    def __str__(self) -> str:
        count = self.statuses.total()
        listed = str(count) if count == self.num_all else f"{count} of {self.num_all}"
        text = f"{listed} {'run' if self.num_all == 1 else 'runs'} in {self.root}"
        if self.statuses:
            counts = (f"{number} {status}" for status, number in self.statuses.most_common())
            text += f": {', '.join(counts)}"
        return text if len(self) == count else f"{text}; {len(self)} are listed"

    def _repr_html_(self) -> str:
        return str(self.to_dataframe()._repr_html_())

    def to_dataframe(self, *keys: str) -> pd.DataFrame:
        """Return a table with a row for each run.

        Keys of the config become columns after those of `RunEntry`: the given ones, or those that
        were filtered or sorted by, and those that differ between the runs.
        """
        import pandas as pd

        columns = dict.fromkeys([*LISTED, *(keys or (*self.keys, *self._varying_keys()))])
        return pd.DataFrame({key: [_cell(run, key) for run in self.runs] for key in columns})

    def _varying_keys(self) -> list[str]:
        configs = [flatten(run.config) for run in self.runs]
        keys = dict.fromkeys(key for config in configs for key in config)
        return [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]


def list_runs(
    root: str | Path = "outputs",
    *where: str,
    sort: str | None = None,
    reverse: bool = False,
    limit: int | None = None,
    fresh: bool = False,
    index: Index | None = None,
    progress: Progress | None = None,
) -> RunTable:
    """List the runs below a folder: complete, partial, failed, planned, unfinished, damaged.

    Example: `list_runs("outputs", "circuits.depth>=4", sort="usage_s").to_dataframe()`.

    Args:
        root: The folder, a run's folder, or an archive.
        *where: Conditions that all have to hold, see `qexp.listing.filters`.
        sort: A field of `RunEntry` or a key of the config; None: newest first.
        reverse: Sort the other way round.
        limit: Largest number of runs to list.
        fresh: Read all runs again.
        index: The entries of earlier listings; None: the user's own.
        progress: Called with the number of runs read and to be read, from any thread.

    Raises:
        ConfigError: There is no such folder, a condition is not understood, or no run has a key.
    """
    conditions = [condition for text in where for condition in parse(text)]
    root = typed_path(root)
    runs = read_runs(root, index or Index(index_path()), fresh=fresh, progress=progress)
    # By date, the newest run comes first.
    is_descending = reverse if sort else not reverse
    listed = ordered(matching(runs, conditions), sort or "date", is_descending=is_descending)
    keys = [condition.key for condition in conditions] + ([sort] if sort else [])
    statuses = Counter[str](run.status for run in listed)
    return RunTable(root, tuple(listed[:limit]), statuses, len(runs), tuple(dict.fromkeys(keys)))


def read_runs(
    root: Path, index: Index, *, fresh: bool = False, progress: Progress | None = None
) -> list[RunEntry]:
    """Read every run below a folder, by path; arguments and errors are those of `list_runs`."""
    if not root.exists():
        raise ConfigError(f"{root} does not exist; name the folder that your runs are in")
    runs = sorted(find_runs(root), key=lambda run: run.path)
    known = {} if fresh else index.read(root, runs)
    missing = [run for run in runs if run not in known]
    read = _read_all(missing, progress or (lambda *_: None))
    if read or root.is_dir():
        index.write(root, runs, read)
    entries = known | read
    return [
        RunEntry(**{**entries[run], "path": str(run.path), "size_bytes": run.size_bytes})
        for run in runs
    ]


def _read_all(runs: Sequence[RunPath], progress: Progress) -> dict[RunPath, dict[str, Any]]:
    entries: dict[RunPath, dict[str, Any]] = {}
    # Shared by all threads: each run is taken by one of them.
    waiting = iter(runs)

    def work(_: int) -> None:
        with IsolatedReader(_READ) as reader:
            for run in waiting:
                entries[run] = _read_one(reader, run)
                progress(len(entries), len(runs))

    readers = min(_MAX_READERS, os.cpu_count() or 1, -(-len(runs) // _RUNS_PER_READER))
    if readers:
        with ThreadPoolExecutor(readers) as pool:
            try:
                list(pool.map(work, range(readers)))
            except BaseException:
                # The pool waits for its threads: leave them nothing more to read.
                list(waiting)
                raise
    return entries


def _read_one(reader: IsolatedReader, run: RunPath) -> dict[str, Any]:
    try:
        (plain,) = reader.read(str(run.path), _TIME_LIMIT_S)
    except IsolatedError as error:
        plain = entry_without_data(run.path, "unreadable", str(error)).to_json()
    return dict(plain)


def _cell(run: RunEntry, key: str) -> Any:
    if key in LISTED:
        return getattr(run, key)
    values = values_of(run, key)
    return values if len(values) > 1 else values[0] if values else None
