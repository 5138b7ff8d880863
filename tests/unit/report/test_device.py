from __future__ import annotations

import numpy as np
import pytest

from qexp.report.device import Device, coupling_map, positions

H_SHAPE = [(0, 1), (1, 2), (1, 3), (3, 5), (4, 5), (5, 6)]
FALCON = [
    (0, 1), (1, 2), (1, 4), (2, 3), (3, 5), (4, 7), (5, 8), (6, 7), (7, 10), (8, 9), (8, 11),
    (10, 12), (11, 14), (12, 13), (12, 15), (13, 14), (14, 16), (15, 18), (16, 19), (17, 18),
    (18, 21), (19, 20), (19, 22), (21, 23), (22, 25), (23, 24), (24, 25), (25, 26),
]  # fmt: skip


def lengths(pairs: list[tuple[int, int]], places: np.ndarray) -> np.ndarray:
    return np.array([np.linalg.norm(places[a] - places[b]) for a, b in pairs])


def test_a_line_is_a_row():
    assert positions(3, [(0, 1), (1, 2)]).tolist() == [[0, 0], [1, 0], [2, 0]]


def test_a_square_lattice_is_drawn_as_a_grid():
    pairs = [(0, 1), (2, 3), (0, 2), (1, 3)]
    assert positions(4, pairs).tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]


def test_a_heavy_hexagonal_lattice_is_drawn_as_rows_and_bridges():
    from qiskit_ibm_runtime.fake_provider import FakeSherbrooke

    pairs = sorted({(min(p), max(p)) for p in FakeSherbrooke().coupling_map.get_edges()})
    places = positions(127, pairs)
    assert np.allclose(lengths(pairs, places), 1)
    assert len(np.unique(places, axis=0)) == 127
    assert places.max(axis=0).tolist() == [14, 12]


@pytest.mark.parametrize(
    ("count", "pairs"), [(7, H_SHAPE), (27, FALCON), (3, []), (1, []), (2, [(0, 1)])]
)
def test_any_other_graph_has_no_two_qubits_on_one_place(count: int, pairs: list[tuple[int, int]]):
    places = positions(count, pairs)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert (places.min(axis=0) == 0).all()
    gaps = np.linalg.norm(places[:, None] - places[None, :], axis=2) + np.eye(count)
    assert gaps.min() > 0.3
    if pairs:
        assert lengths(pairs, places).max() < 1.6


def test_the_coupling_map_marks_used_and_faulty_qubits():
    device = Device(
        3,
        {(0, 1), (1, 2)},
        {0: 0.01, 1: 0.1, 2: 1.0},
        gate={(0, 1): 0.02, (1, 2): 1.0},
        t1_s={0: 1e-5},
    )
    svg = coupling_map("m", device, {0, 1}, {(0, 1): 7}).to_html(str)
    assert svg.count('class="used-ring"') == 2
    assert 'class="qubit e0"' in svg
    assert 'class="qubit e8"' in svg
    assert 'class="qubit out"' in svg
    assert 'class="pair out"' in svg
    assert "0–1, gate error 2.00 %, used by 7 gates" in svg
    assert "qubit 0, readout error 1.00 %, T1 10.0 µs" in svg
