"""Variants that ran on the same circuits: how good each is, what it costs, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

from qexp.analysis.dataset import Column, Reals, dataset, mean_and_error, with_std
from qexp.analysis.lines import REPLICATES, label, swept_keys, value_text
from qexp.compare.homogeneity import holm
from qexp.errors import AnalysisError
from qexp.sweeps.pairs import paired_test

if TYPE_CHECKING:
    import xarray as xr


def compare(
    sweep: xr.Dataset, *, over: str = "variant", precision: Annotated[float, Gt(0)] = 0.01
) -> xr.Dataset:
    r"""Compare variants by their expectation values on the same circuits.

    Of each variant, over all of its values, with the exact values of the analysis `exact_evs`:

    .. math:: \mathrm{bias} = \langle \mathrm{ev} - \mathrm{exact} \rangle, \qquad
        \mathrm{rms}^2 = \langle (\mathrm{ev} - \mathrm{exact})^2 \rangle, \qquad
        \mathrm{cost} = t \langle \mathrm{std}^2 \rangle / \mathrm{precision}^2 .

    t is the QPU time charged to its points; if not all of the sweep are charged, as on a simulator,
    that predicted. The cost is that of an rms standard error of `precision`, if all of t grows with
    the shots.

    Two variants are compared on pairs of PUBs, in points that agree in all other swept keys and in
    their seed, by the means of :math:`|\mathrm{ev} - \mathrm{exact}|` over the PUB's values. These
    may share shots: their errors are added as if fully correlated. `test` is as in
    `qexp.sweeps.pairs.Difference`. `mean_chi2`, the mean of :math:`(b - a)^2 / (\sigma_a^2 +
    \sigma_b^2)` over single values, needs no exact ones: about 1 if the variants differ by shot
    noise only.

    Args:
        sweep: Dataset of the sweep; what points lack is NaN.
        over: The swept key of the variants.
        precision: The rms standard error whose cost is estimated.

    Returns:
        By `variant`: `bias` and its standard error, `rms_error`, `rms_std`, `num_values`,
        `num_unknown` (of them left out of `rms_std`), `qpu_s`, `cost_s`. By `pair`: `difference` of
        B minus A, negative where B is closer to the exact values, and its standard error,
        `num_pairs`, `test`, `p_value`, `p_adjusted`, `mean_chi2`.

    Raises:
        AnalysisError: The sweep has no such key, or no expectation values.
    """
    keys = swept_keys(sweep)
    allowed = [key for key in keys if key not in REPLICATES]
    if over not in allowed:
        raise AnalysisError(f"over={over}: not swept; allowed: {', '.join(allowed) or 'none'}")
    if "evs" not in sweep:
        raise AnalysisError("the sweep has no expectation values; only Estimators are compared")
    names, at = _table(over, {"seed": sweep["seed"].values.ravel(), **keys})
    evs, stds, exact = (_placed(sweep, name, at) for name in ("evs", "stds", "exact"))
    # An extrapolation that was not fitted has an infinite error: it is not known.
    num_unknown = (np.isfinite(evs) & ~np.isfinite(stds)).sum(axis=(1, 2, 3))
    stds, errors = np.where(np.isfinite(stds), stds, np.nan), evs - exact
    time_s, about = _qpu_s(sweep)
    spent_s = np.nansum(np.append(time_s, 0)[at], axis=-1)
    rms_error, rms_std = (np.sqrt([_mean(each**2) for each in of]) for of in (errors, stds))
    bias, bias_std = np.array([*map(_bias, errors, stds)]).T
    cost_s = spent_s * (rms_std / precision) ** 2
    columns: dict[str, Column] = {
        **with_std("bias", "variant", bias, bias_std, "mean difference from the exact value"),
        "rms_error": ("variant", rms_error, "root mean square difference from the exact value"),
        "rms_std": ("variant", rms_std, "root mean square standard error"),
        "num_values": ("variant", np.isfinite(evs).sum(axis=(1, 2, 3)), "expectation values"),
        "num_unknown": ("variant", num_unknown, "values whose standard error is not known"),
        "qpu_s": ("variant", spent_s, about, "s"),
        "cost_s": ("variant", cost_s, f"QPU time for an rms standard error of {precision}", "s"),
        **_pairs(evs, stds, errors),
    }
    is_exact = bool(np.isfinite(rms_error).any())
    what = "rms error" if is_exact else "no exact values; rms standard error"
    shown = zip(names, rms_error if is_exact else rms_std, strict=True)
    unknown = [f"{k} of {name}" for name, k in zip(names, num_unknown, strict=True) if k]
    left_out = "; left out of rms_std and cost_s, as their errors are not known: "
    pairs = [f"{b} against {a}" for a, b in combinations(names, 2)]
    return dataset(
        f"Comparison by {over}",
        f"{what}: {', '.join(f'{name} {each:.4g}' for name, each in shown)}"
        f"{left_out if unknown else ''}{', '.join(unknown)}",
        columns,
        {"variant": ("variant", names, over), "pair": ("pair", pairs, "variants, B against A")},
    )


def _table(over: str, keys: Mapping[str, NDArray[Any]]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the variants, and by variant and place in all other keys the point, -1 for none."""
    texts = [value_text(value) for value in keys[over].tolist()]
    others = {key: each for key, each in keys.items() if key != over}
    places = [label({key: each[k] for key, each in others.items()}) for k in range(len(texts))]
    rows, columns = (
        {text: k for k, text in enumerate(dict.fromkeys(of))} for of in (texts, places)
    )
    at = np.full((len(rows), len(columns)), -1)
    for k, (text, place) in enumerate(zip(texts, places, strict=True)):
        at[rows[text], columns[place]] = k
    return [*rows], at


