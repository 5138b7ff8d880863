"""Compare the data of two runs, PUB by PUB and as a whole: do they differ more than by chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qexp.archive.read import Archive
from qexp.compare.homogeneity import (
    TestResult,
    aligned_counts,
    expectations,
    expected_total_variation,
    hellinger_distance,
    jointly,
    sampled,
    total_variation,
)
from qexp.compare.model import DataComparison, PubComparison, Verdict

if TYPE_CHECKING:
    from qiskit.primitives import PubResult

_Data = Mapping[str, Any]


def compare_data(
    a: Archive,
    b: Archive,
    common: Sequence[PubComparison],
    num_results: tuple[int, int],
    alpha: float,
) -> DataComparison:
    """Compare the results of the PUBs of which both runs have one; read none if all are identical.

    `num_results` are the numbers of PUBs with a result in A and in B.
    """
    num_identical = sum(pub.identical for pub in common)
    pubs: list[PubComparison] = []
    if num_identical < len(common):
        results_a, results_b = a.results, b.results
        pubs = [
            compare_pub(pub, results_a[pub.workload][pub.a], results_b[pub.workload][pub.b])
            for pub in common
        ]
    tests = [TestResult(p.chi2, p.dof, p.p_value) for p in pubs if p.p_value is not None]
    p_value, p_adjusted = jointly(tests)
    adjusted = iter(p_adjusted)
    pubs = [p if p.p_value is None else replace(p, p_adjusted=next(adjusted)) for p in pubs]
    verdict: Verdict = "compatible"
    if not pubs:
        verdict = "identical" if common else "untested"
    elif tests and p_value <= alpha:
        verdict = "different"
    elif any(pub.problem and not pub.identical for pub in pubs):
        verdict = "untested"
    return DataComparison(
        verdict=verdict,
        alpha=alpha,
        p_value=p_value if tests else None,
        num_common=len(common),
        num_identical=num_identical,
        num_tested=len(tests),
        is_whole=num_results == (len(common), len(common)),
        same_digest=all(num_results) and a.data_sha256 == b.data_sha256,
        pubs=tuple(pubs),
    )


def compare_pub(pub: PubComparison, a: PubResult, b: PubResult) -> PubComparison:
    """Compare the results of a PUB in the first and in the second run."""
    data_a, data_b = dict(a.data.items()), dict(b.data.items())
    if _is_estimated(data_a) and _is_estimated(data_b):
        # Other fields come and go with versions and options; these two are what is tested.
        data_a, data_b = ({name: x[name] for name in ("evs", "stds")} for x in (data_a, data_b))
    if _shapes(data_a) != _shapes(data_b):
        return replace(pub, problem="other registers or shapes")
    if data_a and all(map(_is_bits, data_a.values())):
        return _compare_counts(pub, data_a, data_b)
    if _is_estimated(data_a):
        return _compare_expectations(pub, data_a, data_b)
    return replace(pub, problem="neither counts nor expectation values")


def _compare_counts(pub: PubComparison, a: _Data, b: _Data) -> PubComparison:
    """Compare the counts of all registers together, at each point."""
    packed_a, packed_b = _packed(a), _packed(b)
    if not len(packed_a) or 0 in (packed_a.shape[1], packed_b.shape[1]):
        return replace(pub, problem="no shots")
    pairs = list(zip(packed_a, packed_b, strict=True))
    counts = [aligned_counts(x, y) for x, y in pairs]
    test = sampled(counts, lambda: [(_unpacked(x), _unpacked(y)) for x, y in pairs])
    distances = [total_variation(*pair) for pair in counts]
    farthest = int(np.argmax(distances))
    return replace(
        pub,
        num_points=len(counts),
        total_variation=distances[farthest],
        expected_total_variation=expected_total_variation(*counts[farthest]),
        hellinger=max(hellinger_distance(*pair) for pair in counts),
        **vars(test),
    )


def _compare_expectations(pub: PubComparison, a: _Data, b: _Data) -> PubComparison:
    values_a, values_b = (np.array([x["evs"], x["stds"]], float) for x in (a, b))
    finite = np.isfinite([values_a, values_b]).all(axis=(0, 1))
    if not finite.any():
        return replace(pub, problem="no finite evs with finite stds")
    if not np.array_equal(values_a[:, ~finite], values_b[:, ~finite], equal_nan=True):
        return replace(pub, problem="evs or stds that are not finite, and not the same in both")
    test, max_z = expectations(*values_a, *values_b)
    return replace(
        pub,
        num_points=int(finite.sum()),
        max_difference=float(np.abs(values_a[0, finite] - values_b[0, finite]).max()),
        max_z=max_z,
        **vars(test),
    )


def _unpacked(packed: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.unpackbits(packed, axis=-1).astype(bool)


def _packed(data: _Data) -> NDArray[np.uint8]:
    """Return the bits of all registers, unused ones 0: shape (points, shots, bytes)."""
    parts = []
    for name in sorted(data):
        bits = data[name]
        array = np.array(bits.array, dtype=np.uint8)
        if array.shape[-1]:
            array[..., 0] &= 0xFF >> (-bits.num_bits % 8)
        parts.append(array.reshape(-1, *array.shape[-2:]))
    return np.concatenate(parts, axis=-1)


def _is_estimated(data: _Data) -> bool:
    if not {"evs", "stds"} <= data.keys() or any(map(_is_bits, data.values())):
        return False
    evs, stds = np.asarray(data["evs"]), np.asarray(data["stds"])
    return evs.shape == stds.shape and evs.dtype.kind == stds.dtype.kind == "f"


def _is_bits(value: Any) -> bool:
    return hasattr(value, "num_bits") and hasattr(value, "array")


def _shapes(data: _Data) -> dict[str, Any]:
    """Return the shapes that must be equal: of a register its bits, and its shape without shots."""
    return {
        name: (value.num_bits, value.array.shape[:-2]) if _is_bits(value) else np.shape(value)
        for name, value in data.items()
    }
