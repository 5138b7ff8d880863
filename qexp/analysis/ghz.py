"""GHZ states: what their populations say of the fidelity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qexp.analysis.rows import Place, Row, pub_coordinates, rows, suitable, variable
from qexp.archive.read import Archive
from qexp.errors import AnalysisError

if TYPE_CHECKING:
    import xarray as xr

_QUANTITIES = {
    "population": "population of all zeros and all ones together",
    "fidelity_upper": "upper bound of the fidelity",
    "fidelity_lower": "lower bound of the fidelity",
}


def ghz(run: Archive, *, workload: str | None = None) -> xr.Dataset:
    r"""Bounds of the fidelity with (|0...0> + |1...1>)/sqrt(2) from the measured populations.

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
    found = [
        (row.place, *_counted(row))
        for row in rows(run, suitable(run, workload, "sampler", "ghz"))
        if row.result is not None
    ]
    return _dataset([place for place, *_ in found], np.array([counted for _, *counted in found]))


def fidelity_bounds(zeros: float, ones: float) -> tuple[float, float]:
    """The lower and the upper bound of the fidelity, from the populations."""
    low, high = np.sqrt(zeros) - np.sqrt(ones), np.sqrt(zeros) + np.sqrt(ones)
    return float(low**2 / 2), float(high**2 / 2)


def _counted(row: Row) -> tuple[int, int, int, int]:
    """Qubits, shots, all zeros, all ones."""
    sampled = row.sampled()
    if len(sampled) != 1:
        raise AnalysisError(f"PUB {row.index} of '{row.workload}' does not have one set of counts")
    counts = sampled[0][1]
    size = len(next(iter(counts)))
    return size, sum(counts.values()), counts.get("0" * size, 0), counts.get("1" * size, 0)


def _dataset(places: list[Place], table: NDArray[np.int64]) -> xr.Dataset:
    import xarray as xr

    sizes = np.unique(table[:, 0])
    pooled = np.array([[size, *table[table[:, 0] == size, 1:].sum(axis=0)] for size in sizes])
    pub, by_size = _quantities(table), _quantities(pooled)
    variables = {name: variable(values, _text(name)) for name, values in pub.items()}
    for name, values in by_size.items():
        text = f"{_text(name)}, circuits of a width pooled"
        variables[f"pooled_{name}"] = variable(values, text, dim="width")
    shots = table[:, 1]
    variables |= {
        "population_zeros": variable(table[:, 2] / shots, "population of all zeros"),
        "population_ones": variable(table[:, 3] / shots, "population of all ones"),
        "num_qubits": variable(table[:, 0], "qubits of the state"),
        "shots": variable(shots, "shots"),
    }
    lines = [
        f"{size} qubits: population {by_size['population'][k]:.4f} ± "
        f"{by_size['population_std'][k]:.4f}, fidelity at most {by_size['fidelity_upper'][k]:.4f} "
        f"± {by_size['fidelity_upper_std'][k]:.4f}"
        for k, size in enumerate(sizes)
    ]
    attrs = {
        "title": "GHZ states",
        "summary": "; ".join(lines) + " (populations alone show no entanglement)",
    }
    coordinates = {"width": variable(sizes, "qubits of the state", dim="width")}
    return xr.Dataset(variables, pub_coordinates(places) | coordinates, attrs)


def _quantities(table: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    shots = table[:, 1]
    zeros, ones = table[:, 2] / shots, table[:, 3] / shots
    bounds = np.array([fidelity_bounds(*pair) for pair in zip(zeros, ones, strict=True)])
    values = {
        "population": zeros + ones,
        "fidelity_upper": bounds[:, 1],
        "fidelity_lower": bounds[:, 0],
    }
    errors = {
        # Rounding may leave a bound a little above 1.
        f"{name}_std": np.sqrt(np.clip(value * (1 - value), 0, None) / shots)
        for name, value in values.items()
    }
    return values | errors


def _text(name: str) -> str:
    text = _QUANTITIES[name.removesuffix("_std")]
    return f"{text}, standard error" if name.endswith("_std") else text
