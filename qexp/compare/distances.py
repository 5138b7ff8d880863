"""Distances of two distributions of outcomes, from arrays of counts or probabilities.

Both arrays have shape (outcomes,), with the same outcomes in the same order. Each is normalised by
its own sum, which is above 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def total_variation(a: NDArray[Any], b: NDArray[Any]) -> float:
    r"""Return the total variation distance, :math:`\frac12 \sum_x |p_x - q_x|`, between 0 and 1.

    Source: Nielsen and Chuang, Quantum Computation and Quantum Information, eq. 9.1.
    """
    return 0.5 * math.fsum(np.abs(a / a.sum() - b / b.sum()).tolist())


def hellinger_distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    r"""Return the Hellinger distance, :math:`\sqrt{1 - \sum_x \sqrt{p_x q_x}}`, between 0 and 1.

    Source: as `qiskit.quantum_info.hellinger_distance`.
    """
    overlap = math.fsum(np.sqrt(a / a.sum() * (b / b.sum())).tolist())
    # Rounding may leave the overlap of equal distributions a little above 1.
    return math.sqrt(max(0.0, 1.0 - overlap))
