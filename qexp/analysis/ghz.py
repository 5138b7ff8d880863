"""GHZ states: bounds of the fidelity from the measured populations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qexp.analysis.dataset import Column, dataset, format_value, pub_coordinates, with_std
from qexp.analysis.pubs import MeasuredPub, measure_pubs, read_pubs
from qexp.archive.read import Archive
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr


def ghz(run: Archive, *, workload: str | None = None) -> xr.Dataset:
    r"""Bound the fidelity with (|0...0> + |1...1>)/sqrt(2) from the measured populations.

    With the populations P0 of all zeros and P1 of all ones, and the coherence
    :math:`\rho = \langle 0 \ldots 0 | \rho | 1 \ldots 1 \rangle` (Sackett et al., Nature 404, 256
    (2000); Leibfried et al., Nature 438, 639 (2005)):

    .. math:: F = (P_0 + P_1)/2 + \mathrm{Re}\, \rho .

    The circuits are measured in the Z basis only, which does not show :math:`\rho`. As a state is
    positive, :math:`|\rho| \le \sqrt{P_0 P_1}`, so that

    .. math:: (\sqrt{P_0} - \sqrt{P_1})^2 / 2 \le F \le (\sqrt{P_0} + \sqrt{P_1})^2 / 2 .

    That is all that can be said: a classical mixture of all zeros and all ones has the same
    populations and F = 1/2, so that the lower bound is near 0 for balanced populations, and no
    entanglement is shown, however large the upper bound. It takes a parity measurement for that.
    Populations are as measured, readout errors included.

    A bound B has the standard error :math:`\sqrt{B (1 - B) / N}` of N shots: to first order in the
    fluctuations of multinomial counts, it comes out the same as that of the population (where the
    lower bound is near 0, it understates the fluctuations).

    Args:
        run: The archive.
        workload: The Sampler workload; None for all of GHZ circuits.

    Returns:
        By `pub`, and pooled over the circuits of a width by `width` (`pooled_*`): `population`,
        `fidelity_upper`, `fidelity_lower`, with standard errors (`*_std`); by `pub` also
        `population_zeros`, `population_ones`.

    Raises:
        AnalysisError: The run has no such workload.
    """
    places, rows = measure_pubs(read_pubs(run, workload, "sampler", "ghz"), _populations)
    size, shots, zeros, ones = rows.T
    sizes = np.unique(size)
    by_width = _columns(
        np.array([rows[size == width].sum(axis=0) for width in sizes]),
        "width",
        "pooled_",
        ", circuits of a width pooled",
    )
    names = ("population", "population_std", "fidelity_upper", "fidelity_upper_std")
    values = zip(*(by_width[f"pooled_{name}"][1] for name in names), strict=True)
    lines = [
        f"{width} qubits: population {format_value(p, p_std)}, "
        f"fidelity at most {format_value(f, f_std)}"
        for width, (p, p_std, f, f_std) in zip(sizes, values, strict=True)
    ]
    return dataset(
        "GHZ states",
        "; ".join(lines) + " (populations alone show no entanglement)",
        {
            **_columns(rows, "pub"),
            **by_width,
            "population_zeros": ("pub", zeros / shots, "population of all zeros"),
            "population_ones": ("pub", ones / shots, "population of all ones"),
            "num_qubits": ("pub", size, "qubits of the state"),
            "shots": ("pub", shots, "shots"),
        },
        {**pub_coordinates(places), "width": ("width", sizes, "qubits of the state")},
    )


def fidelity_bounds(zeros: float, ones: float) -> tuple[float, float]:
    """Return the lower and the upper bound of the fidelity, from the populations."""
    low, high = np.sqrt(zeros) - np.sqrt(ones), np.sqrt(zeros) + np.sqrt(ones)
    return float(low**2 / 2), float(high**2 / 2)


def _populations(pub: MeasuredPub) -> tuple[int, int, int, int]:
    """Return the number of qubits, and the shots: all, all zeros, all ones."""
    sample = pub.only_sample()
    if sample is None:
        raise AnalysisError(f"PUB {pub.index} of '{pub.workload}' does not have one set of counts")
    counts = sample.counts
    size = len(next(iter(counts)))
    return size, sum(counts.values()), counts.get("0" * size, 0), counts.get("1" * size, 0)


def _columns(
    table: NDArray[np.int64], dim: str, prefix: str = "", scope: str = ""
) -> dict[str, Column]:
    """Return population and bounds with their standard errors, from a table of `_populations`."""
    _, shots, zeros, ones = table.T
    p0, p1 = zeros / shots, ones / shots
    lower, upper = np.array([fidelity_bounds(*pair) for pair in zip(p0, p1, strict=True)]).T
    columns: dict[str, Column] = {}
    for name, value, long_name in (
        ("population", p0 + p1, "population of all zeros and all ones together"),
        ("fidelity_upper", upper, "upper bound of the fidelity"),
        ("fidelity_lower", lower, "lower bound of the fidelity"),
    ):
        # Rounding may leave a bound a little above 1.
        std = np.sqrt(np.clip(value * (1 - value), 0, None) / shots)
        columns |= with_std(prefix + name, dim, value, std, long_name + scope)
    return columns
