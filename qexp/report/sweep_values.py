"""Figures of a sweep's dataset: the numbers of its analyses over the swept keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.analysis.lines import REPLICATES, Line, label, lines, numeric_keys, swept_keys, value_text
from qexp.report.figures.charts import (
    NUM_COLOURS,
    Spot,
    draw_heat_map,
    draw_legend,
    draw_spots,
    extent,
    legend_height,
)
from qexp.report.figures.plot import HEIGHT, Axis, Plot
from qexp.report.figures.svg import Figure
from qexp.report.text import cut_line, is_finite, number, plural, upper_first

if TYPE_CHECKING:
    import xarray as xr

_MAX_VALUES = 8
_MAX_PANELS = 6
_MAX_KEYS = 4
_MOST_NAMES = 12
_MOST_LABEL = 26
"""Characters of a label beside an axis."""
_LEAST_FOR_HEAT_MAP = 3

Points = Sequence[tuple[float, float]]


class SweepFigures:
    """Draws the numbers that analyses gave each point, with `VALUE_std` as error bars.

    Those that are the same in all points are listed, unless `draws_constant`.
    """

    def __init__(
        self, data: xr.Dataset, values: Sequence[str], *, draws_constant: bool = False
    ) -> None:
        self._keys = swept_keys(data)
        self._names: dict[str, list[str]] = {}
        self._data = data
        numeric = numeric_keys(data)
        for key, column in self._keys.items():
            if key not in numeric and key not in REPLICATES:
                # They are numbered, for their places on an axis.
                names = list(dict.fromkeys(map(value_text, column.tolist())))
                if len(names) <= _MOST_NAMES:
                    self._names[key] = names
        own = [
            name
            for name in values
            if name.removesuffix("_std") not in values or name[-4:] != "_std"
        ]
        finite = {name: data[name].values[np.isfinite(data[name].values)] for name in own}
        self._values = [
            name
            for name, each in finite.items()
            if each.size and (draws_constant or np.ptp(each) > 0)
        ]
        self.constant = [
            f"{name} {number(float(each[0]), 4)}"
            for name, each in finite.items()
            if each.size and name not in self._values
        ]
        self.num_left_out = max(0, len(self._values) - _MAX_VALUES)
        self._numeric = numeric
        self._over = [*numeric, *(key for key in self._names if len(self._names[key]) > 1)]

    def sections(self) -> Iterator[dict[str, Any]]:
        """Yield a section for each key, and one for each heat map's pair of keys."""
        shown = self._values[:_MAX_VALUES]
        for key in self._over[:_MAX_KEYS]:
            if figures := self.over_key(key):
                yield {"title": f"Analyses by {key}", "figures": figures}
        grid = [
            key for key in self._numeric if len({*self._keys[key].tolist()}) >= _LEAST_FOR_HEAT_MAP
        ]
        if len(grid) > 1:
            x, y = grid[:2]
            figures = [figure for value in shown for figure in self._heat_maps(value, x, y)]
            if figures:
                yield {"title": f"Analyses by {x} and {y}", "figures": figures}

    def of_result(self, result: xr.Dataset) -> list[Figure]:
        """Draw the curves of a sweep's analysis over the points that they were fitted to."""
        figures: list[Figure] = []
        for name, variable in result.data_vars.items():
            value, over = (variable.attrs.get(key) for key in ("value", "over"))
            if value not in self._data or over not in self._numeric:
                continue
            x_dim = next((str(dim) for dim in variable.dims if dim != "line"), None)
            if x_dim is None or x_dim not in variable.coords:
                continue
            x = variable[x_dim].values
            rows = variable.transpose(..., x_dim).values.reshape(-1, len(x))
            labels = result["line"].values.tolist() if "line" in variable.dims else [""]
            curves = {
                str(line): [(a, b) for a, b in zip(x.tolist(), row, strict=True) if np.isfinite(b)]
                for line, row in zip(labels, rows, strict=True)
            }
            note = f"Curves: {variable.attrs.get('long_name') or name}."
            figures += self.over(str(value), str(over), curves, note)
        return figures

    def over_key(self, key: str) -> list[Figure]:
        """Draw the values over a key; nothing where it has too many values that are no numbers."""
        if key not in self._names and self._keys[key].dtype.kind not in "iuf":
            return []
        shown = self._values[:_MAX_VALUES]
        return [figure for value in shown for figure in self.over(value, key)]

    def over(
        self, value: str, key: str, curves: Mapping[str, Points] | None = None, note: str = ""
    ) -> Iterator[Figure]:
        """Draw a value over a key: lines by a second key, and a figure for each of the others."""
        second = self._second(key)
        for rest, found in list(self._panels(value, key).items())[:_MAX_PANELS]:
            picked = np.linspace(0, len(found) - 1, min(len(found), NUM_COLOURS)).round()
            held = [found[int(k)] for k in picked]
            drawn = [(curves or {}).get(line.label, ()) for line in held]
            series = [self._spots(line, key) for line in held]
            if not any(series):
                continue
            names = [label({second: line.keys[second]}) for line in held] if second else [""]
            more = len(found) - len(held)
            full = self._label(value)
            captions = [
                note,
                f"{upper_first(full)}." if len(full) > _MOST_LABEL else "",
                rest,
                f"{plural(more, 'line')} not drawn." if more else "",
            ]
            plot = self._plot(value, key, series, [y for points in drawn for _, y in points], names)
            for k, points in enumerate(drawn):
                if len(points) > 1:
                    plot.line(points, f"curve s{k}")
            is_fit = any(drawn)
            draw_spots(plot, series, join="" if is_fit else "values", cap=4, spread=3 - 3 * is_fit)
            yield Figure(plot.drawing, value, " ".join(filter(None, captions)))

    def _plot(
        self,
        value: str,
        key: str,
        series: Sequence[Sequence[Spot]],
        ends: Sequence[float],
        names: Sequence[str],
    ) -> Plot:
        """Return a plot that holds all spots, and other values of y, with a legend."""
        spots = [spot for each in series for spot in each]
        x_axis = Axis.of_swept_key(key, [spot.x for spot in spots], self._names.get(key))
        held, y_label = [*extent(spots), *ends], cut_line(self._label(value), _MOST_LABEL)
        is_time = self._data[value].attrs.get("units") == "s" and min(held) >= 0
        y_axis = (Axis.from_zero if is_time else Axis.around)(y_label, held)
        top = legend_height(names)
        plot = Plot(f"{value} by {key}", x_axis, y_axis, top=12 + top, height=HEIGHT + top)
        draw_legend(plot, names)
        return plot

    def _second(self, key: str) -> str | None:
        """Return the key that tells lines of one figure apart: that with most values, up to six."""
        levels = {
            other: len({*map(str, column.tolist())})
            for other, column in self._keys.items()
            if other not in (key, *REPLICATES)
        }
        fitting = {other: count for other, count in levels.items() if 1 < count <= NUM_COLOURS}
        several = [other for other, count in levels.items() if count > 1]
        return max(fitting, key=fitting.__getitem__) if fitting else next(iter(several), None)

    def _panels(self, value: str, key: str) -> dict[str, list[Line]]:
        second = self._second(key)
        panels: dict[str, list[Line]] = {}
        for line in lines(self._placed(key), value, key):
            rest = {other: each for other, each in line.keys.items() if other != second}
            rest = {
                o: each for o, each in rest.items() if len({*map(str, self._keys[o].tolist())}) > 1
            }
            panels.setdefault(label(rest), []).append(line)
        return panels

    def _placed(self, key: str) -> xr.Dataset:
        """Return the dataset with places in place of the names of a key."""
        if key not in self._names:
            return self._data
        coordinate = self._data[key]
        places = [self._names[key].index(value_text(each)) for each in coordinate.values.tolist()]
        return self._data.assign_coords({key: (coordinate.dims, np.array(places))})

    def _spots(self, line: Line, key: str) -> list[Spot]:
        means, names = line.averaged(), self._names.get(key)
        spots = []
        for x, y, std in zip(means.x.tolist(), means.y.tolist(), means.std.tolist(), strict=True):
            if is_finite(y):
                has_error = is_finite(std) and std > 0
                where = names[int(x)] if names else value_text(x)
                tip = ", ".join(filter(None, (f"{key} {where}", line.label)))
                tip += f": {number(y, 4)}" + (f" ± {number(std, 2)}" if has_error else "")
                spots.append(Spot(x, y, tip, (y - std, y + std) if has_error else None))
        return spots

    def _label(self, value: str) -> str:
        """Return the name of a value and its unit."""
        attrs = self._data[value].attrs
        unit = attrs.get("units", "1")
        text = str(attrs.get("long_name") or value)
        return text if unit in ("", "1") else f"{text} ({unit})"

    def _heat_maps(self, value: str, x: str, y: str) -> Iterator[Figure]:
        """Draw a map for each combination of the other keys."""
        places = {key: sorted({*self._keys[key].tolist()}) for key in (x, y)}
        maps: dict[str, dict[tuple[int, int], float]] = {}
        for line in lines(self._data, value, x):
            rest = {key: each for key, each in line.keys.items() if key != y}
            cells, means = maps.setdefault(label(rest), {}), line.averaged()
            row = places[y].index(line.keys[y])
            for at, mean in zip(means.x.tolist(), means.y.tolist(), strict=True):
                if is_finite(mean):
                    cells[places[x].index(at), row] = mean
        texts = tuple((key, list(map(value_text, places[key]))) for key in (x, y))
        for rest_label, cells in list(maps.items())[:_MAX_PANELS]:
            if cells:
                drawing = draw_heat_map(f"{value} by {x} and {y}", (texts[0], texts[1]), cells)
                yield Figure(drawing, value, rest_label)
