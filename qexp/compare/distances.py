"""Distances of two distributions of outcomes. Both are mappings from outcome to weight.

Weights are counts or probabilities; each distribution is normalised by its own sum. An outcome that
is missing has weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TypeVar

Outcome = TypeVar("Outcome", bound=Hashable)


def total_variation(p: Mapping[Outcome, float], q: Mapping[Outcome, float]) -> float:
    r"""Total variation distance, :math:`\frac12 \sum_x |p_x - q_x|`, between 0 and 1.

    Source: Nielsen and Chuang, Quantum Computation and Quantum Information, eq. 9.1.

    Raises:
        ValueError: A distribution has no weight.
    """
    p, q = normalised(p), normalised(q)
    return 0.5 * math.fsum(abs(p.get(x, 0.0) - q.get(x, 0.0)) for x in p.keys() | q.keys())


def hellinger_fidelity(p: Mapping[Outcome, float], q: Mapping[Outcome, float]) -> float:
    r"""Hellinger fidelity, :math:`(\sum_x \sqrt{p_x q_x})^2`, between 0 and 1.

    As `qiskit.quantum_info.hellinger_fidelity`: :math:`(1 - H^2)^2` with the distance H below.

    Raises:
        ValueError: A distribution has no weight.
    """
    p, q = normalised(p), normalised(q)
    return math.fsum(math.sqrt(p[x] * q[x]) for x in p.keys() & q.keys()) ** 2


def hellinger_distance(p: Mapping[Outcome, float], q: Mapping[Outcome, float]) -> float:
    r"""Hellinger distance, :math:`\sqrt{1 - \sum_x \sqrt{p_x q_x}}`, between 0 and 1.

    Source: as `qiskit.quantum_info.hellinger_distance`.

    Raises:
        ValueError: A distribution has no weight.
    """
    # Rounding may leave the overlap of equal distributions a little above 1.
    return math.sqrt(max(0.0, 1.0 - math.sqrt(hellinger_fidelity(p, q))))


def normalised(weights: Mapping[Outcome, float]) -> dict[Outcome, float]:
    """The distribution with sum 1.

    Raises:
        ValueError: It has no weight.
    """
    total = math.fsum(weights.values())
    if not total > 0:
        raise ValueError(f"a distribution needs weights with a sum above 0, got {total}")
    return {x: weight / total for x, weight in weights.items()}
