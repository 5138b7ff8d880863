"""Lines through the points of a sweep: one value over one swept key, for each of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.analysis.dataset import Reals, mean_and_error
from qexp.core.jsonable import as_text
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr

REPLICATES: Final = ("seed", "simulation_seed")
"""Swept keys in which points repeat each other."""
_NUMBERS: Final = "iuf"
_NUM_CURVE: Final = 60


@dataclass(frozen=True)
class Line:
    """The points that agree in all swept keys but one, in order of that key.

    Arrays have shape (points,); points that repeat each other are all there.
    """

    keys: Mapping[str, Any]  # swept key -> its value on this line; without replicates
    x: Reals  # values of the other key
    y: Reals  # the value there, finite
    std: Reals  # its standard error; NaN where it is not known

    @property
    def label(self) -> str:
        """The keys as a text: `shots 100, depth 4`; `""` for the only line of a sweep."""
        return label(self.keys)

    def averaged(self) -> Line:
        """Return the line with one point at each x: the mean of those that repeat each other.

        The standard error of a mean is that of the scatter, but no less than that of the errors.
        """
        means = []
        for x in np.unique(self.x):
            y, std = self.y[self.x == x], self.std[self.x == x]
            own = float(np.sqrt(np.sum(std**2))) / len(std)
            mean, scatter = mean_and_error(y)
            means.append((x, mean, np.fmax(scatter, own)))
        return Line(self.keys, *np.array(means, float).reshape(-1, 3).T)


def label(keys: Mapping[str, Any]) -> str:
    """Name values of swept keys by the last part of each key."""
    each = (f"{key.rpartition('.')[2]} {value_text(value)}" for key, value in keys.items())
    return ", ".join(each)


def value_text(value: Any) -> str:
    """Return a swept value as a text."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    return as_text(plain)


def swept_keys(sweep: xr.Dataset) -> dict[str, Reals | Any]:
    """Return swept key -> its value at each point, shape (points,)."""
    points = sweep["status"]
    keys = [str(name) for name in sweep.coords if {*sweep[name].dims} <= {*points.dims}]
    return {
        key: sweep[key].broadcast_like(points).transpose(*points.dims).values.ravel()
        for key in keys
    }


def lines(sweep: xr.Dataset, value: str, over: str) -> list[Line]:
    """Return the lines of a value over a swept key; points without the value are left out.

    The value is a variable of the dataset, one number for each point, `VALUE_std` its standard
    error.

    Raises:
        AnalysisError: There is no such variable or key, or they are no numbers.
    """
    keys = swept_keys(sweep)
    x, y = _numbers_of(keys, over), _value(sweep, value)
    errors = sweep.get(f"{value}_std")
    std = np.full(y.shape, np.nan) if errors is None else errors.values.ravel().astype(float)
    others = {key: column for key, column in keys.items() if key not in (over, *REPLICATES)}
    groups: dict[str, list[int]] = {}
    for index in range(y.size):
        here = label({key: column[index] for key, column in others.items()})
        groups.setdefault(here, []).append(index)
    found = []
    for members in groups.values():
        first = {key: column[members[0]] for key, column in others.items()}
        kept = [k for k in members if np.isfinite(y[k]) and np.isfinite(x[k])]
        kept.sort(key=lambda k: float(x[k]))
        found.append(Line(first, x[kept], y[kept], std[kept]))
    return found


def the_key(sweep: xr.Dataset, over: str | None) -> str:
    """Return the swept key to go over: the given one, or the only one with numbers.

    Raises:
        AnalysisError: None is given, and there are several or none.
    """
    if over is not None:
        return over
    numeric = numeric_keys(sweep)
    if len(numeric) != 1:
        raise AnalysisError(
            f"over: not given, and the swept keys with numbers are {', '.join(numeric) or 'none'}; "
            f"name one: over=KEY"
        )
    return numeric[0]


def numeric_keys(sweep: xr.Dataset) -> list[str]:
    """Return the swept keys with more than one number, without replicates."""
    return [
        key
        for key, column in swept_keys(sweep).items()
        if column.dtype.kind in _NUMBERS and key not in REPLICATES and len({*column.tolist()}) > 1
    ]


def _numbers_of(keys: Mapping[str, Any], over: str) -> Reals:
    if over not in keys or keys[over].dtype.kind not in _NUMBERS:
        numeric = [key for key, column in keys.items() if column.dtype.kind in _NUMBERS]
        raise AnalysisError(
            f"over={over}: no swept key with numbers; allowed: {', '.join(numeric) or 'none'}"
        )
    return keys[over].astype(float)


def _value(sweep: xr.Dataset, value: str) -> Reals:
    dims = sweep["status"].dims
    found = sweep.data_vars.get(value)
    if found is None or found.dims != dims or found.dtype.kind not in _NUMBERS:
        allowed = [
            str(name)
            for name, each in sweep.data_vars.items()
            if each.dims == dims and each.dtype.kind in _NUMBERS and not str(name).endswith("_std")
        ]
        raise AnalysisError(
            f"value={value}: the sweep has no such number of each point; allowed: "
            f"{', '.join(allowed)}"
        )
    return found.values.ravel().astype(float)


def with_curves(
    result: xr.Dataset,
    found: Sequence[Line],
    fitted: tuple[str, str],
    curve: Callable[[int, Reals], Reals],
) -> xr.Dataset:
    """Return a result by `line` with the keys of its lines, and the curves that a report draws.

    A report draws any variable by `line` (or none) and one more dimension that has the attributes
    `value` and `over`: as curves over the points of that value over that key. These two are
    `fitted`; `curve` returns the fitted values, given the index of a line and x.
    """
    import xarray as xr

    value, over = fitted
    ends = [end for line in found for end in line.x] or [0.0, 1.0]
    x = np.linspace(min(ends), max(ends), _NUM_CURVE)
    drawn = np.full((len(found), x.size), np.nan)
    for k, line in enumerate(found):
        inside = (x >= min(line.x, default=np.inf)) & (x <= max(line.x, default=-np.inf))
        drawn[k, inside] = curve(k, x[inside])
    about = {"long_name": f"{value}, fitted", "units": "1", "value": value, "over": over}
    counts = [line.x.size for line in found]
    coordinates: dict[str, xr.Variable] = {
        "x": xr.Variable("x", x, {"long_name": over, "units": "1"}),
        "line": xr.Variable("line", np.array([line.label for line in found], object)),
    }
    for key in found[0].keys if found else ():
        column = np.array([line.keys[key] for line in found])
        coordinates[key] = xr.Variable("line", column, {"long_name": key})
    return result.assign(
        fit=(("line", "x"), drawn, about),
        num_points=("line", counts, {"long_name": "points fitted", "units": "1"}),
    ).assign_coords(coordinates)
