"""Quantum volume: the heavy-output probability and its test."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from qexp.analysis.dataset import dataset, format_value, pub_coordinates, with_std
from qexp.analysis.exact import MAX_QUBITS, ROUNDING, Distribution, NotExactError, distribution
from qexp.analysis.pubs import MeasuredPub, measure_pubs, read_pubs
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
    r"""Compute the heavy-output probability of each circuit, and test the quantum volume.

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
    pubs = read_pubs(run, workload, "sampler", "quantum_volume")
    places, rows = measure_pubs(pubs, partial(_measure, max_qubits=max_qubits))
    fraction, perfect, shots, width, square = rows.T
    widths, numbers = np.unique(width, return_counts=True)
    mean = np.array([fraction[width == each].mean() for each in widths])
    is_square = np.array([square[width == each].all() for each in widths])
    sigma = np.sqrt(mean * (1 - mean) / numbers)
    lower = mean - 2 * sigma
    success = lower > THRESHOLD
    passed = widths[success & is_square & (numbers >= MIN_CIRCUITS)]
    volume = 2 ** int(passed.max()) if passed.size else 0
    std = np.sqrt(fraction * (1 - fraction) / shots)
    lines = [*map(_verdict, widths, mean, sigma, numbers, success, is_square)]
    return dataset(
        "Heavy outputs",
        "; ".join([*lines, *([f"quantum volume {volume}"] if volume else [])]),
        {
            **with_std("heavy_output", "pub", fraction, std, "heavy-output probability"),
            "heavy_output_ideal": ("pub", perfect, "heavy-output probability without noise"),
            **with_std("mean_heavy_output", "width", mean, sigma, "mean heavy-output probability"),
            "lower": ("width", lower, "two sigma below the mean"),
            "success": ("width", success, "true if that is above 2/3"),
            "num_circuits": ("width", numbers, "circuits"),
            "quantum_volume": ("", volume, "largest quantum volume that is shown, 0 for none"),
        },
        {**pub_coordinates(places), "width": ("width", widths.astype(int), "qubits of a circuit")},
    )


def heavy_fraction(counts: dict[str, int], exact: Distribution) -> tuple[float, float]:
    """Return the fraction of heavy shots, and the ideal probability of heavy outcomes."""
    # A measured qubit without gates makes half of all outcomes impossible, and the others heavy.
    is_full = exact.num_measured == len(exact.bits)
    median = np.median(exact.probabilities) if is_full else ROUNDING
    heavy = np.flatnonzero(exact.probabilities > median)
    shots = sum(counts.values())
    hit = sum(counts.get(exact.outcome(index), 0) for index in heavy.tolist())
    return hit / shots, float(exact.probabilities[heavy].sum())


def _measure(pub: MeasuredPub, max_qubits: int) -> tuple[float, float, int, int, bool]:
    """Return the fraction of heavy shots, its ideal value, shots, width, and if it is square."""
    sample = pub.only_sample()
    try:
        if sample is None:
            raise NotExactError("it does not have one set of counts")
        exact = distribution(sample.circuit, max_qubits)
    except NotExactError as error:
        raise AnalysisError(
            f"PUB {pub.index} of '{pub.workload}' has no heavy outputs: {error}"
        ) from None
    fraction, perfect = heavy_fraction(sample.counts, exact)
    width = exact.num_measured
    # Without a depth in its metadata, the user who named the workload vouches for the circuit.
    is_square = pub.metadata.get("depth", width) == width
    return fraction, perfect, sum(sample.counts.values()), width, is_square


def _verdict(
    width: float, mean: float, sigma: float, number: int, success: bool, is_square: bool
) -> str:
    verdict = "two sigma above 2/3" if success else "two sigma not above 2/3"
    if success and not is_square:
        verdict += " (circuits are not as deep as wide)"
    elif success and number < MIN_CIRCUITS:
        verdict += f" (the protocol asks for {MIN_CIRCUITS})"
    return (
        f"{width:.0f} qubits: heavy-output probability {format_value(mean, sigma)} "
        f"({number} circuits), {verdict}"
    )
