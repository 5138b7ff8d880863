"""Circuits with one ideal outcome: how its probability decays with the number of layers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from qexp.analysis.rows import Place, Row, pub_coordinates, rows, scalar, shown, suitable, variable
from qexp.archive.read import Archive
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr

Reals = NDArray[np.float64]
Floor = Literal["uniform", "free", "zero"]


@dataclass(frozen=True)
class Decay:
    """A fit of `amplitude * p**layers + floor`; NaN where nothing could be fitted.

    Attributes:
        p: Decay per layer.
        amplitude: What is lost by layers, which is less than 1 for errors of preparation and
            readout.
        floor: The value of infinitely many layers.
        p_std: Standard error of `p`; so are the others.
        amplitude_std: 0 where it is not fitted.
        floor_std: 0 where it is not fitted.
        reduced_chi2: Sum of squared residuals over their variances, per degree of freedom; NaN
            without any.
    """

    p: float
    amplitude: float
    floor: float
    p_std: float
    amplitude_std: float
    floor_std: float
    reduced_chi2: float


def survival(run: Archive, *, workload: str | None = None, floor: Floor = "uniform") -> xr.Dataset:
    r"""Survival probability of each circuit, and the fit :math:`A p^m + B` of its decay.

    The survival probability is the fraction of shots with the one ideal outcome of a mirror circuit
    (Proctor et al., Nat. Phys. 18, 75 (2022), arXiv:2008.11294), which the circuit's metadata name
    (`ideal_bitstring`); m is its number of layers in both halves, twice the `depth` of the config.
    The mean over the circuits of each m is fitted, weighted by its standard error (from the scatter
    of the circuits, but no less than that of the shots), by `scipy.optimize.curve_fit`; standard
    errors are from the covariance. With B = 1/2^n, where uniform outcomes end, the error per layer
    of n qubits is :math:`r = (4^n - 1)(1 - p)/4^n` (Proctor et al., Phys. Rev. Lett. 129, 150502
    (2022), arXiv:2112.09853, where the decay of another, linear quantity is fitted).

    Args:
        run: The archive.
        workload: The Sampler workload; None for all of mirror circuits.
        floor: B: `"uniform"` for 1/2^n, `"zero"`, or `"free"` to be fitted too.

    Returns:
        By `pub`: `survival`, `survival_std` (binomial), `layers`, `depth`. By `layers_mean`:
        `mean_survival`, `mean_survival_std`, `fitted`. Without dimension: `p`, `amplitude`,
        `floor`, `error_per_layer` with standard errors (`*_std`), `reduced_chi2`; NaN where
        there are fewer different depths than parameters.

    Raises:
        AnalysisError: The run has no such workload, circuits do not say their ideal outcome, or
            they differ in their number of qubits.
    """
    found = [
        (row.place, *_counted(row))
        for row in rows(run, suitable(run, workload, "sampler", "mirror"))
        if row.result is not None
    ]
    table = np.array([counted for _, *counted in found])
    widths = np.unique(table[:, 0])
    if len(widths) > 1:
        raise AnalysisError(
            f"circuits of {', '.join(map(str, widths))} qubits do not decay alike; name one "
            f"workload: workload=NAME"
        )
    return _dataset([place for place, *_ in found], table, floor)


def fit(layers: Reals, mean: Reals, error: Reals, num_qubits: int, floor: Floor) -> Decay:
    """Fit the decay of mean survival probabilities.

    Args:
        layers: Numbers of layers, all different.
        mean: Mean survival probability of each.
        error: Its standard error, above 0.
        num_qubits: Width of the circuits.
        floor: As in `survival`.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    fixed = {"uniform": 2.0**-num_qubits, "zero": 0.0}
    number = 3 if floor == "free" else 2
    nan = float("nan")
    if len(layers) < number:
        return Decay(nan, nan, nan, nan, nan, nan, nan)

    def model(m: Reals, p: float, amplitude: float, *free: float) -> Reals:
        base: float = free[0] if free else fixed[floor]
        return amplitude * p**m + base

    start = [0.99, max(float(mean.max()) - fixed.get(floor, 0.0), 0.1), 2.0**-num_qubits]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", OptimizeWarning)
            # Not p > 1: nothing gets better with more layers.
            bounds = ([0.0] * number, [1.0, 1.5, 1.0][:number])
            values, covariance = curve_fit(
                model, layers, mean, start[:number], error, absolute_sigma=True, bounds=bounds
            )
    except (RuntimeError, OptimizeWarning):
        return Decay(nan, nan, nan, nan, nan, nan, nan)
    errors = np.sqrt(np.diag(covariance))
    freedom = len(layers) - number
    residuals = ((mean - model(layers, *values)) / error) ** 2
    p, amplitude, base = [*values, fixed.get(floor, nan)][:3]
    return Decay(
        float(p),
        float(amplitude),
        float(base),
        float(errors[0]),
        float(errors[1]),
        float(errors[2]) if number == 3 else 0.0,
        float(residuals.sum() / freedom) if freedom else nan,
    )


