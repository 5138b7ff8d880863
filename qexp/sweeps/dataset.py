"""One dataset of all points: swept keys are its dimensions where the points form a grid.

Otherwise the points have one dimension, `point`, with the keys as its coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qexp.archive.results import MAX_COUNTED_BITS, counted
from qexp.core.jsonable import as_text, dumps
from qexp.sweeps.records import Record, Register, has_exact
from qexp.text import parse_time

if TYPE_CHECKING:
    import xarray as xr

    from qexp.archive.read import Archive

_TEXTS: Final = {
    "status": "status of the point",
    "engine": "engine that ran the jobs",
    "folder": "name of the point's folder, which is its run id",
    "data_sha256": "digest of all results",
}
_NUMBERS: Final = {
    "usage_s": ("QPU time charged", "s"),
    "predicted_qpu_s": ("QPU time predicted", "s"),
    "num_pubs": ("PUBs that were planned", "1"),
    "num_results": ("PUBs that have a result", "1"),
}
_TIMES: Final = {
    "created": "start of the run, UTC",
    "started": "start of its first job, UTC",
    "finished": "end of its last job, UTC",
}


@dataclass(frozen=True)
class Axes:
    """Dimensions of the points, and the place of each point in them."""

    dims: tuple[str, ...]  # the swept keys, or `("point",)`
    shape: tuple[int, ...]  # lengths of these dimensions
    order: NDArray[np.int64]  # index of the point at each place, in C order
    values: Mapping[str, NDArray[Any]]  # of each swept key, by its own dimension or by `point`

    def placed(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return values by point, shape (points, ...), in the shape (*shape, ...)."""
        placed: NDArray[Any] = column[self.order].reshape(*self.shape, *column.shape[1:])
        return placed


def axes_of(draws: Sequence[Mapping[str, Any]], swept: Sequence[str]) -> Axes:
    """Find out if the points, given by their draws, form a full grid of their swept keys."""
    columns = {key: [draw.get(key) for draw in draws] for key in swept}
    # With its type, as True equals 1; as JSON, as lists cannot be hashed.
    marks = {key: [(type(v), dumps(v)) for v in column] for key, column in columns.items()}
    levels = {key: {mark: k for k, mark in enumerate(dict.fromkeys(m))} for key, m in marks.items()}
    shape = tuple(map(len, levels.values()))
    places = list(zip(*([levels[key][m] for m in marks[key]] for key in swept), strict=True))
    if swept and math.prod(shape) == len(draws) == len(set(places)):
        firsts = {key: [marks[key].index(mark) for mark in levels[key]] for key in swept}
        values = {key: _column([columns[key][k] for k in firsts[key]]) for key in swept}
        flat = np.ravel_multi_index(tuple(np.array(places).T), shape)
        return Axes(tuple(swept), shape, np.argsort(flat), values)
    values = {key: _column(column) for key, column in columns.items()}
    return Axes(("point",), (len(draws),), np.arange(len(draws)), values)


def _column(values: Sequence[Any]) -> NDArray[Any]:
    """Return swept values as booleans, integers or reals (NaN for None), else as texts."""
    kinds = {type(value) for value in values}
    if kinds in ({bool}, {int}):
        return np.array(values)
    if kinds <= {int, float, type(None)} and kinds != {type(None)}:
        return np.array([np.nan if value is None else value for value in values], float)
    return np.array([*map(as_text, values)], object)


