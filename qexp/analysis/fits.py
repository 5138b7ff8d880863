"""Weighted least-squares fits, with errors of the parameters and a reduced chi-square."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qexp.analysis.dataset import Reals

Model = Callable[..., Reals]
"""Returns y for x and the parameters."""


@dataclass(frozen=True)
class Fit:
    """A fit of n parameters.

    The reduced chi-square is that of squared residuals over their variances, per degree of freedom;
    NaN without degrees of freedom, or without errors of the data.
    """

    values: Reals  # shape (n,)
    covariance: Reals  # shape (n, n)
    reduced_chi2: float

    @property
    def errors(self) -> Reals:
        """Standard errors of the parameters, shape (n,)."""
        return np.sqrt(np.diag(self.covariance))


def fit_model(
    model: Model,
    x: Reals,
    y: Reals,
    std: Reals,
    start: Sequence[float],
    bounds: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Fit | None:
    """Fit the parameters of a model by `scipy.optimize.curve_fit`; None where that is impossible.

    Where every point has an error above 0, points are weighted by them, and the errors of the
    parameters follow from them. Otherwise all points weigh the same, and the errors are from the
    scatter about the fit.

    Arrays have shape (points,); y is finite, and its standard error NaN where it is not known.
    `start` and the two `bounds` have one number for each parameter.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    if len(np.unique(x)) < len(start):
        return None
    is_weighted = bool(np.all(np.isfinite(std) & (std > 0)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", OptimizeWarning)
            values, covariance = curve_fit(
                model,
                x,
                y,
                start,
                std if is_weighted else None,
                absolute_sigma=is_weighted,
                bounds=bounds or (-np.inf, np.inf),
            )
    except (RuntimeError, OptimizeWarning):
        return None
    freedom = len(x) - len(start)
    chi2 = float((((y - model(x, *values)) / std) ** 2).sum()) if is_weighted else np.nan
    return Fit(values, covariance, chi2 / freedom if freedom else np.nan)


class Decay(NamedTuple):
    """A fit of `amplitude * p**x + floor`; NaN where nothing could be fitted."""

    p: float = np.nan  # decay per unit of x
    amplitude: float = np.nan  # of probabilities, below 1 for errors of preparation and readout
    floor: float = np.nan  # the value of infinite x
    p_std: float = np.nan
    amplitude_std: float = np.nan
    floor_std: float = np.nan  # 0 where the floor is not fitted
    reduced_chi2: float = np.nan  # see `Fit`


def fit_decay(
    x: Reals,
    y: Reals,
    std: Reals,
    start: Sequence[float],
    bounds: tuple[Sequence[float], Sequence[float]],
    floor: float | None,
) -> Decay:
    """Fit an exponential decay as `fit_model` does.

    `start` and `bounds` are of p, amplitude and floor; the floor is fitted unless it is given.
    """
    given = [] if floor is None else [floor]
    number = 3 - len(given)

    def model(m: Reals, p: float, amplitude: float, *free: float) -> Reals:
        [base] = free or given
        return amplitude * p**m + base

    low, high = bounds
    found = fit_model(model, x, y, std, start[:number], (low[:number], high[:number]))
    if found is None:
        return Decay()
    values = [*found.values, *given, *found.errors, *[0.0 for _ in given], found.reduced_chi2]
    return Decay(*map(float, values))
