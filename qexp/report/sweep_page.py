"""The runs of a sweep as a page that compares them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import quote

import numpy as np

from qexp.report.figures.along import NUM_SERIES, Series, Spot, along, swept_axis
from qexp.report.parts import Alert, Key, Link, Picture, Row, Table, Tile, sign, table
from qexp.report.results import left_out
from qexp.report.samples import Measured
from qexp.report.sweep import Point, number_in, read_sweep, swept_keys
from qexp.report.text import is_finite, number, plural, seconds

_MAX_LISTED = 20
_MAX_VALUES = 8
_MAX_FIGURES = 6

SpotOf = Callable[[Point], tuple[float, float, float] | None]


@dataclass(frozen=True)
class SweptSection:
    """The pictures over one swept key."""

    name: str
    pictures: tuple[Picture, ...]
    key: tuple[Key, ...]


@dataclass(frozen=True)
class SweepPage:
    """What the template shows."""

    title: str
    name: str
    summary: str
    alerts: tuple[Alert, ...]
    tiles: tuple[Tile, ...]
    sections: tuple[SweptSection, ...]
    runs: Table


def sweep_page(folder: Path, page: Path) -> SweepPage:
    """Everything about the runs in a folder.

    Args:
        folder: The folder.
        page: Where the page will be: links to the runs' own pages are relative to it.

    Raises:
        ConfigError: There is no run in the folder, or too many.
    """
    points = read_sweep(folder)
    keys = swept_keys(points)
    readable = [point for point in points if not point.problem]
    experiments = list(dict.fromkeys(point.experiment for point in readable))
    title = next((point.title for point in readable if point.title), "") or ", ".join(experiments)
    return SweepPage(
        title=f"{title or 'Runs'}: {plural(len(points), 'run')}",
        name=folder.resolve().name,
        summary=_summary(keys, readable),
        alerts=_alerts(points),
        tiles=_tiles(points),
        sections=tuple(_section(key, keys, readable) for key in keys[:_MAX_FIGURES]),
        runs=_table(points, keys, page),
    )


def _summary(keys: Sequence[str], points: Sequence[Point]) -> str:
    if not keys:
        return "The runs have equal overrides."
    texts = []
    for key in keys:
        values = sorted({point.value(key) for point in points}, key=_in_order)
        shown = ", ".join(value or "not set" for value in values[:_MAX_VALUES])
        more = f" and {len(values) - _MAX_VALUES} more" if len(values) > _MAX_VALUES else ""
        texts.append(f"{key} over {shown}{more}")
    return f"Swept: {'; '.join(texts)}."


def _in_order(value: str) -> tuple[bool, float, str]:
    found = number_in(value)
    return found is None, found or 0.0, value


def _alerts(points: Sequence[Point]) -> tuple[Alert, ...]:
    lines = []
    for point in points:
        if point.problem:
            lines.append(f"{point.run_id} cannot be read: {point.problem}")
        elif point.status == "planned":
            lines.append(f"{point.run_id} was planned, not run")
        elif point.status != "complete":
            lines.append(
                f"{point.run_id} is {point.status}: {point.num_done} of {point.num_jobs} jobs done"
            )
    if not lines:
        return ()
    are = "is" if len(lines) == 1 else "are"
    title = f"{len(lines)} of {plural(len(points), 'run')} {are} not complete."
    if len(lines) > _MAX_LISTED:
        lines = [*lines[:_MAX_LISTED], f"{len(lines) - _MAX_LISTED} more: see the table."]
    return (
        Alert("partial", title, tuple(lines), "Each run's own page says what it lacks, and why."),
    )


def _tiles(points: Sequence[Point]) -> tuple[Tile, ...]:
    readable = [point for point in points if not point.problem]
    complete = sum(point.status == "complete" for point in points)
    pubs = sum(each.num_available for point in readable for each in point.measured)
    simulated = all(point.is_simulated for point in readable)
    name = "Simulation time" if simulated else "QPU time charged"
    predicted = sum(point.predicted_s for point in readable)
    return (
        Tile("Runs complete", f"{complete:,}", f"of {len(points):,}"),
        Tile(
            "PUBs with a result",
            f"{pubs:,}",
            f"of {sum(e.num_pubs for p in readable for e in p.measured):,}",
        ),
        Tile(
            "Jobs done",
            f"{sum(p.num_done for p in readable):,}",
            f"of {sum(p.num_jobs for p in readable):,}",
        ),
        Tile(
            name,
            seconds(sum(p.usage_s for p in readable)),
            f"predicted for a QPU: {seconds(predicted)}",
        ),
    )


def _section(key: str, keys: Sequence[str], points: Sequence[Point]) -> SweptSection:
    """Quality, values and usage over one key; runs that agree in all other keys are joined."""
    others = [other for other in keys if other != key]
    groups: dict[str, list[Point]] = {}
    for point in points:
        name = ", ".join(f"{other.rpartition('.')[2]} {point.value(other)}" for other in others)
        groups.setdefault(name, []).append(point)
    if len(groups) > NUM_SERIES:
        groups = {"": list(points)}
    texts = sorted({point.value(key) for point in points}, key=_in_order)
    is_numeric = all(number_in(text) is not None for text in texts)
    place = {text: number_in(text) if is_numeric else float(k) for k, text in enumerate(texts)}
    axis = swept_axis(
        key, [v for v in place.values() if v is not None], None if is_numeric else texts
    )

    def lines(spot_of: SpotOf) -> list[Series]:
        made = []
        for name, members in groups.items():
            spots = []
            for point in members:
                found = spot_of(point)
                x = place[point.value(key)]
                if found is not None and x is not None and all(map(is_finite, found)):
                    y, low, high = found
                    tip = f"{point.run_id}, {key}={point.value(key)}: {number(y)}"
                    spots.append(Spot(x, y, low, high, tip))
            made.append(Series(name, tuple(sorted(spots, key=lambda spot: spot.x))))
        return made if any(line.spots for line in made) else []

    pictures = []
    names = list(dict.fromkeys(each.workload for point in points for each in point.measured))
    for workload in names:
        where = f" ({workload})" if len(names) > 1 else ""
        note = left_out(sum(m.num_not_finite for p in points if (m := _of(p, workload))))
        if found := lines(lambda point, workload=workload: _fidelity(point, workload)):  # type: ignore[misc]
            drawing = along(
                found, axis, "Hellinger fidelity", f"Median fidelity by {key}", most=1.0
            )
            pictures.append(
                Picture(
                    drawing,
                    f"Fidelity{where}",
                    "Median of the run's circuits, bar over their middle half.",
                )
            )
        if found := lines(lambda point, workload=workload: _error(point, workload)):  # type: ignore[misc]
            drawing = along(
                found, axis, "|measured − exact|", f"Median error by {key}", from_zero=True
            )
            pictures.append(
                Picture(
                    drawing,
                    f"Error of expectation values{where}",
                    "Median of the run, bar over the middle half." + note,
                )
            )
        if found := _values(points, key, place, workload):
            drawing = along(found, axis, "expectation value", f"Expectation values by {key}")
            pictures.append(
                Picture(
                    drawing,
                    f"Expectation values{where}",
                    "With one standard error; rings are exact values." + note,
                )
            )
    if found := lines(lambda point: (point.usage_s, point.usage_s, point.usage_s)):
        simulated = all(point.is_simulated for point in points)
        name = "simulation time (s)" if simulated else "QPU time charged (s)"
        pictures.append(
            Picture(
                along(found, axis, name, f"Usage by {key}", from_zero=True),
                "Usage",
                "Charged for all jobs of the run.",
            )
        )
    if found := lines(lambda point: (point.predicted_s,) * 3):
        pictures.append(
            Picture(
                along(
                    found,
                    axis,
                    "predicted QPU time (s)",
                    f"Predicted usage by {key}",
                    from_zero=True,
                ),
                "Predicted usage",
                "For a QPU, from the plan.",
            )
        )
    signs = tuple(
        Key(sign(("line", f"series-line s{k}"), ("dot", f"series-dot s{k}")), name)
        for k, name in enumerate(groups)
        if name
    )
    return SweptSection(key, tuple(pictures), signs)


def _of(point: Point, workload: str) -> Measured | None:
    return next((each for each in point.measured if each.workload == workload), None)


def _fidelity(point: Point, workload: str) -> tuple[float, float, float] | None:
    found = _of(point, workload)
    return _middle([sample.fidelity or 0.0 for sample in found.judged]) if found else None


def _error(point: Point, workload: str) -> tuple[float, float, float] | None:
    found = _of(point, workload)
    return _middle([abs(e.ev - (e.exact or 0.0)) for e in found.compared]) if found else None


def _middle(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Median and quartiles."""
    if not values:
        return None
    low, high = np.percentile(values, (25, 75)).tolist()
    return median(values), low, high


