"""Variants that ran on the same circuits: how good each is, what it costs, and how they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

from qexp.analysis.dataset import Column, Reals, dataset, mean_and_error, with_std
from qexp.analysis.lines import label, swept_keys, value_text
from qexp.compare.homogeneity import holm
from qexp.errors import AnalysisError
from qexp.sweeps.pairs import TestName, paired_test

if TYPE_CHECKING:
    import xarray as xr


def compare(
    sweep: xr.Dataset, *, over: str = "variant", precision: Annotated[float, Gt(0)] = 0.01
) -> xr.Dataset:
    r"""Compare variants by their expectation values on the same circuits.

    Of each variant, over all of its values, with the exact values of the analysis `exact_evs`:

    .. math:: \mathrm{bias} = \langle \mathrm{ev} - \mathrm{exact} \rangle, \qquad
        \mathrm{rms} = \sqrt{\langle (\mathrm{ev} - \mathrm{exact})^2 \rangle}, \qquad
        \mathrm{cost} = t \langle \mathrm{std}^2 \rangle / \mathrm{precision}^2 .

    t is the QPU time charged to its points; if not all of the sweep are charged, as on a simulator,
    that predicted. The cost is that of an rms standard error of `precision`, if all of t grows with
    the shots; a bias is not reduced by them. Errors of the signed bias may cancel, those of the rms
    do not.

    Two variants are compared on pairs of PUBs: in points that agree in all other swept keys and in
    their seed. The difference of a pair is that of the means of :math:`|\mathrm{ev} -
    \mathrm{exact}|` over the PUB's values, which may share shots; their errors are added as if
    fully correlated. `test` is the one of `qexp.sweeps.pairs.Difference`, with p-values corrected
    for the number of tests by Holm. `mean_chi2` is the mean of :math:`(b - a)^2 / (\sigma_a^2 +
    \sigma_b^2)` over single values, which needs no exact ones: about 1 if the variants differ by
    shot noise only and the standard errors are right.

    Args:
        sweep: Dataset of the sweep; what points lack is NaN.
        over: The swept key of the variants.
        precision: The rms standard error whose cost is estimated.

    Returns:
        By `variant`: `bias` and its standard error, `rms_error`, `rms_std`, `num_values`, `qpu_s`,
        `cost_s`. By `pair`: `difference` of B minus A, negative where B is closer to the exact
        values, and its standard error, `num_pairs`, `test`, `p_value`, `p_adjusted`, `mean_chi2`.

    Raises:
        AnalysisError: The sweep has no such key, or no expectation values.
    """
    keys = swept_keys(sweep)
    if over not in keys:
        raise AnalysisError(f"over={over}: not swept; allowed: {', '.join(keys) or 'none'}")
    values, (time_s, about) = _values(sweep), _qpu_s(sweep)
    texts = [value_text(value) for value in keys[over].tolist()]
    names = list(dict.fromkeys(texts))
    rows = []
    for name in names:
        of = np.array([text == name for text in texts])
        rows.append((*_quality(values.at(of)), np.nansum(time_s[of])))
    bias, bias_std, rms_error, rms_std, number, spent_s = np.array(rows, float).T
    cost_s = spent_s * (rms_std / precision) ** 2
    pairs = list(combinations(names, 2))
    columns: dict[str, Column] = {
        **with_std("bias", "variant", bias, bias_std, "mean difference from the exact value"),
        "rms_error": ("variant", rms_error, "root mean square difference from the exact value"),
        "rms_std": ("variant", rms_std, "root mean square standard error"),
        "num_values": ("variant", number.astype(int), "expectation values"),
        "qpu_s": ("variant", spent_s, about, "s"),
        "cost_s": ("variant", cost_s, f"QPU time for an rms standard error of {precision}", "s"),
        **_pairs(_paired(sweep, texts, over, pairs), values),
    }
    is_exact = bool(np.isfinite(rms_error).any())
    what = "rms error" if is_exact else "no exact values; rms standard error"
    shown = zip(names, rms_error if is_exact else rms_std, strict=True)
    coordinates: dict[str, Column] = {
        "variant": ("variant", names, over),
        "pair": ("pair", [f"{b} against {a}" for a, b in pairs], "two variants, B against A"),
    }
    summary = f"{what}: {', '.join(f'{name} {each:.4g}' for name, each in shown)}"
    return dataset(f"Comparison by {over}", summary, columns, coordinates)


@dataclass(frozen=True)
class _Values:
    """Values by point, PUB and value of the PUB; NaN where there is none, or it is not known."""

    evs: Reals
    stds: Reals
    errors: Reals

    def at(self, points: NDArray[Any]) -> _Values:
        """Return those of some points, given a mask or their numbers."""
        return _Values(self.evs[points], self.stds[points], self.errors[points])


def _values(sweep: xr.Dataset) -> _Values:
    if "evs" not in sweep:
        raise AnalysisError("the sweep has no expectation values; only Estimators are compared")
    points = sweep["status"].dims
    dims = [dim for dim in ("workload", "pub") if dim in sweep["evs"].dims]
    shape = (sweep["status"].size, int(np.prod([sweep.sizes[dim] for dim in dims])), -1)
    evs, stds, exact = (
        sweep[name].transpose(*points, *dims, ...).values.reshape(shape)
        if name in sweep
        else np.full((*shape[:2], 1), np.nan)
        for name in ("evs", "stds", "exact")
    )
    # An extrapolation that was not fitted has an infinite error: it is not known.
    return _Values(evs, np.where(np.isfinite(stds), stds, np.nan), evs - exact)


def _qpu_s(sweep: xr.Dataset) -> tuple[Reals, str]:
    """Return the QPU time of each point, and what it is: charged, else predicted."""
    charged, engine = sweep["usage_s"].values.ravel(), sweep["engine"].values.ravel()
    if ((engine == "ibm") & (charged > 0)).all():
        return charged, "QPU time charged"
    return sweep["predicted_qpu_s"].values.ravel(), "QPU time predicted"


def _quality(of: _Values) -> tuple[float, float, float, float, int]:
    """Return bias, its error, rms error, rms standard error and number of values."""
    known = np.isfinite(of.errors)
    # Those of one PUB as if fully correlated.
    linear = np.where(known, of.stds, 0).sum(axis=-1)[known.any(axis=-1)]
    bias_std = np.sqrt(linear.size * _mean(linear**2)) / max(known.sum(), 1)
    number = int(np.isfinite(of.evs).sum())
    rms_error, rms_std = (float(np.sqrt(_mean(each**2))) for each in (of.errors, of.stds))
    return _mean(of.errors), bias_std, rms_error, rms_std, number


def _mean(values: Reals) -> float:
    return mean_and_error(values)[0]


def _paired(
    sweep: xr.Dataset, texts: Sequence[str], over: str, pairs: Iterable[tuple[str, str]]
) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers of the points that make the pairs of two variants, shape (2, pairs)."""
    columns = {"seed": sweep["seed"].values.ravel(), **swept_keys(sweep)}
    del columns[over]
    where = [label({key: each[k] for key, each in columns.items()}) for k in range(len(texts))]
    places = {place: k for k, place in enumerate(zip(texts, where, strict=True))}
    for a, b in pairs:
        both = [at for at in dict.fromkeys(where) if (a, at) in places and (b, at) in places]
        yield np.array([[places[name, at] for at in both] for name in (a, b)], np.int64)


