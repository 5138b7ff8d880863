"""Results as tidy tables: one row per outcome or expectation value, made one PUB at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from qexp.archive.pubs import PubSummary, PubTable
from qexp.archive.read import Archive
from qexp.archive.results import counts_of

if TYPE_CHECKING:
    from qiskit.primitives import PubResult

Row: TypeAlias = tuple[Any, ...]
_Points: TypeAlias = Iterator[tuple[tuple[int, ...], Row]]
"""Index of a point of a sweep, and its cells after `workload`, `pub`, `circuit`, `sweep_k`."""


@dataclass(frozen=True)
class TidyTable:
    """A table.

    Attributes:
        name: Its name.
        columns: Name of each column -> `str`, `int` or `float`.
        rows: Its rows, made as they are read, in order of workload and PUB.
    """

    name: str
    columns: Mapping[str, type]
    rows: Iterator[Row]


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