def means(layers: NDArray[np.int64], hits: NDArray[np.int64], shots: NDArray[np.int64]) -> Reals:
    """Mean survival by number of layers: rows of layers, mean, standard error of the mean.

    The error is from the scatter of the circuits, but no less than that of their shots alone, with
    one shot more of either kind (Laplace's rule of succession), so that it is never 0.
    """
    table = []
    for number in np.unique(layers):
        chosen = layers == number
        each = hits[chosen] / shots[chosen]
        total = shots[chosen].sum()
        guess = (hits[chosen].sum() + 1) / (total + 2)
        error = np.sqrt(guess * (1 - guess) / total)
        if len(each) > 1:
            error = max(error, each.std(ddof=1) / np.sqrt(len(each)))
        table.append([number, each.mean(), error])
    return np.array(table, dtype=np.float64)


def _counted(row: Row) -> tuple[int, int, int, int]:
    """Qubits, depth, shots, shots with the ideal outcome."""
    ideal, depth = row.metadata.get("ideal_bitstring"), row.metadata.get("depth")
    sampled = row.sampled()
    if not isinstance(ideal, str) or not isinstance(depth, int) or len(sampled) != 1:
        raise AnalysisError(
            f"PUB {row.index} of '{row.workload}' has no known ideal outcome; its circuit's "
            f"metadata must have 'ideal_bitstring' and 'depth', as those of mirror circuits do"
        )
    counts = sampled[0][1]
    return len(ideal), depth, sum(counts.values()), counts.get(ideal, 0)


def _dataset(places: list[Place], table: NDArray[np.int64], floor: Floor) -> xr.Dataset:
    import xarray as xr

    depth, shots, hits = table[:, 1], table[:, 2], table[:, 3]
    num_qubits = int(table[0, 0])
    number, mean, error = means(2 * depth, hits, shots).T
    decay = fit(number, mean, error, num_qubits, floor)
    scale = (4.0**num_qubits - 1) / 4.0**num_qubits
    each = hits / shots
    fitted = decay.amplitude * decay.p**number + decay.floor
    std = np.sqrt(each * (1 - each) / shots)
    variables = {
        "survival": variable(each, "survival probability"),
        "survival_std": variable(std, "survival probability, standard error"),
        "layers": variable(2 * depth, "layers of both halves"),
        "depth": variable(depth, "layers of the first half"),
        "mean_survival": variable(mean, "survival probability, mean", dim="layers_mean"),
        "mean_survival_std": variable(
            error, "survival probability, standard error of the mean", dim="layers_mean"
        ),
        "fitted": variable(fitted, "survival probability, fitted", dim="layers_mean"),
        **_parameters(decay, scale),
    }
    coordinates = {"layers_mean": variable(number.astype(int), "layers", dim="layers_mean")}
    attrs = {"title": "Decay of the survival probability", "summary": _summary(decay, scale)}
    return xr.Dataset(variables, pub_coordinates(places) | coordinates, attrs)


def _parameters(decay: Decay, scale: float) -> dict[str, xr.Variable]:
    """What was fitted; `scale` times (1 - p) is the error per layer."""
    values = {
        "p": (decay.p, decay.p_std, "decay per layer"),
        "amplitude": (decay.amplitude, decay.amplitude_std, "amplitude of the decay"),
        "floor": (decay.floor, decay.floor_std, "value of infinitely many layers"),
        "error_per_layer": (scale * (1 - decay.p), scale * decay.p_std, "error per layer"),
    }
    variables = {}
    for name, (value, std, text) in values.items():
        variables[name] = scalar(value, text)
        variables[f"{name}_std"] = scalar(std, f"{text}, standard error")
    chi2 = scalar(decay.reduced_chi2, "chi square per degree of freedom of the fit")
    return {**variables, "reduced_chi2": chi2}


def _summary(decay: Decay, scale: float) -> str:
    if np.isnan(decay.p):
        return "no fit: there are fewer different depths than parameters, or they do not decay"
    return (
        f"p = {shown(decay.p, decay.p_std)} per layer, error per layer "
        f"{shown(scale * (1 - decay.p), scale * decay.p_std)}, amplitude "
        f"{shown(decay.amplitude, decay.amplitude_std)}, reduced chi square "
        f"{decay.reduced_chi2:.2f}"
    )
