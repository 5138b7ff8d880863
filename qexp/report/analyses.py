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
)


@dataclass(frozen=True)
class AnalysisSection:
    """One analysis."""

    name: str
    summary: str
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()


def analysis_sections(run_dir: Path) -> tuple[AnalysisSection, ...]:
    """All stored results of a run; one that cannot be read says so."""
    from qexp.archive.analyses import analysis_files, read_analysis
    from qexp.errors import ArchiveError

    found = []
    for name, path in analysis_files(run_dir).items():
        try:
            found.append(_section(name, read_analysis(path)))
        except ArchiveError as error:
            found.append(AnalysisSection(name, str(error).replace(str(path), path.name)))
    return tuple(found)


def _section(name: str, dataset: xr.Dataset) -> AnalysisSection:
    attributes = dataset.attrs
    summary = str(
        attributes.get("summary") or attributes.get("title") or attributes.get("target", "")
    )
    made = str(attributes.get("date_created", ""))
    if made:
        summary += f" (made {date(made)} with qexp {attributes.get('qexp_version', '')})"
    facts = [
        (str(key), _value(value))
        for key, value in attributes.items()
        if key not in (*_MADE, "summary", "title")
    ]
    facts += [
        (_named(key, value), _value(value.values))
        for key, value in dataset.data_vars.items()
        if not value.ndim
    ]
    return AnalysisSection(name, summary, tuple(facts), tuple(_tables(dataset)))


def _tables(dataset: xr.Dataset) -> Iterator[Table]:
    """One table per combination of dimensions, a row for each of their points."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for key, value in dataset.data_vars.items():
        if value.ndim:
            groups.setdefault(value.dims, []).append(key)
    for dims, keys in groups.items():
        shape = dataset[keys[0]].shape
        points = list(_first_points(shape))
        coordinates = [
            dataset[dim].values if dim in dataset.coords else np.arange(size)
            for dim, size in zip(dims, shape, strict=True)
        ]
        rows = [
            [
                *(_value(axis[at]) for axis, at in zip(coordinates, point, strict=True)),
                *(_value(dataset[key].values[point]) for key in keys),
            ]
            for point in points
        ]
        total = int(np.prod(shape))
        heads = [*(f"#{dim}" for dim in dims)]
        heads += [
            f"{'#' if dataset[key].dtype.kind in 'iufb' else ''}{_named(key, dataset[key])}"
            for key in keys
        ]
        yield table(
            "|".join(head.replace("|", "¦") for head in heads),
            rows,
            title=f"By {', '.join(map(str, dims))}: {', '.join(map(str, keys))}",
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
