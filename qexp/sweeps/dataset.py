"""One dataset of all points: swept keys are its dimensions where the points form a grid.

Otherwise the points have one dimension, `point`, with the keys as its coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qexp.archive.results import MAX_COUNTED_BITS, counted
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError
from qexp.sweeps.records import Record
from qexp.text import parse_time

if TYPE_CHECKING:
    import xarray as xr

    from qexp.archive.read import Archive

#: Values of one variable; above it, 160 MB, a dataset is no place for them.
_MAX_VALUES: Final = 20_000_000
_TEXTS: Final = {
    "status": "status of the point",
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
    """Dimensions of the points, and the place of each point in them.

    Attributes:
        dims: The swept keys, or `("point",)`.
        shape: Lengths of these dimensions.
        order: Index of the point at each place, in C order.
        values: Swept key -> its values, by its own dimension or by `point`.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    order: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]]

    def placed(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return values by point, shape (points, ...), in the shape (*shape, ...)."""
        placed: NDArray[Any] = column[self.order].reshape(*self.shape, *column.shape[1:])
        return placed


def axes_of(draws: Sequence[Mapping[str, Any]], swept: Sequence[str]) -> Axes:
    """Find out if the points form a full grid of their swept keys.

    Args:
        draws: Swept key -> value, of each point.
        swept: The swept keys.
    """
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
    return np.array([value if isinstance(value, str) else dumps(value) for value in values], object)


class _Row(NamedTuple):
    """Values of one PUB of one point, with the place of each."""

    point: int
    workload: str
    pub: int
    sets: NDArray[np.int64]  # number of the parameter set
    codes: NDArray[np.int64]  # number of the observable or outcome
    values: tuple[NDArray[Any], ...]  # of each variable


def build_dataset(
    axes: Axes,
    records: Sequence[Record],
    folders: Sequence[str],
    about: Mapping[str, list[str] | None],
    attrs: Mapping[str, str],
    *,
    evs: bool = True,
    open_point: Callable[[int], Archive] | None = None,
) -> xr.Dataset:
    """Build the dataset; what a point does not have is NaN, `""` or no time.

    Args:
        axes: Dimensions of the points.
        records: Of each point.
        folders: Name of the folder of each point.
        about: `ANALYSIS_variable` -> long name and unit.
        attrs: Attributes.
        evs: With expectation values.
        open_point: Opens the archive of a point for its counts; None: without counts.

    Raises:
        ArchiveError: The values of one variable would take more than 160 MB.
    """
    import xarray as xr

    built = xr.Dataset(attrs=dict(attrs))

    def put(name: str, extra: tuple[str, ...], column: NDArray[Any], **about: str) -> None:
        built[name] = (axes.dims + extra, axes.placed(column), about)

    for key, values in axes.values.items():
        built.coords[key] = ((key if key in axes.dims else "point"), values, {"long_name": key})
    texts = [{**record, "folder": name} for record, name in zip(records, folders, strict=True)]
    for name, long_name in _TEXTS.items():
        put(name, (), np.array([t.get(name, "") for t in texts], object), long_name=long_name)
    for name, (long_name, units) in _NUMBERS.items():
        put(name, (), _reals(records, name), long_name=long_name, units=units)
    for name, long_name in _TIMES.items():
        times = np.array([_moment(record.get(name)) for record in records], "datetime64[ns]")
        put(name, (), times, long_name=long_name)
    if "seed" not in axes.values:
        seeds = np.array([record.get("seed", -1) for record in records], np.int64)
        put("seed", (), seeds, long_name="seed of the point, -1 where it is not known")
    numbers: list[dict[str, float]] = [record.get("values", {}) for record in records]
    for name in dict.fromkeys(name for each in numbers for name in each):
        long_name, units = about.get(name) or ("", "")
        put(name, (), _reals(numbers, name), long_name=long_name, units=units)
    tables = [_evs(records)] if evs else []
    if open_point is not None:
        tables += _counts(records, open_point)
    _put_tables([table for table in tables if table.rows], len(records), built, put)
    return built


def _reals(records: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    given = (record.get(name) for record in records)
    return np.array([np.nan if value is None else value for value in given], np.float64)


def _moment(text: str | None) -> np.datetime64:
    moment = parse_time(text or "")
    if moment is None:
        return np.datetime64("NaT", "ns")
    return np.datetime64(round(moment.timestamp() * 1e6), "us")


class _Table(NamedTuple):
    """Variables by workload, PUB, parameter set, and a last dimension of their own."""

    variables: Mapping[str, str]  # name -> long name
    last: str
    labels: Sequence[Any]  # values of its coordinate
    rows: list[_Row]


def _put_tables(
    tables: Sequence[_Table], num_points: int, built: xr.Dataset, put: Callable[..., None]
) -> None:
    """Put the variables into a dataset, without those dimensions of which there is only one."""
    rows = [row for table in tables for row in table.rows]
    workloads = list(dict.fromkeys(row.workload for row in rows))
    num_sets = 1 + max((int(row.sets.max(initial=0)) for row in rows), default=0)
    num_pubs = 1 + max((row.pub for row in rows), default=0)
    common = {"workload": workloads, "pub": range(num_pubs), "parameter_set": range(num_sets)}
    single = [k for k, name in enumerate(common, 1) if name != "pub" and len(common[name]) == 1]
    for table in tables:
        coordinates: dict[str, Sequence[Any]] = {**common, table.last: table.labels}
        shape = (num_points, *map(len, coordinates.values()))
        if math.prod(shape) > _MAX_VALUES:
            raise ArchiveError(
                f"{next(iter(table.variables))} of all points would be {math.prod(shape):,} "
                f"values, a dataset takes at most {_MAX_VALUES:,}: leave them out, and read them "
                f"point by point"
            )
        dims = [name for k, name in enumerate(coordinates, 1) if k not in single]
        for dim in dims:
            built.coords[dim] = (dim, list(coordinates[dim]))
        for number, (name, long_name) in enumerate(table.variables.items()):
            dense = np.full(shape, np.nan)
            for row in table.rows:
                place = (row.point, workloads.index(row.workload), row.pub, row.sets, row.codes)
                dense[place] = row.values[number]
            put(name, tuple(dims), dense.squeeze(tuple(single)), long_name=long_name, units="1")


def _evs(records: Sequence[Record]) -> _Table:
    codes: dict[str, int] = {}

    @cache
    def layout(labels: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return number of the parameter set, and of the observable, of each value of a PUB."""
        seen: dict[str, int] = {}
        places = []
        for label in labels:
            seen[label] = seen.get(label, -1) + 1
            places.append((seen[label], codes.setdefault(label, len(codes))))
        sets, columns = np.array(places, np.int64).reshape(-1, 2).T
        return sets, columns

    rows = [
        _Row(point, workload, pub, *layout(tuple(found["labels"][label])), tuple(map(np.array, x)))
        for point, record in enumerate(records)
        for workload, found in record.get("evs", {}).items()
        for pub, label, *x in found["rows"]
    ]
    variables = {"evs": "expectation value", "stds": "standard error of the expectation value"}
    return _Table(variables, "observable", list(codes), rows)


def _counts(records: Sequence[Record], open_point: Callable[[int], Archive]) -> list[_Table]:
    """Count the outcomes of small registers, with one archive open at a time."""
    rows: dict[str, list[_Row]] = {}
    widths: dict[str, set[int]] = {}
    for point, record in enumerate(records):
        if not record.get("num_results"):
            continue
        with open_point(point) as run:
            for workload, results in run.results.items():
                for pub in results.available:
                    for name, bits in results[pub].data.items():
                        if 0 < getattr(bits, "num_bits", 0) <= MAX_COUNTED_BITS:
                            counts = counted(bits).reshape(-1, 2**bits.num_bits)
                            sets, codes = (index.ravel() for index in np.indices(counts.shape))
                            row = _Row(point, workload, pub, sets, codes, (counts.ravel(),))
                            rows.setdefault(name, []).append(row)
                            widths.setdefault(name, set()).add(bits.num_bits)
    tables = []
    for name, found in rows.items():
        most = max(widths[name])
        # Where registers have several widths, one outcome has several texts: numbers, then.
        labels = [format(k, f"0{most}b") if len(widths[name]) == 1 else k for k in range(2**most)]
        variables = {f"{name}_counts": f"shots with each outcome of {name}"}
        tables.append(_Table(variables, f"{name}_outcome", labels, found))
    return tables
