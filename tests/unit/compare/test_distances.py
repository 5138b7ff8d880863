from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.quantum_info import hellinger_distance as qiskit_distance
from qiskit.quantum_info import hellinger_fidelity as qiskit_fidelity

from qexp.compare.distances import hellinger_distance, hellinger_fidelity, total_variation

counts = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=1)


@given(counts, counts)
def test_as_qiskit(p: dict[str, int], q: dict[str, int]) -> None:
    assert hellinger_fidelity(p, q) == pytest.approx(qiskit_fidelity(p, q))
    assert hellinger_distance(p, q) == pytest.approx(qiskit_distance(p, q), abs=1e-7)


@given(counts, counts)
def test_metrics_and_their_inequality(p: dict[str, int], q: dict[str, int]) -> None:
    h, tv = hellinger_distance(p, q), total_variation(p, q)
    assert 0 <= tv <= 1 + 1e-12
    # Le Cam: H^2 <= TV <= sqrt(2) H
    assert h * h <= tv + 1e-9 <= 2**0.5 * h + 2e-7
    assert tv == pytest.approx(total_variation(q, p))


def test_known_values() -> None:
    assert total_variation({"0": 3, "1": 1}, {"0": 0.5, "1": 0.5}) == pytest.approx(0.25)
    assert total_variation({"0": 1}, {"1": 1}) == 1
    assert hellinger_fidelity({"0": 1}, {"1": 1}) == 0
    assert hellinger_distance({"0": 1}, {"0": 7}) == 0


def test_nothing_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="sum above 0"):
        total_variation({}, {"0": 1})
