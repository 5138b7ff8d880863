"""Sampled circuits against their exact distribution: Hellinger fidelity, TVD, cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qexp.analysis.exact import MAX_QUBITS, Distribution, NotExactError, distribution
from qexp.analysis.rows import (
    Counts,
    Place,
    Row,
    mean_and_error,
    pub_coordinates,
    rows,
    scalar,
    shown,
    suitable,
    variable,
)
from qexp.archive.read import Archive
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr

Reals = NDArray[np.float64]

_MEASURES = {
    "hellinger_fidelity": "Hellinger fidelity to the ideal distribution",
    "tvd": "total variation distance from the ideal distribution",
    "xeb": "linear cross-entropy fidelity",
}
_COLUMNS = {
    f"{name}{suffix}": text + what
    for name, text in _MEASURES.items()
    for suffix, what in (
        ("", ""),
        ("_std", ", standard error"),
        ("_perfect", ", mean of a perfect device with these shots"),
        ("_perfect_std", ", standard deviation of a perfect device"),
    )
} | {
    "xeb_normalised": "linear cross-entropy fidelity, as a fraction of that of a perfect device",
    "xeb_normalised_std": "linear cross-entropy fidelity as a fraction, standard error",
    "shots": "shots of a parameter set",
    "num_qubits": "qubits that are measured",
}
_BLOCK = 2**20
_NO_RESULT = "no result"


def ideal(
    run: Archive,
    *,
    workload: str | None = None,
    max_qubits: Annotated[int, Field(gt=0, le=30)] = MAX_QUBITS,
    resamples: Annotated[int, Field(ge=2, le=10_000)] = 100,
) -> xr.Dataset:
    r"""How close the outcomes of each circuit are to those of a perfect device.

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
    found = list(_evaluated(run, suitable(run, workload, "sampler"), max_qubits, resamples))
    if not any(values for _, values, _ in found):
        reasons = ", ".join(sorted({reason for _, _, reason in found}))
        raise AnalysisError(f"no circuit of the run can be compared: {reasons}")
    return _dataset(found)


_Found = tuple[Place, dict[str, float], str]
"""Workload and index of a PUB, its values, and why there are none."""


def _evaluated(
    run: Archive, workloads: tuple[str, ...], max_qubits: int, resamples: int
) -> Iterator[_Found]:
    for number, row in enumerate(rows(run, workloads)):
        rng = np.random.default_rng([number, resamples])
        values, reason = dict[str, float](), ""
        try:
            values = _of_pub(row, max_qubits, resamples, rng)
        except NotExactError as error:
            reason = str(error)
        yield row.place, values, reason


def _of_pub(
    row: Row, max_qubits: int, resamples: int, rng: np.random.Generator
) -> dict[str, float]:
    """The mean over the PUB's parameter sets; standard deviations of that mean."""
    points = [
        compare(counts, distribution(circuit, max_qubits), resamples, rng)
        for circuit, counts in row.sampled()
    ]
    if not points:
        raise NotExactError(_NO_RESULT)
    found: dict[str, float] = {}
    for name in points[0]:
        values = np.array([point[name] for point in points])
        is_deviation = name.endswith("_std")
        found[name] = float(
            np.sqrt((values**2).sum()) / len(values) if is_deviation else values.mean()
        )
    # Rounding leaves a little of a uniform distribution.
    scale = found["xeb_perfect"] if found["xeb_perfect"] > 1e-9 else np.nan
    found["xeb_normalised"] = found["xeb"] / scale
    found["xeb_normalised_std"] = found["xeb_std"] / scale
    return found


