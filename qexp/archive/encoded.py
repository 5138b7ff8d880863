"""PUBs that were encoded in runs of some, wherever that was done, put together to partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from qexp.archive.pubs import pub_tables
from qexp.archive.tables import Column, Table
from qexp.core.model import PlannedPub

_START, _SIZE = "_start", "_size"


@dataclass(frozen=True, eq=False)
class EncodedRun:
    """The tables of consecutive PUBs, whose partition is not known yet.

    Attributes:
        workload: Name of the workload.
        first: Index of the first PUB within it.
        count: Number of PUBs.
        tables: Tables by path.
    """

    workload: str
    first: int
    count: int
    tables: Mapping[str, Table]

    def isa_qpy(self, index: int) -> bytes:
        """QPY of the ISA circuit of one PUB; `index` counts within the workload."""
        columns = self.tables[f"circuits/{self.workload}/isa"].columns
        row = index - self.first
        start, size, qpy = (
            np.asarray(columns[name].values) for name in ("qpy_start", "qpy_size", "qpy")
        )
        return qpy[start[row] : start[row] + size[row]].tobytes()


@dataclass(frozen=True)
class EncodedPub:
    """One PUB of an encoded run; `index` counts within the workload."""

    run: EncodedRun
    index: int


def encode(
    workload: str, first: int, pubs: Sequence[PlannedPub], redact: Callable[[str], str]
) -> EncodedRun:
    """Encode consecutive PUBs.

    Raises:
        ArchiveError: A circuit has no QPY form.
    """
    return EncodedRun(workload, first, len(pubs), pub_tables(workload, first, -1, pubs, redact))


def partition_tables(pubs: Sequence[EncodedPub], partition: int) -> dict[str, Table]:
    """The tables of one partition: what `pub_tables` makes of the same PUBs.

    Args:
        pubs: Consecutive PUBs, in order.
        partition: Index of the partition.
    """
    pieces = []
    for _, members in groupby(pubs, key=lambda pub: id(pub.run)):
        of_run = list(members)
        run, first, last = of_run[0].run, of_run[0].index, of_run[-1].index
        if len(of_run) == run.count:
            pieces.append(run.tables)
        else:
            pieces.append({path: _cut(t, first, last + 1) for path, t in run.tables.items()})
    tables = _concatenated(pieces)
    for path, table in tables.items():
        if path.startswith("pubs/"):
            columns = dict(table.columns)
            count = columns["partition"].shape[0]
            columns["partition"] = Column(np.full(count, partition, dtype="<i4"), ("pub",))
            tables[path] = Table(columns, table.attrs)
    return tables


def _cut(table: Table, first: int, stop: int) -> Table:
    """The rows of the PUBs `first <= pub < stop`, with the bytes that belong to them."""
    pubs: Any = table.columns["pub"].values
    a, b = (int(row) for row in np.searchsorted(pubs, [first, stop]))
    spans: dict[str, tuple[int, int]] = {}
    for name, column in table.columns.items():
        if column.base:
            starts: Any = column.values
            sizes: Any = table.columns[name.removesuffix(_START) + _SIZE].values
            end = int(starts[b - 1] + sizes[b - 1]) if b > a else 0
            spans[column.base.rpartition("#")[2]] = (int(starts[a]) if b > a else 0, end)
    return Table(
        {name: _rows(column, a, b, spans) for name, column in table.columns.items()}, table.attrs
    )


def _rows(column: Column, a: int, b: int, spans: Mapping[str, tuple[int, int]]) -> Column:
    dim = column.dims[0]
    values: Any = column.values
    if dim in spans:
        values = values[slice(*spans[dim])]
    elif column.base:
        values = values[a:b] - spans[column.base.rpartition("#")[2]][0]
    else:
        values = values[a:b]
    return Column(values, column.dims, column.attrs, column.base)


def _concatenated(pieces: Sequence[Mapping[str, Table]]) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for path in dict.fromkeys(path for piece in pieces for path in piece):
        parts = [piece[path] for piece in pieces if path in piece]
        # A column that counts bytes goes on where the one before it ended.
        tables[path] = Table(
            {name: _joined(name, parts) for name in parts[0].columns}, parts[0].attrs
        )
    return {path: table for path, table in tables.items() if table.columns["pub"].shape[0]}


def _joined(name: str, parts: Sequence[Table]) -> Column:
    model = parts[0].columns[name]
    columns = [part.columns[name] for part in parts]
    if isinstance(model.values, list):
        texts = [text for column in columns for text in column.as_texts()]
        return Column(texts, model.dims, model.attrs, model.base)
    arrays: list[Any] = [column.values for column in columns]
    if model.base:
        counted = model.base.rpartition("#")[2]
        sizes = [_length(part, counted) for part in parts]
        offsets = np.cumsum([0, *sizes[:-1]])
        arrays = [array + offset for array, offset in zip(arrays, offsets, strict=True)]
    return Column(np.concatenate(arrays), model.dims, model.attrs, model.base)


def _length(table: Table, dim: str) -> int:
    return next(column.shape[0] for column in table.columns.values() if column.dims[0] == dim)
