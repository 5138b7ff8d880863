"""Stored results of analyses: a summary, numbers and tables of any `xarray.Dataset`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.report.text import number

if TYPE_CHECKING:
    import xarray as xr

_MAX_ROWS = 100
_SHOWN_ELSEWHERE = (
    "analysis",
    "target",
    "arguments_json",
    "run_id",
    "data_sha256",
    "qexp_version",
    "date_created",
    "summary",
    "title",
)


def read_analyses(run_dir: Path, data_sha256: str) -> Iterator[dict[str, Any]]:
    """Yield the stored results of a run; one that cannot be read has a `problem` only.

    Args:
        run_dir: The run's folder.
        data_sha256: Digest of the data that the archive holds now.
    """
    from qexp.archive.analyses import analysis_files, read_analysis
    from qexp.errors import ArchiveError

    for name, path in analysis_files(run_dir).items():
        try:
            dataset = read_analysis(path)
            attributes = dataset.attrs
            facts = [(k, _format(v)) for k, v in attributes.items() if k not in _SHOWN_ELSEWHERE]
            yield {
                "name": name,
                "attributes": attributes,
                "facts": [*facts, *_numbers(dataset)],
                "tables": list(_tables(dataset)),
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
        text = _format(value.values) + ("" if error is None else f" ± {number(float(error), 2)}")
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
        rows = [[*map(_format, point[: len(axes)])] for point in points]
        for column in columns:
            values = column.values
            for row, point in zip(rows, points, strict=True):
                row.append(_format(values[point]))
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


def _format(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic) and np.size(value) == 1:
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value, 4) if isinstance(value, float) else str(value)
