"""Results as tidy tables, as CSV or Parquet: one row per outcome or expectation value.

CSV is RFC 4180 in UTF-8, but lines end with a newline alone. A spreadsheet computes what looks like
a formula, and names in an archive may come from anybody:
https://owasp.org/www-community/attacks/CSV_Injection.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO, TypeAlias

import numpy as np

from qexp.archive.pubs import PubSummary, PubTable
from qexp.archive.read import Archive
from qexp.archive.results import counts_of
from qexp.errors import ConfigError

if TYPE_CHECKING:
    from qiskit.primitives import PubResult

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
#: Letters of Qiskit's observables, `+` and `-` (projectors on X's eigenstates) among them.
_PAULI: Final = re.compile(r"[IXYZ01+\-rl]+")
_ROW_GROUP: Final = 100_000

Row: TypeAlias = tuple[Any, ...]
_Points: TypeAlias = Iterator[tuple[tuple[int, ...], Row]]
"""Index of a point of a sweep, and its cells after `workload`, `pub`, `circuit`, `sweep_k`."""


class TidyTable(NamedTuple):
    """A table; its rows are made as they are read, in order of workload and PUB."""

    name: str
    columns: Mapping[str, type]  # name -> `str`, `int` or `float`
    rows: Iterator[Row]


def write_csv(run: Archive, folder: Path) -> list[str]:
    """Write the tables of a run; return the name and number of rows of each."""
    return [_write_csv(table, folder / f"{table.name}.csv") for table in tidy_tables(run)]


def _write_csv(table: TidyTable, path: Path) -> str:
    count = 0
    texts = [(k, name) for k, (name, kind) in enumerate(table.columns.items()) if kind is str]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(_Lines(stream), lineterminator="\r\n")
        writer.writerow(table.columns)
        for row in table.rows:
            count += 1
            cells = list(row)
            for position, column in texts:
                cells[position] = guarded(cells[position], column)
            writer.writerow(cells)
    return f"{path.name}: {count:,} rows"


class _Lines:
    """A stream that ends lines with a newline alone.

    Before Python 3.13 the writer quotes only the characters that end its lines. With a newline
    alone, a carriage return in a name would begin a row.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        return self._stream.write(row.removesuffix("\r\n") + "\n")


def guarded(text: str, column: str) -> str:
    """Return a text with an apostrophe before it if a spreadsheet would take it for a formula.

    In the column `observable`, Pauli strings such as `+-Z` stay as they are.
    """
    if not text.startswith(_FORMULA) or (column == "observable" and _PAULI.fullmatch(text)):
        return text
    return f"'{text}"


def write_parquet(run: Archive, folder: Path) -> list[str]:
    """Write the tables of a run; return the name and number of rows of each.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ConfigError(
            "--to parquet needs pyarrow: python -m pip install 'qexp[parquet]'; "
            "--to csv needs nothing"
        ) from None

    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    notes = []
    for table in tidy_tables(run):
        path, count = folder / f"{table.name}.parquet", 0
        schema = pa.schema([(name, types[kind]) for name, kind in table.columns.items()])
        with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            while block := list(islice(table.rows, _ROW_GROUP)):
                columns = map(pa.array, zip(*block, strict=True), schema.types)
                writer.write_batch(pa.record_batch(list(columns), schema=schema))
                count += len(block)
        notes.append(f"{path.name}: {count:,} rows")
    return notes


def tidy_tables(run: Archive) -> list[TidyTable]:
    """Return the tables that a run has: counts, expectation values, parameter values.

    A point of a sweep is identified by its indices, `sweep_0`, `sweep_1`, ...: as many columns as
    the largest sweep has axes.
    """
    summaries = [summary for name in run.workloads for summary in run.pub_table(name)]
    kinds = {summary.kind for summary in summaries}
    axes = max((len(summary.shape) for summary in summaries), default=0)
    point = {"workload": str, "pub": int, "circuit": str}
    point |= {f"sweep_{axis}": int for axis in range(axes)}
    tables = []
    if "sampler" in kinds:
        columns = point | {"register": str, "bitstring": str, "count": int, "shots": int}
        tables.append(TidyTable("counts", columns, _rows(run, axes, _counts)))
    if "estimator" in kinds:
        columns = point | {"observable": str, "ev": float, "std": float}
        tables.append(TidyTable("evs", columns, _rows(run, axes, _evs)))
    if any(summary.parameter_names for summary in summaries):
        columns = point | {"parameter": str, "value": float}
        tables.append(TidyTable("parameters", columns, _rows(run, axes, _parameters)))
    return tables


def _rows(
    run: Archive, axes: int, points_of_pub: Callable[[PubTable, PubSummary, PubResult], _Points]
) -> Iterator[Row]:
    for workload in run.workloads:
        table, results = run.pub_table(workload), run.results[workload]
        for index in results.available:
            summary = table[index]
            begin = (workload, index, summary.circuit)
            for point, cells in points_of_pub(table, summary, results[index]):
                yield (*begin, *point, *[None] * (axes - len(point)), *cells)


def _counts(_table: PubTable, summary: PubSummary, result: PubResult) -> _Points:
    for name, bits in result.data.items():
        if not hasattr(bits, "get_counts"):
            continue
        for point in np.ndindex(summary.shape):
            counts = counts_of(bits[point] if point else bits)
            shots = sum(counts.values())
            for outcome in sorted(counts):
                yield point, (name, outcome, counts[outcome], shots)


def _evs(table: PubTable, summary: PubSummary, result: PubResult) -> _Points:
    data = dict(result.data.items())
    if "evs" not in data:
        return
    evs = np.broadcast_to(data["evs"], summary.shape)
    stds = np.broadcast_to(data.get("stds", np.nan), summary.shape)
    observables = table.observables(summary.index)
    for point in np.ndindex(summary.shape):
        yield point, (observables[point], float(evs[point]), float(stds[point]))


def _parameters(table: PubTable, summary: PubSummary, _result: PubResult) -> _Points:
    values = table.parameter_values(summary.index)
    for point in np.ndindex(summary.shape):
        for name, value in zip(summary.parameter_names, values[point], strict=True):
            yield point, (name, float(value))
