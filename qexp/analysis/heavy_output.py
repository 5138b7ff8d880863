"""Quantum volume: how often the outcomes are heavy, and whether often enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qexp.analysis.exact import MAX_QUBITS, ROUNDING, Distribution, NotExactError, distribution
from qexp.analysis.rows import (
    Counts,
    Place,
    Row,
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

THRESHOLD = 2 / 3
MIN_CIRCUITS = 100


def heavy_output(
    run: Archive,
    *,
    workload: str | None = None,
    max_qubits: Annotated[int, Field(gt=0, le=30)] = MAX_QUBITS,
) -> xr.Dataset:
    r"""Heavy-output probability of each circuit, and the test of the quantum volume.

    Source: Cross et al., Phys. Rev. A 100, 032328 (2019), arXiv:1811.12926, algorithm 1. An outcome
    is heavy if its ideal probability is above the median of all :math:`2^n`. With the mean h over
    :math:`n_c` circuits of the fraction of heavy shots, a width succeeds where

    .. math:: h - 2 \sqrt{h (1 - h) / n_c} > 2/3,

    which is a confidence of 97.7%; the protocol asks for at least 100 circuits. The quantum volume
    is :math:`2^n` for the largest width n that succeeds with circuits as deep as wide. Without
    noise h is about :math:`(1 + \ln 2)/2 = 0.85` for wide circuits; `heavy_output_ideal` is what it
    is for these.

    Args:
        run: The archive.
        workload: The Sampler workload; None for all of quantum volume circuits.
        max_qubits: Wider circuits cannot be compared.

    Returns:
        By `pub`: `heavy_output`, `heavy_output_std` (binomial), `heavy_output_ideal`. By `width`:
        `mean_heavy_output`, `mean_heavy_output_std` (the sigma above), `lower` (two sigma below the
        mean), `success`, `num_circuits`. Without dimension: `quantum_volume`, 0 where none is
        shown.

    Raises:
        AnalysisError: The run has no such workload, or a circuit cannot be simulated exactly.
    """
    found = [
        (row.place, *_of_circuit(row, max_qubits))
        for row in rows(run, suitable(run, workload, "sampler", "quantum_volume"))
        if row.result is not None
    ]
    return _dataset([place for place, *_ in found], np.array([values for _, *values in found]))


def heavy_fraction(counts: Counts, exact: Distribution) -> tuple[float, float]:
    """The fraction of heavy shots, and the ideal probability of heavy outcomes.

    Args:
        counts: Outcome -> number of shots.
        exact: The ideal distribution.
    """
    # A measured qubit without gates makes half of all outcomes impossible, and the others heavy.
    is_full = exact.num_measured == len(exact.bits)
    median = np.median(exact.probabilities) if is_full else ROUNDING
    heavy = np.flatnonzero(exact.probabilities > median)
    shots = sum(counts.values())
    hit = sum(counts.get(exact.outcome(index), 0) for index in heavy.tolist())
    return hit / shots, float(exact.probabilities[heavy].sum())


def _of_circuit(row: Row, max_qubits: int) -> tuple[float, float, int, int, bool]:
    """Fraction of heavy shots, its ideal value, shots, width, whether as deep as wide."""
    sampled = row.sampled()
    try:
        if len(sampled) != 1:
            raise NotExactError("it does not have one set of counts")
        circuit, counts = sampled[0]
        exact = distribution(circuit, max_qubits)
    except NotExactError as error:
        raise AnalysisError(
            f"PUB {row.index} of '{row.workload}' has no heavy outputs: {error}"
        ) from None
    fraction, perfect = heavy_fraction(counts, exact)
    width = exact.num_measured
    # What says nothing of its depth is left to whoever names the workload.
    is_square = row.metadata.get("depth", width) == width
    return fraction, perfect, sum(counts.values()), width, is_square


@dataclass(frozen=True)
class _Width:
    """The circuits of one width together."""

    width: int
    mean: float
    number: int
    is_square: bool

    @property
    def sigma(self) -> float:
        return float(np.sqrt(self.mean * (1 - self.mean) / self.number))

    @property
    def lower(self) -> float:
        return self.mean - 2 * self.sigma

    @property
    def success(self) -> bool:
        return self.lower > THRESHOLD

    def __str__(self) -> str:
        verdict = "two sigma above 2/3" if self.success else "two sigma not above 2/3"
        if self.success and not self.is_square:
            verdict += " (circuits are not as deep as wide)"
        elif self.success and self.number < MIN_CIRCUITS:
            verdict += f" (the protocol asks for {MIN_CIRCUITS})"
        return (
            f"{self.width} qubits: heavy-output probability {shown(self.mean, self.sigma)} "
            f"({self.number} circuits), {verdict}"
        )


def _dataset(places: list[Place], table: NDArray[np.float64]) -> xr.Dataset:
    import xarray as xr

    fraction, perfect, shots, widths, is_square = table.T
    found = [
        _Width(
            int(width),
            float(fraction[widths == width].mean()),
            int((widths == width).sum()),
            bool(is_square[widths == width].all()),
        )
        for width in np.unique(widths)
    ]
    shown_by = [
        each.width
        for each in found
        if each.success and each.is_square and each.number >= MIN_CIRCUITS
    ]
    volume = 2 ** max(shown_by) if shown_by else 0
    std = np.sqrt(fraction * (1 - fraction) / shots)
    variables = {
        "heavy_output": variable(fraction, "heavy-output probability"),
        "heavy_output_std": variable(std, "heavy-output probability, standard error"),
        "heavy_output_ideal": variable(perfect, "heavy-output probability without noise"),
        **_by_width(found),
        "quantum_volume": scalar(volume, "largest quantum volume that is shown, 0 for none"),
    }
    width = variable([each.width for each in found], "qubits of a circuit", dim="width")
    lines = [*map(str, found), *([f"quantum volume {volume}"] if volume else [])]
    attrs = {"title": "Heavy outputs", "summary": "; ".join(lines)}
    return xr.Dataset(variables, {**pub_coordinates(places), "width": width}, attrs)


def _by_width(found: list[_Width]) -> dict[str, xr.Variable]:
    columns = {
        "mean_heavy_output": ("mean", "heavy-output probability, mean over circuits"),
        "mean_heavy_output_std": ("sigma", "sigma of the mean, sqrt(h (1 - h) / circuits)"),
        "lower": ("lower", "two sigma below the mean"),
        "success": ("success", "whether that is above 2/3"),
        "num_circuits": ("number", "circuits"),
    }
    return {
        name: variable([getattr(each, source) for each in found], text, dim="width")
        for name, (source, text) in columns.items()
    }
