"""Sampled circuits against their exact distribution: Hellinger fidelity, TVD, cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qexp.analysis.dataset import (
    Column,
    Reals,
    dataset,
    format_value,
    mean_and_error,
    pub_coordinates,
    with_std,
)
from qexp.analysis.exact import MAX_QUBITS, Distribution, NotExactError, distribution
from qexp.analysis.pubs import MeasuredPub, read_pubs
from qexp.archive.read import Archive
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr

_MEASURES = {
    "hellinger_fidelity": "Hellinger fidelity to the ideal distribution",
    "tvd": "total variation distance from the ideal distribution",
    "xeb": "linear cross-entropy fidelity",
}
_NORMALISED = "linear cross-entropy fidelity, as a fraction of that of a perfect device"
_PERFECT = {
    "_perfect": "mean of a perfect device with these shots",
    "_perfect_std": "standard deviation of a perfect device",
}
_BLOCK = 2**20
"""Frequencies that are resampled at once."""


def ideal(
    run: Archive,
    *,
    workload: str | None = None,
    max_qubits: Annotated[int, Field(gt=0, le=30)] = MAX_QUBITS,
    resamples: Annotated[int, Field(ge=2, le=10_000)] = 100,
) -> xr.Dataset:
    r"""Compare the outcomes of each circuit with those of a perfect device.

    With the exact probabilities p and the observed frequencies f = counts / shots:

    - Hellinger fidelity :math:`(\sum_x \sqrt{p_x f_x})^2`, as `qiskit.quantum_info`;
    - total variation distance :math:`\frac12 \sum_x |p_x - f_x|` (Nielsen and Chuang, eq. 9.1);
    - linear cross-entropy fidelity :math:`2^n \sum_x p_x f_x - 1` of n measured qubits (Arute et
      al., Nature 574, 505 (2019), eq. 1), which is about 1 without noise only where p is of
      Porter-Thomas form; and `xeb_normalised`, the same divided by its value for f = p,
      :math:`2^n \sum_x p_x^2 - 1` (Liu et al., arXiv:2105.05232): 1 without noise, 0 for uniform
      outcomes, NaN where p itself is uniform. Its mean over circuits is the quotient of the means.

    Each has a standard error, `*_std`, from a bootstrap of the counts (B. Efron, Ann. Stat. 7, 1
    (1979)). With finite shots even a perfect device has a Hellinger fidelity below 1 and a distance
    above 0: `*_perfect` and `*_perfect_std` are the mean and the standard deviation for as many
    shots drawn from p itself. A circuit's draws depend on its place in the run only.

    Args:
        run: The archive.
        workload: The Sampler workload; None for all of them.
        max_qubits: Wider circuits are left out; a statevector takes 2^(n+4) bytes.
        resamples: Number of samples for the standard errors and for the perfect device.

    Returns:
        By `pub`: the measures, the mean over the parameter sets where a PUB has several; NaN where
        `reason` says why. Without dimension: their means over the PUBs, with standard errors of the
        mean from their scatter.

    Raises:
        AnalysisError: The run has no Sampler workload, or no circuit that can be simulated.
    """
    rows: list[dict[str, Any]] = []
    for number, pub in enumerate(read_pubs(run, workload, skip_missing=False)):
        rng = np.random.default_rng([number, resamples])
        row: dict[str, Any] = {"place": pub.place, "reason": ""}
        try:
            row |= _compare_pub(pub, max_qubits, resamples, rng)
        except NotExactError as error:
            row["reason"] = str(error)
        rows.append(row)
    reasons = [row["reason"] for row in rows]
    if all(reasons):
        listed = ", ".join(sorted(set(reasons)))
        raise AnalysisError(f"no circuit of the run can be compared: {listed}")
    return _dataset(rows, reasons)


def _compare_pub(
    pub: MeasuredPub, max_qubits: int, resamples: int, rng: np.random.Generator
) -> dict[str, float]:
    """Average the measures over the PUB's parameter sets; `*_std` are of that mean."""
    points = [
        compare(sample.counts, distribution(sample.circuit, max_qubits), resamples, rng)
        for sample in pub.samples()
    ]
    if not points:
        raise NotExactError("no result")
    means: dict[str, float] = {}
    for name in points[0]:
        values = np.array([point[name] for point in points])
        is_deviation = name.endswith("_std")
        means[name] = float(
            np.sqrt((values**2).sum()) / len(values) if is_deviation else values.mean()
        )
    # For a uniform distribution it is 0 but for rounding.
    scale = means["xeb_perfect"] if means["xeb_perfect"] > 1e-9 else np.nan
    means["xeb_normalised"] = means["xeb"] / scale
    means["xeb_normalised_std"] = means["xeb_std"] / scale
    return means


