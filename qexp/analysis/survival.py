"""Circuits with one ideal outcome: the decay of its probability with the number of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from qexp.analysis.dataset import Column, Reals, dataset, format_value, pub_coordinates, with_std
from qexp.analysis.fits import Decay, fit_decay
from qexp.analysis.pubs import MeasuredPub, measure_pubs, read_pubs
from qexp.archive.read import Archive
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr

Floor = Literal["uniform", "free", "zero"]


def survival(run: Archive, *, workload: str | None = None, floor: Floor = "uniform") -> xr.Dataset:
    r"""Compute the survival probability of each circuit, and fit :math:`A p^m + B` to its decay.

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
    places, table = measure_pubs(read_pubs(run, workload, "sampler", "mirror"), _hits)
    widths = np.unique(table[:, 0])
    if len(widths) > 1:
        raise AnalysisError(
            f"circuits of {', '.join(map(str, widths))} qubits do not decay alike; name one "
            f"workload: workload=NAME"
        )
    return _dataset(places, table, floor)


def fit(layers: Reals, mean: Reals, error: Reals, num_qubits: int, floor: Floor) -> Decay:
    """Fit the decay of the mean survival probability of each number of layers; errors are above 0.

    The floor is that of `survival`.
    """
    uniform = 2.0**-num_qubits
    given = {"uniform": uniform, "zero": 0.0}.get(floor)
    start = [0.99, max(float(mean.max()) - (given or 0.0), 0.1), uniform]
    # p is at most 1: nothing gets better with more layers.
    return fit_decay(layers, mean, error, start, ([0.0] * 3, [1.0, 1.5, 1.0]), given)


def means(layers: NDArray[np.int64], hits: NDArray[np.int64], shots: NDArray[np.int64]) -> Reals:
    """Average the survival by number of layers: rows of layers, mean, its standard error.

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


def _hits(pub: MeasuredPub) -> tuple[int, int, int, int]:
    """Return qubits, depth, shots, and shots with the ideal outcome."""
    ideal, depth = pub.metadata.get("ideal_bitstring"), pub.metadata.get("depth")
    sample = pub.only_sample()
    if not isinstance(ideal, str) or not isinstance(depth, int) or sample is None:
        raise AnalysisError(
            f"PUB {pub.index} of '{pub.workload}' has no known ideal outcome; its circuit's "
            f"metadata must have 'ideal_bitstring' and 'depth', as those of mirror circuits do"
        )
    return len(ideal), depth, sum(sample.counts.values()), sample.counts.get(ideal, 0)


def _dataset(
    places: Sequence[tuple[str, int]], table: NDArray[np.int64], floor: Floor
) -> xr.Dataset:
    depth, shots, hits = table[:, 1], table[:, 2], table[:, 3]
    num_qubits = int(table[0, 0])
    number, mean, error = means(2 * depth, hits, shots).T
    decay = fit(number, mean, error, num_qubits, floor)
    # The error per layer is this times (1 - p).
    scale = (4.0**num_qubits - 1) / 4.0**num_qubits
    each = hits / shots
    std = np.sqrt(each * (1 - each) / shots)
    fitted = decay.amplitude * decay.p**number + decay.floor
    name = "survival probability"
    columns: dict[str, Column] = {
        **with_std("survival", "pub", each, std, name),
        "layers": ("pub", 2 * depth, "layers of both halves"),
        "depth": ("pub", depth, "layers of the first half"),
        **with_std("mean_survival", "layers_mean", mean, error, f"{name}, mean"),
        "fitted": ("layers_mean", fitted, f"{name}, fitted"),
        **with_std("p", "", decay.p, decay.p_std, "decay per layer"),
        **with_std("amplitude", "", decay.amplitude, decay.amplitude_std, "amplitude of the decay"),
        **with_std("floor", "", decay.floor, decay.floor_std, "value of infinitely many layers"),
        **with_std(
            "error_per_layer", "", scale * (1 - decay.p), scale * decay.p_std, "error per layer"
        ),
        "reduced_chi2": ("", decay.reduced_chi2, "chi square per degree of freedom of the fit"),
    }
    return dataset(
        "Decay of the survival probability",
        _summary(decay, scale),
        columns,
        {
            **pub_coordinates(places),
            "layers_mean": ("layers_mean", number.astype(int), "layers"),
        },
    )


def _summary(decay: Decay, scale: float) -> str:
    if np.isnan(decay.p):
        return "no fit: there are fewer different depths than parameters, or they do not decay"
    return (
        f"p = {format_value(decay.p, decay.p_std)} per layer, error per layer "
        f"{format_value(scale * (1 - decay.p), scale * decay.p_std)}, amplitude "
        f"{format_value(decay.amplitude, decay.amplitude_std)}, reduced chi square "
        f"{decay.reduced_chi2:.2f}"
    )
