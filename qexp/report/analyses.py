"""Stored results of analyses, whatever they are: a summary, their scalars, their tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.report.parts import Table, table
from qexp.report.text import date, number

if TYPE_CHECKING:
    import xarray as xr

_MAX_ROWS = 100
_MADE = (
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


@dataclass(frozen=True)
class AnalysisSection:
    """One analysis.

    Attributes:
        title: What it is.
        name: Under which its result is stored.
        summary: Its result in a line, or why it cannot be read.
        made: When, and with which version.
        facts: Its numbers.
        tables: The rest of it.
    """

    title: str
    name: str
    summary: str
    made: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()


def analysis_sections(run_dir: Path, data_sha256: str) -> tuple[AnalysisSection, ...]:
    """All stored results of a run; one that cannot be read says so.

    Args:
        run_dir: The run's folder.
        data_sha256: Digest of the data that the archive holds now.
    """
    from qexp.archive.analyses import analysis_files, read_analysis
    from qexp.errors import ArchiveError

    found = []
    for name, path in analysis_files(run_dir).items():
        try:
            found.append(_section(name, read_analysis(path), data_sha256))
        except ArchiveError as error:
            found.append(AnalysisSection(name, name, str(error).replace(str(path), path.name)))
    return tuple(found)


def _section(name: str, dataset: xr.Dataset, data_sha256: str) -> AnalysisSection:
    attributes = dataset.attrs
    made = f"{attributes.get('target', '')}, {date(str(attributes.get('date_created', '')))}"
    made += f", qexp {attributes.get('qexp_version', '')}"
    if attributes.get("data_sha256") != data_sha256:
        made += ". Made of other data than the archive holds now: evaluate it again"
    facts = [(str(key), _value(value)) for key, value in attributes.items() if key not in _MADE]
    summary = " ".join(str(attributes.get("summary", "")).split())
    return AnalysisSection(
        str(attributes.get("title") or name),
        name,
        summary[:1].upper() + summary[1:],
        made,
        (*facts, *_numbers(dataset)),
        tuple(_tables(dataset)),
    )


def _numbers(dataset: xr.Dataset) -> Iterator[tuple[str, str]]:
    """What has no dimension; a value `x` with its standard error `x_std`."""
    scalars = {str(key): value for key, value in dataset.data_vars.items() if not value.ndim}
    for key, value in scalars.items():
        if key.removesuffix("_std") in scalars and key.endswith("_std"):
            continue
        text = _value(value.values)
        error = scalars.get(f"{key}_std")
        if error is not None:
            text += f" ± {number(float(error), 2)}"
        units = value.attrs.get("units")
        name = str(value.attrs.get("long_name") or key)
        yield name, text if units in (None, "", "1") else f"{text} ({units})"


def _tables(dataset: xr.Dataset) -> Iterator[Table]:
    """One table per combination of dimensions, a row for each of their points."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for key, value in dataset.data_vars.items():
        if value.ndim:
            groups.setdefault(value.dims, []).append(key)
    for dims, keys in groups.items():
        beside = [key for key, value in dataset.coords.items() if value.dims == dims]
        axes = [] if beside else list(dims)
        shown = {key: dataset[key].values for key in (*beside, *keys)}
        shape = shown[keys[0]].shape
        points = list(_first_points(shape))
        rows = [
            [
                *(_value(point[k]) for k, _ in enumerate(axes)),
                *(_value(values[point]) for values in shown.values()),
            ]
            for point in points
        ]
        heads = [f"#{dim}" for dim in axes]
        for key, values in shown.items():
            heads.append(f"{'#' if values.dtype.kind in 'iufb' else ''}{_named(key, dataset[key])}")
        total = int(np.prod(shape))
        yield table(
            "|".join(head.replace("|", "¦") for head in heads),
            rows,
            title=f"By {', '.join(map(str, dims))}",
            note=f"The first {_MAX_ROWS} of {total:,} rows." if total > _MAX_ROWS else "",
        )


def _first_points(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for count, point in enumerate(np.ndindex(*shape)):
        if count >= _MAX_ROWS:
            return
        yield point


def _named(key: Any, variable: Any) -> str:
    units = variable.attrs.get("units")
    return f"{key} ({units})" if units not in (None, "", "1") else str(key)


def _value(value: Any) -> str:
    plain = (
        value.item()
        if isinstance(value, np.ndarray | np.generic) and np.size(value) == 1
        else value
    )
    if isinstance(plain, bool):
        return "yes" if plain else "no"
    if isinstance(plain, int):
        return f"{plain:,}"
    if isinstance(plain, float):
        return number(plain, 4)
    return str(plain)