def _pairs(paired: Iterable[NDArray[np.int64]], values: _Values) -> dict[str, Column]:
    """Return the columns by pair of variants, given the points that are compared for each."""
    found = [_difference(values.at(a), values.at(b)) for a, b in paired]
    means, stds, numbers, chi2, tests, p_values = zip(*found, strict=True) if found else [()] * 6
    adjusted = iter(holm([p for p in p_values if p is not None]))
    p_adjusted = [np.nan if p is None else next(adjusted) for p in p_values]
    return {
        **with_std("difference", "pair", means, stds, "difference of the mean absolute error"),
        "num_pairs": ("pair", np.array(numbers, int), "pairs of PUBs"),
        "test": ("pair", np.array([test or "" for test in tests], str), "paired test"),
        "p_value": ("pair", np.array(p_values, float), "p-value of the difference"),
        "p_adjusted": ("pair", p_adjusted, "p-value, corrected for the number of tests by Holm"),
        "mean_chi2": ("pair", chi2, "mean squared difference of values in standard errors"),
    }


def _difference(
    a: _Values, b: _Values
) -> tuple[float, float, int, float, TestName | None, float | None]:
    """Return the difference of B from A, its error, number of PUBs, mean chi2, test and p-value."""
    both = np.isfinite(a.errors) & np.isfinite(b.errors)
    used = both.any(axis=-1)

    def means(each: Reals) -> Reals:
        """Average over the values of each PUB."""
        averaged: Reals = np.where(both, each, 0).sum(axis=-1)[used] / both.sum(axis=-1)[used]
        return averaged

    differences = means(np.abs(b.errors) - np.abs(a.errors))
    errors = np.hypot(means(a.stds), means(b.stds))
    number = errors.size
    error = np.sqrt(_mean(errors**2) / max(number, 1))
    variance = a.stds**2 + b.stds**2
    chi2 = _mean((b.evs - a.evs)[variance > 0] ** 2 / variance[variance > 0])
    test = paired_test(differences.tolist(), errors.tolist())
    return _mean(differences), error, number, chi2, *test