def _values(
    points: Sequence[Point], key: str, place: dict[str, float | None], workload: str
) -> list[Series]:
    """One series per expectation value, where each run has a few."""
    series: dict[str, list[Spot]] = {}
    for point in points:
        found = _of(point, workload)
        num_values = len(found.estimates) + found.num_not_finite if found else 0
        if found is None or not 0 < num_values <= NUM_SERIES:
            return []
        x = place[point.value(key)]
        for each in found.estimates:
            std = each.std if each.std == each.std else 0.0
            name = f"{each.label}, {each.observable}"
            tip = f"{point.run_id}, {name}: {number(each.ev, 4)} ± {number(std, 2)}"
            spot = Spot(x or 0.0, each.ev, each.ev - std, each.ev + std, tip, each.exact)
            series.setdefault(name, []).append(spot)
    if len(series) > NUM_SERIES:
        return []
    return [Series(name, tuple(sorted(spots, key=lambda s: s.x))) for name, spots in series.items()]


def _table(points: Sequence[Point], keys: Sequence[str], page: Path) -> Table:
    quality = _quality_name(points)
    heads = [
        "run",
        "status",
        *(f"#{key.replace('|', '¦')}" for key in keys),
        "#jobs done",
        f"#{quality}" if quality else "",
    ]
    heads += ["#charged", "#predicted", "#start to last job", "#seed"]
    made = table(
        "|".join(head for head in heads if head), [_cells(p, keys, page, quality) for p in points]
    )
    rows = tuple(
        Row(row.cells, point.status in ("failed", "unreadable", "partial"))
        for row, point in zip(made.rows, points, strict=True)
    )
    return Table(made.heads, rows)


