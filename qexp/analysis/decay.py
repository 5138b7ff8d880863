"""Exponential decay of a value over a swept key, such as a survival probability over depths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from qexp.analysis.dataset import Column, Reals, dataset, format_value, with_std
from qexp.analysis.fits import Decay, fit_decay
from qexp.analysis.lines import Line, lines, the_key, with_curves

if TYPE_CHECKING:
    import xarray as xr

Floor = float | Literal["free"]


def decay(
    sweep: xr.Dataset, *, value: str, over: str | None = None, floor: Floor = "free"
) -> xr.Dataset:
    r"""Fit :math:`A p^m + B` to a value over the numbers m of a swept key.

    This is the model of randomized benchmarking at zeroth order (Magesan, Gambetta and Emerson,
    Phys. Rev. A 85, 042311 (2012), arXiv:1109.6887). Each combination of the other swept keys is a
    line with a fit of its own; points of several seeds count as points of one line. Points are
    weighted by `VALUE_std` if all of a line have one above 0, see `qexp.analysis.fits.fit_model`.
    0 <= p <= 1, A and B are free, or B is given. Where a line has fewer different m than
    parameters, or is too short to tell A from B, its fit is NaN.

    Args:
        sweep: Dataset of the sweep; what points lack is NaN.
        value: The variable, `ANALYSIS_variable`.
        over: The swept key; None for the only one whose values are numbers.
        floor: B, or `"free"` to be fitted too.

    Returns:
        By `line`: `p`, `amplitude`, `floor` with standard errors (`*_std`), `reduced_chi2`,
        `num_points`; by `line` and `x`: `fit`, the curve.

    Raises:
        AnalysisError: The sweep has no such variable or key.
    """
    key = the_key(sweep, over)
    found = lines(sweep, value, key)
    rows = np.array([_fit(line, floor) for line in found], float).reshape(-1, 7)
    names = ("p", "amplitude", "floor")
    texts = ("decay per unit", "amplitude of the decay", "value it decays to")
    columns: dict[str, Column] = {}
    for k, (name, text) in enumerate(zip(names, texts, strict=True)):
        columns |= with_std(name, "line", rows[:, k], rows[:, k + 3], text)
    columns["reduced_chi2"] = ("line", rows[:, 6], "chi square per degree of freedom of the fit")

    def curve(line: int, x: Reals) -> Reals:
        p, amplitude, base = rows[line, :3]
        return amplitude * p**x + base

    # Points of a short decay are those of a line: they say nothing of the floor.
    none = "no fit, give the floor (floor=B)" if floor == "free" else "no fit"
    each = (f"p = {format_value(row[0], row[3])}" if np.isfinite(row[0]) else none for row in rows)
    named = (f"{line.label}: " if line.label else "" for line in found)
    summary = "; ".join(map("".join, zip(named, each, strict=True)))
    title = f"Decay of {value} over {key}"
    return with_curves(dataset(title, summary, columns, {}), found, (value, key), curve)


def _fit(line: Line, floor: Floor) -> Decay:
    if line.x.size == 0:
        return Decay()
    low, span = line.y.min(), np.ptp(line.y) or 1.0
    base = low - 0.1 * span if floor == "free" else floor
    start = [np.exp(-2 / (np.ptp(line.x) or 1.0)), line.y[0] - base, base]
    bounds = [0.0, -np.inf, -np.inf], [1.0, np.inf, np.inf]
    given = None if floor == "free" else floor
    return fit_decay(line.x, line.y, line.std, start, bounds, given)
