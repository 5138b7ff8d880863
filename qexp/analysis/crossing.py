"""Crossings of lines, such as of curves of several sizes over a field: a threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Le, Len

from qexp.analysis.dataset import Column, Reals, dataset, format_value, with_std
from qexp.analysis.fits import Fit, fit_model
from qexp.analysis.lines import Line, label, lines, the_key, with_curves
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr


def crossing(
    sweep: xr.Dataset,
    *,
    value: str,
    over: str | None = None,
    by: str | None = None,
    degree: Annotated[int, Ge(1), Le(4)] = 1,
    within: Annotated[list[float], Len(2, 2)] | None = None,
) -> xr.Dataset:
    r"""Find where a value over one swept key crosses itself at another value of a second key.

    Each line is fitted by a polynomial :math:`f(x)`, weighted by `VALUE_std` if all points of the
    line have one above 0, see `qexp.analysis.fits.fit_model`. Lines of neighbouring values of the
    second key cross at the root :math:`x^*` of :math:`d = f_1 - f_2` where both have points; of
    several, the most certain is taken. Its error is propagated from the covariances C of the
    coefficients: with :math:`g = (1, x^*, ..., {x^*}^{degree})`,

    .. math:: \sigma_x^2 = g^T (C_1 + C_2)\, g \,/\, d'(x^*)^2 .

    The same crossing as an estimate of a threshold: Wang, Harrington and Preskill, Ann. Phys. 303,
    31 (2003), arXiv:quant-ph/0207088. Crossings of small sizes drift with the size.

    Args:
        sweep: Dataset of the sweep; what points lack is NaN.
        value: The variable, `ANALYSIS_variable`.
        over: The swept key of x; None for the only one whose values are numbers.
        by: The second key; None for the only other one.
        degree: Degree of the polynomials.
        within: Smallest and largest x of the points that are fitted; None for all.

    Returns:
        By `pair`: `crossing` and its standard error `crossing_std`, NaN where two lines do not
        cross. By `line`: `reduced_chi2`, `num_points`; by `line` and `x`: `fit`.

    Raises:
        AnalysisError: The sweep has no such variable or key.
    """
    key = the_key(sweep, over)
    low, high = within or (-np.inf, np.inf)
    found = [_cut(line, low, high) for line in lines(sweep, value, key)]
    second = _second_key(found, by)
    fits = [_polynomial(line, degree) for line in found]
    pairs = list(_pairs(found, second))
    crossings = [_cross((found[a], found[b]), (fits[a], fits[b])) for a, b in pairs]
    names = [f"{found[a].label} and {label({second: found[b].keys[second]})}" for a, b in pairs]
    x, x_std = np.array(crossings, float).reshape(-1, 2).T
    chi2 = np.array([np.nan if fit is None else fit.reduced_chi2 for fit in fits])
    columns: dict[str, Column] = {
        **with_std("crossing", "pair", x, x_std, f"{key} where two lines cross"),
        "reduced_chi2": ("line", chi2, "chi square per degree of freedom of the fit"),
    }
    each = (
        f"{name} cross at {format_value(*at)}" if np.isfinite(at[0]) else f"{name}: none"
        for name, at in zip(names, crossings, strict=True)
    )
    made = dataset(
        f"Crossings of {value} over {key}",
        "; ".join(each),
        columns,
        {"pair": ("pair", names, f"two neighbouring values of {second}")},
    )

    def curve(number: int, at: Reals) -> Reals:
        fit = fits[number]
        values = np.full(degree + 1, np.nan) if fit is None else fit.values
        return _powers(at, degree) @ values

    return with_curves(made, found, (value, key), curve)


def _cut(line: Line, low: float, high: float) -> Line:
    kept = (line.x >= low) & (line.x <= high)
    return Line(line.keys, line.x[kept], line.y[kept], line.std[kept])


def _second_key(found: Sequence[Line], by: str | None) -> str:
    keys = {key: {str(line.keys[key]) for line in found} for line in found for key in line.keys}
    several = [key for key, values in keys.items() if len(values) > 1]
    if by in several or (by is None and len(several) == 1):
        return by or several[0]
    got = "not given" if by is None else f"got {by}"
    raise AnalysisError(
        f"by: {got}, and the other swept keys are {', '.join(several) or 'none'}; name one: by=KEY"
    )


def _pairs(found: Sequence[Line], by: str) -> Iterator[tuple[int, int]]:
    """Yield lines with neighbouring values of a key that agree in all others."""
    groups: dict[str, list[int]] = {}
    for number, line in enumerate(found):
        rest = {key: value for key, value in line.keys.items() if key != by}
        groups.setdefault(label(rest), []).append(number)
    for members in groups.values():
        values = [found[number].keys[by] for number in members]
        is_number = all(isinstance(each, int | float | np.number) for each in values)
        order = sorted(members, key=lambda k: found[k].keys[by]) if is_number else members
        yield from pairwise(order)


def _powers(x: Reals, degree: int) -> Reals:
    return np.vander(np.atleast_1d(x), degree + 1, increasing=True)


def _polynomial(line: Line, degree: int) -> Fit | None:
    def model(x: Reals, *coefficients: float) -> Reals:
        return _powers(x, degree) @ np.array(coefficients)

    return fit_model(model, line.x, line.y, line.std, [0.0] * (degree + 1))


def _cross(pair: tuple[Line, Line], fits: tuple[Fit | None, Fit | None]) -> tuple[float, float]:
    """Return the most certain crossing of two lines and its error; NaN where there is none."""
    from numpy.polynomial import Polynomial

    first, second = fits
    if first is None or second is None:
        return np.nan, np.nan
    low, high = max(line.x.min() for line in pair), min(line.x.max() for line in pair)
    difference = Polynomial(first.values - second.values)
    both = first.covariance + second.covariance
    found = []
    for root in difference.roots():
        x = float(np.real(root))
        slope = abs(float(difference.deriv()(x)))
        if abs(np.imag(root)) > 1e-9 * (1 + abs(x)) or not low <= x <= high or slope == 0:
            continue
        powers = _powers(np.array(x), len(first.values) - 1)[0]
        x_std = float(np.sqrt(powers @ both @ powers)) / slope
        found.append((x, x_std))
    return min(found, key=lambda one: one[1], default=(np.nan, np.nan))