Place: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Numbers of the parameter sets, and of the observables or outcomes, of the values of a PUB."""
Values: TypeAlias = Iterator[tuple[str, int, NDArray[Any]]]
"""Workload, index, and values of each PUB of a point."""


class PubTable(NamedTuple):
    """Variables by workload, PUB, parameter set, and a last dimension of their own."""

    variables: Mapping[str, str]  # name -> long name
    last: str  # name of the last dimension
    labels: Sequence[Any]  # values of its coordinate
    places: Sequence[Mapping[tuple[str, int], Place]]  # of each point: workload and PUB -> place
    read: Callable[[int, str], Values]  # given the number of a point and a variable's name


def build_dataset(
    axes: Axes,
    records: Sequence[Record],
    folders: Sequence[str],
    about: Mapping[str, list[str] | None],
    attrs: Mapping[str, str],
    tables: Sequence[PubTable],
) -> xr.Dataset:
    """Build the dataset; what a point does not have is NaN, `""` or no time.

    Records and names of folders are of each point; `about` is `ANALYSIS_variable` -> long name and
    unit; the variables of `tables` are read when they are asked for.
    """
    import xarray as xr

    built = xr.Dataset(attrs=dict(attrs))

    def put(name: str, column: NDArray[Any], **about: str) -> None:
        built[name] = (axes.dims, axes.placed(column), about)

    for key, values in axes.values.items():
        built.coords[key] = ((key if key in axes.dims else "point"), values, {"long_name": key})
    texts = [{**record, "folder": name} for record, name in zip(records, folders, strict=True)]
    for name, long_name in _TEXTS.items():
        put(name, np.array([t.get(name, "") for t in texts], object), long_name=long_name)
    for name, (long_name, units) in _NUMBERS.items():
        put(name, _reals(records, name), long_name=long_name, units=units)
    for name, long_name in _TIMES.items():
        times = np.array([_moment(record.get(name)) for record in records], "datetime64[ns]")
        put(name, times, long_name=long_name)
    if "seed" not in axes.values:
        seeds = np.array([record.get("seed", -1) for record in records], np.int64)
        put("seed", seeds, long_name="seed of the point, -1 where it is not known")
    numbers: list[dict[str, float]] = [record.get("values", {}) for record in records]
    for name in dict.fromkeys(name for each in numbers for name in each):
        long_name, units = about.get(name) or ("", "")
        put(name, _reals(numbers, name), long_name=long_name, units=units)
    _put_tables([table for table in tables if any(table.places)], axes, built)
    return built


def _reals(records: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    given = (record.get(name) for record in records)
    return np.array([np.nan if value is None else value for value in given], np.float64)


def _moment(text: str | None) -> np.datetime64:
    moment = parse_time(text or "")
    if moment is None:
        return np.datetime64("NaT", "ns")
    return np.datetime64(round(moment.timestamp() * 1e6), "us")


def _put_tables(tables: Sequence[PubTable], axes: Axes, built: xr.Dataset) -> None:
    """Put the variables into a dataset, without those dimensions of which there is only one."""
    from qexp.sweeps.point_arrays import PointArray, lazily

    places = [each for table in tables for places in table.places for each in places.items()]
    workloads = list(dict.fromkeys(workload for (workload, _), _ in places))
    num_sets = 1 + max((int(sets.max(initial=0)) for _, (sets, _) in places), default=0)
    num_pubs = 1 + max((pub for (_, pub), _ in places), default=0)
    common = {"workload": workloads, "pub": range(num_pubs), "parameter_set": range(num_sets)}
    single = tuple(k for k, name in enumerate(common) if name != "pub" and len(common[name]) == 1)
    points = axes.placed(np.arange(axes.order.size))
    for table in tables:
        coordinates: dict[str, Sequence[Any]] = {**common, table.last: table.labels}
        shape = tuple(map(len, coordinates.values()))
        dims = [name for k, name in enumerate(coordinates) if k not in single]
        for dim in dims:
            built.coords[dim] = (dim, list(coordinates[dim]))

        def dense(
            name: str, point: int, table: PubTable = table, shape: tuple[int, ...] = shape
        ) -> NDArray[np.float64]:
            values = np.full(shape, np.nan)
            if table.places[point]:
                for workload, pub, each in table.read(point, name):
                    sets, codes = table.places[point][workload, pub]
                    values[workloads.index(workload), pub, sets, codes] = each
            return values.squeeze(single)

        kept = tuple(len(coordinates[dim]) for dim in dims)
        for name, long_name in table.variables.items():
            data = lazily(PointArray(points, kept, partial(dense, name)))
            built[name] = ((*axes.dims, *dims), data, {"long_name": long_name, "units": "1"})


def evs_table(records: Sequence[Record], read: Callable[[int, str], Values]) -> PubTable:
    """Describe the expectation values of all points, their standard errors and exact values."""
    codes: dict[str, int] = {}

    @cache
    def place(labels: tuple[str, ...]) -> Place:
        seen: dict[str, int] = {}
        places = []
        for label in labels:
            seen[label] = seen.get(label, -1) + 1
            places.append((seen[label], codes.setdefault(label, len(codes))))
        sets, columns = np.array(places, np.int64).reshape(-1, 2).T
        return sets, columns

    places = [
        {
            (workload, pub): place(tuple(found["labels"][label]))
            for workload, found in record.get("evs", {}).items()
            for pub, label in found["pubs"]
        }
        for record in records
    ]
    variables = {"evs": "expectation value", "stds": "standard error of the expectation value"}
    if any(map(has_exact, records)):
        variables["exact"] = "expectation value without noise"
    return PubTable(variables, "observable", list(codes), places, read)


def counts_tables(
    registers: Sequence[Sequence[Register]], open_point: Callable[[int], Archive]
) -> Iterator[PubTable]:
    """Describe the counts of the outcomes of small registers, given those of each point."""
    small = [[each for each in of if 0 < each.num_bits <= MAX_COUNTED_BITS] for of in registers]
    for name in dict.fromkeys(each.name for of in small for each in of):
        own = [[each for each in of if each.name == name] for of in small]
        widths = {each.num_bits for of in own for each in of}
        # Where registers have several widths, one outcome has several texts: numbers, then.
        labels: list[Any] = list(range(2 ** max(widths)))
        if len(widths) == 1:
            labels = [format(k, f"0{max(widths)}b") for k in labels]
        places: list[dict[tuple[str, int], Place]] = [
            {
                (r.workload, r.pub): (np.arange(r.num_sets)[:, None], np.arange(2**r.num_bits))
                for r in of
            }
            for of in own
        ]
        read = partial(_read_counts, open_point, places, name)
        variables = {f"{name}_counts": f"shots with each outcome of {name}"}
        yield PubTable(variables, f"{name}_outcome", labels, places, read)


def _read_counts(
    open_point: Callable[[int], Archive],
    places: Sequence[Mapping[tuple[str, int], Place]],
    register: str,
    point: int,
    _name: str,
) -> Values:
    with open_point(point) as run:
        for workload, pub in places[point]:
            bits = run.results[workload][pub].data[register]
            yield workload, pub, counted(bits).reshape(-1, 2**bits.num_bits)
