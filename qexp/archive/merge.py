"""Merge the parts of a run into one archive, in memory that does not grow with their number.

The parts are read twice: for the sizes of all columns, which netCDF needs first, and for their
values. One partition is open at a time, with the attempt that has its results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.atomic_files import check_digest
from qexp.archive.digests import data_digest, reserve_file_digest, write_file_digest
from qexp.archive.header import header_tables, root_attributes
from qexp.archive.jobs import IN_PARTS
from qexp.archive.netcdf import netcdf_file
from qexp.archive.parts import StoredParts, copy_rows, open_part, row_of
from qexp.archive.results import INDEX
from qexp.archive.schema import (
    BACKEND,
    FIELDS,
    JOBS,
    PUBS,
    RESULTS,
    SNAPSHOT,
    SNAPSHOTS,
    SUMMARY,
)
from qexp.archive.summary import make_summary
from qexp.archive.tables import TableData
from qexp.archive.verify import result_problems
from qexp.core.jsonable import dumps_plain
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import h5py

_MOST_KEPT_OPEN: Final = 4
"""Parts of a small run, which are opened only once."""


def merge(parts: RunParts, status: str, target: Path) -> None:
    """Write the archive of a run that ended with this status, and read its results back.

    Raises:
        ArchiveError: A part is damaged, or a result is not what was returned.
    """
    survey = _Survey()
    for tables in parts.tables():
        survey.add(tables)
    digest = data_digest(survey.digests)
    attrs = root_attributes(parts.header, status, survey.finished, digest)
    with netcdf_file(target, attrs) as root:
        reserve_file_digest(root)
        datasets: dict[tuple[str, str], h5py.Dataset] = {}
        for path, columns in sorted(survey.columns.items()):
            group = root.group(path, survey.attrs[path])
            for name, (dims, row, dtype, column_attrs) in columns.items():
                shape = (survey.lengths[f"{path}#{dims[0]}"], *row) if dims else ()
                named = dict(zip(dims, shape, strict=True))
                datasets[path, name] = group.create(name, named, dtype, column_attrs)
        _fill(datasets, parts)
        root.describe({SUMMARY: dumps_plain(make_summary(ArchiveFile(target, root.file)))})
    with ArchiveFile(target) as file:
        for problem in result_problems(file):
            raise ArchiveError(f"{problem}, it is not what was returned; the parts are kept")
    write_file_digest(target)


class _Survey:
    """Shapes of all columns, digests of all PUBs and the end of the last job, table by table."""

    def __init__(self) -> None:
        # Path of a table -> column -> dimensions, shape of a row, type, attributes.
        self.columns: dict[str, dict[str, tuple[Any, ...]]] = {}
        self.attrs: dict[str, Mapping[str, Any]] = {}
        # "PATH#DIMENSION" -> its length.
        self.lengths: Counter[str] = Counter()
        # Workload, index and digest of every PUB with a result.
        self.digests: list[tuple[str, int, str]] = []
        self.finished = ""

    def add(self, tables: Mapping[str, TableData]) -> None:
        """Add the tables that follow; raise `ArchiveError` if a partition is missing."""
        for path, table in tables.items():
            if PUBS.matches(path):
                self._add_digests(path, table)
            if path == JOBS.path:
                self.finished = max(self.finished, table.columns["finished"].texts()[0])
            self.attrs.setdefault(path, table.attrs)
            columns = self.columns.setdefault(path, {})
            for name, column in table.columns.items():
                values: Any = column.values
                if 0 not in values.shape and name not in columns:
                    dtype = str if column.is_text else values.dtype
                    columns[name] = (column.dims, values.shape[1:], dtype, column.attrs)
            self.lengths.update(_lengths(path, table))

    def _add_digests(self, path: str, table: TableData) -> None:
        workload, expected = path.rpartition("/")[2], self.lengths[f"{path}#{PUBS.dim}"]
        first = int(table.columns["pub"].values[0])
        if first != expected:
            raise ArchiveError(
                f"the part with PUB {expected} of {workload!r} is missing: plan the run again"
            )
        digests = enumerate(table.columns["result_sha256"].texts(), start=first)
        self.digests += [(workload, index, digest) for index, digest in digests if digest]


def _lengths(path: str, table: TableData) -> dict[str, int]:
    """Return the length of every first dimension of a table."""
    return {
        f"{path}#{column.dims[0]}": column.values.shape[0]
        for column in table.columns.values()
        if column.dims and 0 not in column.values.shape
    }


def _fill(datasets: Mapping[tuple[str, str], h5py.Dataset], parts: RunParts) -> None:
    done: Counter[str] = Counter()
    for tables in parts.tables():
        for path, table in tables.items():
            for name, column in table.columns.items():
                if 0 not in column.values.shape:
                    start = done[f"{path}#{column.dims[0]}"] if column.dims else 0
                    copy_rows(column, datasets[path, name], start, done[column.base])
        for path, table in tables.items():
            done.update(_lengths(path, table))


class RunParts:
    """The parts of a run, in the order in which the archive holds them.

    Batches are as `StoredParts.read_batches` returns them; the journal is a JSON document per line.

    Raises:
        ArchiveError: The run has no header, or a part is damaged.
    """

    def __init__(
        self, stored: StoredParts, batches: Sequence[Mapping[str, Any]], journal: str
    ) -> None:
        self.header = stored.read_header()
        self._batches = batches
        self._header_tables = header_tables(self.header, self._batches, journal)
        self._partitions = stored.numbered("partition")
        jobs = stored.numbered("job")
        for path in (*self._partitions.values(), *jobs.values()):
            check_digest(path)
        self._jobs: dict[int, list[Path]] = {}
        for (index, _attempt), path in jobs.items():
            self._jobs.setdefault(index, []).append(path)
        self._snapshots: dict[str, int] = {}
        self._is_small = len(self._partitions) + len(jobs) <= _MOST_KEPT_OPEN
        self._kept: dict[Path, dict[str, TableData]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def _opened(self, path: Path) -> Iterator[dict[str, TableData]]:
        if self._is_small:
            if path not in self._kept:
                self._kept[path] = self._stack.enter_context(open_part(path))
            yield self._kept[path]
        else:
            with open_part(path) as tables:
                yield tables

    def tables(self) -> Iterator[dict[str, TableData]]:
        """Yield the tables of the header, then of each partition followed by its attempts.

        Their paths are those of the archive. Indices count from the first row of the
        part; copying adds the rows of earlier parts, see `ColumnData.base`.
        """
        rows: Counter[str] = Counter()
        self._snapshots = {}
        yield self._named(self._header_tables)
        for (index,), path in self._partitions.items():
            attempts = self._jobs.get(index, [])
            with ExitStack() as stack:
                partition = stack.enter_context(self._opened(path))
                jobs = {
                    position: stack.enter_context(self._opened(attempts[position]))
                    for position in self._result_attempts(attempts)
                }
                yield _with_results(partition, jobs, len(attempts) - 1, rows)
                for position, job_path in enumerate(attempts):
                    if position in jobs:
                        yield self._named(jobs[position])
                        continue
                    with self._opened(job_path) as other:
                        without = {p: t for p, t in other.items() if not _has_fields(p)}
                        yield self._named(without)

    def _result_attempts(self, attempts: Sequence[Path]) -> list[int]:
        """Return the positions of the attempts whose results are kept, ascending.

        Of several with results of the same PUBs the first one counts, `DONE` ones before others.
        """
        candidates = []
        for position, path in enumerate(attempts):
            with self._opened(path) as tables:
                row = row_of(tables[JOBS.path])
            if row["num_results"]:
                pubs = set(range(row["first"], row["first"] + row["num_results"]))
                candidates.append((row["state"] != "DONE", position, pubs))
        covered: set[int] = set()
        chosen = []
        for _, position, pubs in sorted(candidates, key=lambda candidate: candidate[:2]):
            if covered.isdisjoint(pubs):
                covered |= pubs
                chosen.append(position)
        return sorted(chosen)

    def _named(self, tables: Mapping[str, TableData]) -> dict[str, TableData]:
        """Return tables with calibrations numbered, each once, in order of first appearance."""
        named, snapshots = {}, self._snapshots
        for path, table in tables.items():
            if SNAPSHOT.matches(path) and (sha256 := path.rpartition("/")[2]) not in snapshots:
                snapshots[sha256] = len(snapshots)
                named[SNAPSHOT.at(f"s{snapshots[sha256]}")] = table
            elif not path.startswith((INDEX.at(""), SNAPSHOTS)):
                named[path] = table
        if JOBS.path in named:
            columns = dict(named[JOBS.path].columns)
            batch_id, sha256 = (columns.pop(name).texts()[0] for name in IN_PARTS)
            ids = {batch["id"]: row for row, batch in enumerate(self._batches)}
            indices = {"snapshot": [snapshots.get(sha256)], "batch": [ids.get(batch_id)]}
            named[JOBS.path] = TableData({**columns, **JOBS.encode(indices).columns})
        if BACKEND.path in named:
            attrs = dict(named[BACKEND.path].attrs)
            attrs["snapshot"] = snapshots.get(attrs.pop("snapshot_sha256", ""), -1)
            named[BACKEND.path] = TableData(named[BACKEND.path].columns, attrs)
        return named


def _has_fields(path: str) -> bool:
    return any(table.matches(path) for table in FIELDS)


def _with_results(
    partition: Mapping[str, TableData],
    jobs: Mapping[int, Mapping[str, TableData]],
    last: int,
    rows: Counter[str],
) -> dict[str, TableData]:
    """Return the tables of a partition; `/pubs` gets the place of each result.

    `jobs` are the attempts whose results are kept, by their position among all, of which that of
    the `last` is -1 if there is none; `rows` counts the results in each group of `/results`.
    """
    (path,) = (path for path in partition if PUBS.matches(path))
    pubs, workload = partition[path], path.rpartition("/")[2]
    indices: Any = pubs.columns["pub"].values[:]
    values: dict[str, list[Any]] = {
        "job": [last] * len(indices),
        "result_group": [None] * len(indices),
        "result_row": [None] * len(indices),
        "result_sha256": [None] * len(indices),
        "result_metadata_json": [None] * len(indices),
    }
    for position, job in jobs.items():
        index = job[INDEX.at(workload)].columns
        texts = {name: index[name].texts() for name in ("group", "sha256", "metadata_json")}
        first = int(job[JOBS.path].columns["first"].values[0]) - int(indices[0])
        for row, group in enumerate(texts["group"], start=first):
            place = RESULTS.at(workload, group)
            values["job"][row] = position
            values["result_row"][row] = rows[place]
            rows[place] += 1
        for name, cells in texts.items():
            values[f"result_{name}"][first : first + len(cells)] = cells
    added = dict(PUBS.encode(values).columns)
    if last < 0:
        added["job"] = replace(added["job"], base="")
    return {**partition, path: TableData({**pubs.columns, **added}, pubs.attrs)}
