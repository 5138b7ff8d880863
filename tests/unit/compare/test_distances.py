from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.quantum_info import hellinger_distance as qiskit_distance

from qexp.compare.distances import hellinger_distance, total_variation

counts = st.lists(st.integers(0, 1000), min_size=6, max_size=6).filter(any)


@given(counts, counts)
def test_metrics_and_their_inequality(p: Sequence[int], q: Sequence[int]) -> None:
    a, b = np.array(p), np.array(q)
    h, tv = hellinger_distance(a, b), total_variation(a, b)
    assert h == pytest.approx(qiskit_distance(dict(enumerate(p)), dict(enumerate(q))), abs=1e-7)
    assert 0 <= tv <= 1 + 1e-12
    # Le Cam: H^2 <= TV <= sqrt(2) H
    assert h * h <= tv + 1e-9 <= 2**0.5 * h + 2e-7
    assert tv == pytest.approx(total_variation(b, a))


def test_known_values() -> None:
    zero, one = np.array([1, 0]), np.array([0, 1])
    assert total_variation(np.array([3, 1]), np.array([0.5, 0.5])) == pytest.approx(0.25)
    assert total_variation(zero, one) == 1
    assert hellinger_distance(zero, one) == 1
    assert hellinger_distance(zero, 7 * zero) == 0