def compare(
    counts: Counts, exact: Distribution, resamples: int, rng: np.random.Generator
) -> dict[str, float]:
    """The measures of one circuit, with `_std`, `_perfect` and `_perfect_std` of each.

    Args:
        counts: Outcome -> number of shots.
        exact: The ideal distribution.
        resamples: Number of bootstrap samples, and of samples of a perfect device.
        rng: Draws them.
    """
    probabilities = exact.as_dict()
    outcomes = [*probabilities, *(outcome for outcome in counts if outcome not in probabilities)]
    p = np.array([probabilities.get(outcome, 0.0) for outcome in outcomes])
    observed = np.array([counts.get(outcome, 0) for outcome in outcomes], dtype=np.int64)
    shots, dimension = int(observed.sum()), 2.0**exact.num_measured
    p /= p.sum()
    found = {
        name: float(value[0])
        for name, value in _measures(p, observed[None] / shots, dimension).items()
    }
    again = _resampled(p, observed / shots, shots, dimension, resamples, rng)
    perfect = _resampled(p, p, shots, dimension, resamples, rng)
    for name in again:
        found[f"{name}_std"] = float(again[name].std(ddof=1))
        found[f"{name}_perfect"] = float(perfect[name].mean())
        found[f"{name}_perfect_std"] = float(perfect[name].std(ddof=1))
    # Its mean needs no samples.
    found["xeb_perfect"] = dimension * float(p @ p) - 1
    return {**found, "num_qubits": exact.num_measured, "shots": shots}


def _resampled(
    p: Reals, source: Reals, shots: int, dimension: float, number: int, rng: np.random.Generator
) -> dict[str, Reals]:
    """The measures of samples from `source`, in blocks so that wide circuits fit into memory."""
    size = max(1, _BLOCK // len(p))
    source = source / source.sum()
    blocks = [
        _measures(p, rng.multinomial(shots, source, min(size, number - done)) / shots, dimension)
        for done in range(0, number, size)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in _MEASURES}


def _measures(p: Reals, f: Reals, dimension: float) -> dict[str, Reals]:
    """The measures of several samples: `p` has shape `(outcomes,)`, `f` `(samples, outcomes)`."""
    return {
        "hellinger_fidelity": np.sqrt(f * p).sum(axis=1) ** 2,
        "tvd": 0.5 * np.abs(f - p).sum(axis=1),
        "xeb": dimension * (f @ p) - 1,
    }


def _dataset(found: list[_Found]) -> xr.Dataset:
    import xarray as xr

    table = {name: np.array([v.get(name, np.nan) for _, v, _ in found]) for name in _COLUMNS}
    for name in ("shots", "num_qubits"):
        table[name] = np.nan_to_num(table[name]).astype(np.int64)
    variables = {name: variable(table[name], text) for name, text in _COLUMNS.items()}
    variables["reason"] = variable([reason for _, _, reason in found], "why there is no value")
    means = _means(table)
    for name, (mean, error) in means.items():
        text = _COLUMNS[name]
        variables[f"mean_{name}"] = scalar(mean, f"{text}, mean over circuits")
        variables[f"mean_{name}_std"] = scalar(error, f"{text}, standard error of the mean")
    attrs = {
        "title": "Outcomes against their ideal distribution",
        "summary": _summary(table, means, [reason for _, _, reason in found if reason]),
    }
    return xr.Dataset(variables, pub_coordinates([place for place, _, _ in found]), attrs)


def _means(table: dict[str, Reals]) -> dict[str, tuple[float, float]]:
    """Means over the circuits, and their standard errors from the scatter."""
    means = {name: mean_and_error(table[name]) for name in _MEASURES}
    xeb, scale = table["xeb"], table["xeb_perfect"]
    ratio = np.nansum(xeb) / np.nansum(scale) if np.nansum(scale) > 1e-9 else np.nan
    # Of a quotient of means, to first order (Cochran, Sampling Techniques, section 6.4).
    error = mean_and_error(xeb - ratio * scale)[1] / np.nanmean(scale)
    means["xeb_normalised"] = (float(ratio), float(error))
    return means


def _summary(
    table: dict[str, Reals], means: dict[str, tuple[float, float]], reasons: list[str]
) -> str:
    perfect = {name: np.nanmean(table[f"{name}_perfect"]) for name in _MEASURES}
    number = len(table["xeb"]) - len(reasons)
    left_out = f"; {len(reasons)} left out ({', '.join(sorted(set(reasons)))})" if reasons else ""
    circuits = "1 circuit" if number == 1 else f"mean of {number} circuits"
    return (
        f"{circuits}: Hellinger fidelity {shown(*means['hellinger_fidelity'])} (a "
        f"perfect device with these shots: {perfect['hellinger_fidelity']:.4f}), TVD "
        f"{shown(*means['tvd'])} ({perfect['tvd']:.4f}), normalised linear XEB "
        f"{shown(*means['xeb_normalised'])}{left_out}"
    )