def _placed(sweep: xr.Dataset, name: str, at: NDArray[np.int64]) -> Reals:
    """Return values by variant, place, PUB and value of the PUB; NaN where there is none."""
    if name not in sweep:
        return np.full((*at.shape, 1, 1), np.nan)
    points = sweep["status"].dims
    units = [dim for dim in ("workload", "pub") if dim in sweep[name].dims]
    shape = (sweep["status"].size, int(np.prod([sweep.sizes[dim] for dim in units])), -1)
    values = sweep[name].transpose(*points, *units, ...).values.reshape(shape)
    placed: Reals = np.append(values, np.full_like(values[:1], np.nan), axis=0)[at]
    return placed


def _qpu_s(sweep: xr.Dataset) -> tuple[Reals, str]:
    """Return the QPU time of each point, and what it is: charged, else predicted."""
    charged, engine = sweep["usage_s"].values.ravel(), sweep["engine"].values.ravel()
    if ((engine == "ibm") & (charged > 0)).all():
        return charged, "QPU time charged"
    return sweep["predicted_qpu_s"].values.ravel(), "QPU time predicted"


def _mean(values: Reals) -> float:
    return mean_and_error(values)[0]


def _bias(errors: Reals, stds: Reals) -> tuple[float, float]:
    """Return the bias and its error; those of one PUB are added as if fully correlated."""
    known = np.isfinite(errors)
    linear = np.where(known, stds, 0).sum(axis=-1)[known.any(axis=-1)]
    return _mean(errors), np.sqrt(linear.size * _mean(linear**2)) / max(known.sum(), 1)


def _pairs(evs: Reals, stds: Reals, errors: Reals) -> dict[str, Column]:
    """Return the columns by pair of variants."""
    rows: list[tuple[float, ...]] = []
    tests = []
    for a, b in combinations(range(len(evs)), 2):
        worse = np.abs(errors[b]) - np.abs(errors[a])
        both = np.isfinite(worse)
        used = both.any(axis=-1)
        # Means over the values of each PUB.
        difference, *own = (
            np.where(both, each, 0).sum(axis=-1)[used] / both.sum(axis=-1)[used]
            for each in (worse, stds[a], stds[b])
        )
        error, number = np.hypot(*own), difference.size
        variance = stds[a] ** 2 + stds[b] ** 2
        chi2 = _mean((evs[b] - evs[a])[variance > 0] ** 2 / variance[variance > 0])
        rows.append((_mean(difference), np.sqrt(_mean(error**2) / max(number, 1)), number, chi2))
        tests.append(paired_test(difference.tolist(), error.tolist()))
    mean, std, numbers, mean_chi2 = np.array(rows, float).reshape(-1, 4).T
    p_values = np.array([p for _, p in tests], float)
    adjusted = p_values.copy()
    adjusted[np.isfinite(p_values)] = holm(p_values[np.isfinite(p_values)].tolist())
    return {
        **with_std("difference", "pair", mean, std, "difference of the mean absolute error"),
        "num_pairs": ("pair", numbers.astype(int), "pairs of PUBs"),
        "test": ("pair", np.array([test or "" for test, _ in tests], str), "paired test"),
        "p_value": ("pair", p_values, "p-value of the difference"),
        "p_adjusted": ("pair", adjusted, "p-value, corrected for the number of tests by Holm"),
        "mean_chi2": ("pair", mean_chi2, "mean squared difference of values in standard errors"),
    }