def _quality_name(points: Sequence[Point]) -> str:
    measured = [each for point in points for each in point.measured]
    if any(each.judged for each in measured):
        return "median fidelity"
    return "median error" if any(each.compared for each in measured) else ""


def _cells(point: Point, keys: Sequence[str], page: Path, quality: str) -> list[str | Link]:
    values = [point.value(key) for key in keys]
    worth = _error if quality == "median error" else _fidelity
    middles = [worth(point, each.workload) for each in point.measured]
    first = next((middle for middle in middles if middle is not None), None)
    known = not point.problem
    return [
        _link(point, page),
        point.status,
        *values,
        f"{point.num_done:,} of {point.num_jobs:,}" if known else "",
        *([number(first[0]) if first else ""] if quality else []),
        seconds(point.usage_s) if known else "",
        seconds(point.predicted_s) if known else "",
        seconds(point.elapsed_s) if point.elapsed_s is not None else "",
        str(point.seed) if known else "",
    ]


def _link(point: Point, page: Path) -> str | Link:
    """To the run's own page where there is one; never more than a relative path."""
    own = point.folder / "report.html"
    if not own.is_file():
        return point.run_id
    relative = os.path.relpath(own.resolve(), page.resolve().parent)
    return Link(point.run_id, "./" + quote(Path(relative).as_posix()))
