"""Merge the parts of a run into one archive, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from qexp.archive.layout import Group, Variable, lay_out
from qexp.archive.schema import SNAPSHOTS, root_attributes
from qexp.archive.sources import PartFiles
from qexp.archive.stamp import STAMP, make_room, stamp, stamp_variable
from qexp.archive.tables import Column, Table, copy_rows, numbers
from qexp.archive.verify import check_pubs
from qexp.core.digest import data_digest
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import h5py


#: Of each dataset: its last chunks, as rows are appended.
_CACHE_BYTES: Final = 2**20


class _Shape(NamedTuple):
    dims: tuple[str, ...]
    row: tuple[int, ...]
    dtype: np.dtype[Any] | None
    attrs: Mapping[str, Any]


@dataclass
class _Layout:
    """What the first pass learns: shapes, totals, snapshots. Batches: id -> row."""

    batches: Mapping[str, int]
    columns: dict[str, dict[str, _Shape]] = field(default_factory=dict)
    attrs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    snapshots: dict[str, int] = field(default_factory=dict)
    digests: list[tuple[str, int, str]] = field(default_factory=list)
    finished: str = ""


def merge(parts: PartFiles, status: str, target: Path) -> None:
    """Write the archive and verify it by reading it back.

    Args:
        parts: The parts.
        status: How the run ended.
        target: Path of the file to write.

    Raises:
        ArchiveError: A part is damaged, or the archive does not verify.
    """
    import h5py

    layout = _Layout(batches=parts.batch_rows())
    for tables in parts.sources():
        _learn(layout, tables)
    digest = data_digest(layout.digests)
    attrs = root_attributes(parts.header, status, layout.finished, digest)
    _create(layout, attrs, target)
    with h5py.File(target, "r+", rdcc_nbytes=_CACHE_BYTES) as file:
        make_room(file)
        targets = _Targets(file)
        done: dict[str, int] = {}
        for tables in parts.sources():
            _append(targets, layout, tables, done)
    _verify(target, digest)
    stamp(target)


def _learn(layout: _Layout, tables: Mapping[str, Table]) -> None:
    for path, table in _final(layout, tables, learn=True):
        if path in layout.columns and path.startswith(SNAPSHOTS):
            continue
        known = layout.columns.setdefault(path, {})
        layout.attrs.setdefault(path, table.attrs)
        counted: dict[str, int] = {}
        for name, column in table.columns.items():
            dtype = None if column.is_text else np.dtype(column.values.dtype)  # type: ignore[union-attr]
            shape = _Shape(column.dims, column.shape[1:], dtype, column.attrs)
            if 0 in column.shape:
                continue
            known.setdefault(name, shape)
            if column.dims:
                counted[column.dims[0]] = column.shape[0]
        for dim, count in counted.items():
            layout.totals[f"{path}#{dim}"] = layout.totals.get(f"{path}#{dim}", 0) + count
        if path.startswith("pubs/"):
            _learn_pubs(layout, path.removeprefix("pubs/"), table)
        if path == "jobs":
            finished = table.columns["finished"].as_texts()[0]
            layout.finished = max(layout.finished, finished)


def _learn_pubs(layout: _Layout, workload: str, table: Table) -> None:
    """Check that a PUB's row is its index, and note its digest.

    Raises:
        ArchiveError: A partition is missing.
    """
    count = table.columns["pub"].shape[0]
    expected = layout.totals[f"pubs/{workload}#pub"] - count
    if int(table.columns["pub"].values[0]) != expected:
        msg = f"The part with PUB {expected} of {workload!r} is missing; plan the run again."
        raise ArchiveError(msg)
    digests = table.columns["result_sha256"].as_texts()
    for index, digest in zip(table.columns["pub"].values, digests, strict=True):
        if digest:
            layout.digests.append((workload, int(index), digest))


def _final(
    layout: _Layout, tables: Mapping[str, Table], *, learn: bool = False
) -> Iterator[tuple[str, Table]]:
    """The tables under their final names: snapshots numbered in order of first appearance."""
    if learn:
        for path in sorted(tables):
            if path.startswith(f"{SNAPSHOTS}/"):
                layout.snapshots.setdefault(path.rpartition("/")[2], len(layout.snapshots))
    for path, table in tables.items():
        group, _, name = path.rpartition("/")
        if group == SNAPSHOTS:
            yield f"{SNAPSHOTS}/s{layout.snapshots[name]}", table
        elif path == "jobs":
            columns = dict(table.columns)
            sha256 = columns.pop("snapshot_sha256").as_texts()[0]
            batch = columns.pop("batch_id").as_texts()[0]
            columns["snapshot"] = numbers([layout.snapshots.get(sha256, -1)], "job", "<i4")
            columns["batch"] = numbers([layout.batches.get(batch, -1)], "job", "<i4")
            yield path, Table(columns, table.attrs)
        elif path == "backend":
            attrs = {k: v for k, v in table.attrs.items() if k != "snapshot_sha256"}
            sha256 = table.attrs.get("snapshot_sha256", "")
            attrs["snapshot"] = layout.snapshots.get(sha256, -1)
            yield path, Table(table.columns, attrs)
        else:
            yield path, table


def _create(layout: _Layout, attrs: Mapping[str, Any], target: Path) -> None:
    """Create every group and dataset, empty, as netCDF: named dimensions, types, filters."""
    groups = {"": Group({STAMP: stamp_variable()}, attrs)}
    for path, columns in sorted(layout.columns.items()):
        variables = {}
        for name, shape in columns.items():
            sizes = (layout.totals[f"{path}#{shape.dims[0]}"], *shape.row) if shape.dims else ()
            variables[name] = Variable(shape.dims, sizes, shape.dtype, shape.attrs)
        groups[path] = Group(variables, layout.attrs[path])
    lay_out(target, groups)


class _Targets(dict[tuple[str, str], Any]):
    """(table, column) -> its dataset, which stays open.

    HDF5 compresses a chunk when its dataset is closed, and would do it again for every part.
    """

    def __init__(self, file: h5py.File) -> None:
        super().__init__()
        self._file = file

    def __missing__(self, key: tuple[str, str]) -> Any:
        import h5py

        found = h5py.Dataset(h5py.h5d.open(self._file.id, "/".join(key).encode()))
        self[key] = found
        return found


def _append(
    targets: _Targets,
    layout: _Layout,
    tables: Mapping[str, Table],
    done: dict[str, int],
) -> None:
    counted: dict[str, int] = {}
    bases = {path: _result_bases(tables, path, done) for path in tables if path.startswith("pubs/")}
    for path, table in _final(layout, tables):
        if path.startswith(SNAPSHOTS) and any(known == path for known, _ in targets):
            continue
        for name, column in table.columns.items():
            if 0 in column.shape:
                continue
            if not column.dims:
                targets[path, name][()] = column.as_texts()[0]
                continue
            key = f"{path}#{column.dims[0]}"
            counted[key] = column.shape[0]
            source = column
            if name == "result_row" and path in bases:
                source = Column(column.values + bases[path], column.dims)
            shift = done.get(column.base, 0) if column.base else 0
            copy_rows(source, targets[path, name], done.get(key, 0), shift)
    for key, count in counted.items():
        done[key] = done.get(key, 0) + count


def _result_bases(tables: Mapping[str, Table], path: str, done: Mapping[str, int]) -> Any:
    """What earlier parts hold of the group in which each PUB's result is."""
    workload = path.removeprefix("pubs/")
    groups = tables[path].columns["result_group"].as_texts()
    keys = [f"results/{workload}/{group}#pub" if group else "" for group in groups]
    return np.array([done.get(key, 0) for key in keys], dtype="<i8")


def _verify(target: Path, expected: str) -> None:
    """Read every result back and compare the digests.

    Raises:
        ArchiveError: A result is not what the job returned.
    """
    import h5py

    digests = []
    with h5py.File(target, "r") as file:
        for check in check_pubs(file):
            if check.problem:
                msg = (
                    f"PUB {check.index} of {check.workload!r} in {target} is not what was returned "
                    f"({check.problem}); the parts are kept."
                )
                raise ArchiveError(msg)
            digests.append(check.digest)
    if data_digest(digests) != expected:
        msg = f"Data digest of {target} is not that of its parts; the parts are kept."
        raise ArchiveError(msg)
