"""Stored results of analyses as a page shows them: numbers, and a table for their dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.analyses import analysis_files, read_analysis
from qexp.errors import ArchiveError
from qexp.report.figures.svg import Figure
from qexp.report.text import number

if TYPE_CHECKING:
    import xarray as xr

_MAX_ROWS = 100
_SHOWN_ELSEWHERE = (
    "analysis",
    "target",
    "arguments_json",
    "run_id",
    "sweep",
    "data_sha256",
    "qexp_version",
    "date_created",
    "summary",
    "title",
)


def analysis_views(
    place: Path,
    data_sha256: str,
    draw: Callable[[xr.Dataset], Sequence[Figure]] = lambda _dataset: (),
) -> Iterator[dict[str, Any]]:
    """Yield what `analyses.html` shows of the analyses beside an archive, or in a sweep's folder.

    Results with `data_sha256` were made of the present data; `draw` draws figures of a result.
    """
    for name, path in analysis_files(place).items():
        try:
            dataset = read_analysis(path)
            attributes = dataset.attrs
            facts = [(k, format_any(v)) for k, v in attributes.items() if k not in _SHOWN_ELSEWHERE]
            yield {
                "name": name,
                "attributes": attributes,
                "facts": [*facts, *_numbers(dataset)],
                "tables": list(_tables(dataset)),
                "figures": draw(dataset),
                "is_stale": attributes.get("data_sha256") != data_sha256,
                "problem": "",
            }
        except ArchiveError as error:
            problem = str(error).replace(str(path), path.name)
            yield {"name": name, "attributes": {}, "problem": problem}


def _numbers(dataset: xr.Dataset) -> Iterator[tuple[str, str]]:
    """Format variables without dimensions; a value `x` with its standard error `x_std`."""
    scalars = {str(key): value for key, value in dataset.data_vars.items() if not value.ndim}
    for key, value in scalars.items():
        if key.endswith("_std") and key.removesuffix("_std") in scalars:
            continue
        error = scalars.get(f"{key}_std")
        text = format_any(value.values) + ("" if error is None else f" ± {number(float(error), 2)}")
        yield str(value.attrs.get("long_name") or key), text + _unit(value)


def _tables(dataset: xr.Dataset) -> Iterator[dict[str, Any]]:
    """Make one table for each combination of dimensions, with a row for each of their points."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for key, value in dataset.data_vars.items():
        if value.ndim:
            groups.setdefault(value.dims, []).append(key)
    for dims, keys in groups.items():
        coordinates = [key for key, value in dataset.coords.items() if value.dims == dims]
        # Points without coordinates are identified by their indices.
        axes = [] if coordinates else [f"#{dim}" for dim in dims]
        columns = [dataset[key] for key in (*coordinates, *keys)]
        points = list(islice(np.ndindex(*columns[0].shape), _MAX_ROWS))
        rows = [[*map(format_any, point[: len(axes)])] for point in points]
        for column in columns:
            values = column.values
            for row, point in zip(rows, points, strict=True):
                row.append(format_any(values[point]))
        heads = [f"{'#' * (c.dtype.kind in 'iufb')}{c.name}{_unit(c)}" for c in columns]
        title = f"By {', '.join(map(str, dims))}"
        yield {
            "title": title,
            "heads": [*axes, *heads],
            "rows": rows,
            "num_rows": columns[0].size,
        }


def _unit(variable: xr.DataArray) -> str:
    unit = variable.attrs.get("units")
    return "" if unit in (None, "", "1") else f" ({unit})"


def format_any(value: Any) -> str:
    """Format a value of any kind, numbers with four significant digits."""
    if isinstance(value, np.ndarray | np.generic) and np.size(value) == 1:
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value, 4) if isinstance(value, float) else str(value)