def compare(
    counts: Mapping[str, int],
    exact: Distribution,
    resamples: int = 0,
    rng: np.random.Generator | None = None,
) -> dict[str, float]:
    """Compare the counts of one circuit, by outcome, with their exact distribution.

    `resamples` is the number of bootstrap samples, and of samples of a perfect device.

    Returns:
        `hellinger_fidelity`, `tvd`, `xeb`, `num_qubits`, `shots`; with samples also `_std`,
        `_perfect` and `_perfect_std` of each measure.
    """
    probabilities = exact.as_dict()
    outcomes = [*probabilities, *(outcome for outcome in counts if outcome not in probabilities)]
    p = np.array([probabilities.get(outcome, 0.0) for outcome in outcomes])
    observed = np.array([counts.get(outcome, 0) for outcome in outcomes], dtype=np.int64)
    shots, dimension = int(observed.sum()), 2.0**exact.num_measured
    p /= p.sum()
    f = observed / shots
    values = {name: float(value[0]) for name, value in _measures(p, f[None], dimension).items()}
    if rng is not None and resamples:
        again = _resampled(p, f, shots, dimension, resamples, rng)
        perfect = _resampled(p, p, shots, dimension, resamples, rng)
        for name in _MEASURES:
            values[f"{name}_std"] = float(again[name].std(ddof=1))
            values[f"{name}_perfect"] = float(perfect[name].mean())
            values[f"{name}_perfect_std"] = float(perfect[name].std(ddof=1))
        # The exact mean, instead of that of the samples.
        values["xeb_perfect"] = dimension * float(p @ p) - 1
    return {**values, "num_qubits": exact.num_measured, "shots": shots}


def _resampled(
    p: Reals, source: Reals, shots: int, dimension: float, number: int, rng: np.random.Generator
) -> dict[str, Reals]:
    """Compute the measures of samples from `source`, in blocks that fit into memory."""
    size = max(1, _BLOCK // len(p))
    source = source / source.sum()
    blocks = [
        _measures(p, rng.multinomial(shots, source, min(size, number - done)) / shots, dimension)
        for done in range(0, number, size)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in _MEASURES}


def _measures(p: Reals, f: Reals, dimension: float) -> dict[str, Reals]:
    """Compute the measures of samples: `p` has shape `(outcomes,)`, `f` `(samples, outcomes)`."""
    return {
        "hellinger_fidelity": np.sqrt(f * p).sum(axis=1) ** 2,
        "tvd": 0.5 * np.abs(f - p).sum(axis=1),
        "xeb": dimension * (f @ p) - 1,
    }


def _dataset(rows: list[dict[str, Any]], reasons: list[str]) -> xr.Dataset:
    def column(name: str) -> Reals:
        return np.array([row.get(name, np.nan) for row in rows])

    def integers(name: str) -> NDArray[np.int64]:
        return np.nan_to_num(column(name)).astype(np.int64)

    table: dict[str, Column] = {}
    for name, text in _MEASURES.items():
        table |= with_std(name, "pub", column(name), column(f"{name}_std"), text)
        for ending, what in _PERFECT.items():
            table[name + ending] = ("pub", column(name + ending), f"{text}, {what}")
    ratio = "xeb_normalised"
    table |= with_std(ratio, "pub", column(ratio), column(f"{ratio}_std"), _NORMALISED)
    table["shots"] = ("pub", integers("shots"), "shots of a parameter set")
    table["num_qubits"] = ("pub", integers("num_qubits"), "qubits that are measured")
    table["reason"] = ("pub", reasons, "why there is no value")
    means = {name: mean_and_error(column(name)) for name in _MEASURES}
    means[ratio] = _normalised(column("xeb"), column("xeb_perfect"))
    for name, (mean, error) in means.items():
        text = _MEASURES.get(name, _NORMALISED)
        table |= with_std(f"mean_{name}", "", mean, error, f"{text}, mean over circuits")
    perfect = {name: float(np.nanmean(column(f"{name}_perfect"))) for name in _MEASURES}
    return dataset(
        "Outcomes against their ideal distribution",
        _summary(means, perfect, reasons),
        table,
        pub_coordinates([row["place"] for row in rows]),
    )


def _normalised(xeb: Reals, perfect: Reals) -> tuple[float, float]:
    """Divide the means over the circuits; the error is to first order.

    Source: Cochran, Sampling Techniques, section 6.4.
    """
    ratio = np.nansum(xeb) / np.nansum(perfect) if np.nansum(perfect) > 1e-9 else np.nan
    error = mean_and_error(xeb - ratio * perfect)[1] / np.nanmean(perfect)
    return float(ratio), float(error)


def _summary(
    means: Mapping[str, tuple[float, float]], perfect: Mapping[str, float], reasons: list[str]
) -> str:
    missing = [reason for reason in reasons if reason]
    number = len(reasons) - len(missing)
    circuits = "1 circuit" if number == 1 else f"mean of {number} circuits"
    left_out = f"; {len(missing)} left out ({', '.join(sorted(set(missing)))})" if missing else ""
    return (
        f"{circuits}: Hellinger fidelity {format_value(*means['hellinger_fidelity'])} (a "
        f"perfect device with these shots: {perfect['hellinger_fidelity']:.4f}), TVD "
        f"{format_value(*means['tvd'])} ({perfect['tvd']:.4f}), normalised linear XEB "
        f"{format_value(*means['xeb_normalised'])}{left_out}"
    )
