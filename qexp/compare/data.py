"""Whether the data of two runs differ more than by chance, PUB by PUB and as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.pub_table import PubIdentity
from qexp.archive.read import Archive
from qexp.compare.distances import hellinger_distance, total_variation
from qexp.compare.homogeneity import (
    TestResult,
    aligned_counts,
    expectations,
    expected_total_variation,
    jointly,
    sampled,
)
from qexp.compare.model import DataComparison, PubComparison, Verdict, WorkloadMatch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.primitives import PubResult

Identities = Mapping[str, Sequence[PubIdentity]]


def compare_data(
    a: Archive,
    b: Archive,
    matches: Sequence[WorkloadMatch],
    of_a: Identities,
    of_b: Identities,
    alpha: float,
) -> DataComparison:
    """Compare the results of the PUBs that both runs have.

    Nothing is read where all of them have the same digest.

    Args:
        a: The first run.
        b: The second run.
        matches: Which PUBs are the same, for each workload.
        of_a: Identities of A's PUBs by workload.
        of_b: Identities of B's PUBs by workload.
        alpha: Level of the verdict, between 0 and 1.

    Raises:
        ArchiveError: A result cannot be read.
    """
    common = [
        PubComparison(name, i, j, x.kind, identical=x.result == y.result, same_isa=x.isa == y.isa)
        for match in matches
        for name in (match.workload,)
        for i, j in match.pairs
        for x, y in ((of_a[name][i], of_b[name][j]),)
        if x.result and y.result
    ]
    results = [sum(bool(p.result) for pubs in of.values() for p in pubs) for of in (of_a, of_b)]
    found = DataComparison(
        verdict="untested",
        alpha=alpha,
        p_value=None,
        num_common=len(common),
        num_identical=sum(pub.identical for pub in common),
        num_tested=0,
        is_whole=results == [len(common)] * 2,
        same_digest=bool(all(results)) and a.data_sha256 == b.data_sha256,
    )
    if found.num_identical == len(common):
        return replace(found, verdict="identical" if common else "untested")
    readers = {
        match.workload: (a.results[match.workload], b.results[match.workload]) for match in matches
    }
    pubs = []
    for pub in common:
        read_a, read_b = readers[pub.workload]
        pubs.append(compare_pub(pub, read_a[pub.a], read_b[pub.b]))
    return _judged(found, pubs)


def _judged(found: DataComparison, pubs: Sequence[PubComparison]) -> DataComparison:
    tested = [pub for pub in pubs if pub.p_value is not None]
    joint = jointly([TestResult(p.chi2, p.dof, p.p_value) for p in tested if p.p_value is not None])
    adjusted = iter(joint.p_adjusted)
    told = tuple(p if p.p_value is None else replace(p, p_adjusted=next(adjusted)) for p in pubs)
    verdict: Verdict = "compatible"
    if tested and joint.p_value <= found.alpha:
        verdict = "different"
    elif any(pub.problem and not pub.identical for pub in pubs):
        verdict = "untested"
    return replace(
        found,
        verdict=verdict,
        p_value=joint.p_value if tested else None,
        num_tested=len(tested),
        pubs=told,
    )


def compare_pub(pub: PubComparison, a: PubResult, b: PubResult) -> PubComparison:
    """Compare the results of one PUB.

    Args:
        pub: Which it is.
        a: Its result in the first run.
        b: Its result in the second run.
    """
    data_a, data_b = dict(a.data.items()), dict(b.data.items())
    if all(_is_estimated(data) for data in (data_a, data_b)):
        # Other fields come and go with versions and options; these two are what is tested.
        data_a, data_b = ({name: x[name] for name in ("evs", "stds")} for x in (data_a, data_b))
    if _shapes(data_a) != _shapes(data_b):
        return replace(pub, problem="other registers or shapes")
    if data_a and all(_is_bits(value) for value in data_a.values()):
        return _compare_counts(pub, data_a, data_b)
    if _is_estimated(data_a):
        return _compare_expectations(pub, data_a, data_b)
    return replace(pub, problem="neither counts nor expectation values")


def _compare_counts(
    pub: PubComparison, a: Mapping[str, Any], b: Mapping[str, Any]
) -> PubComparison:
    """All registers together, at each point."""
    packed_a, packed_b = _packed(a), _packed(b)
    if not len(packed_a) or 0 in (packed_a.shape[1], packed_b.shape[1]):
        return replace(pub, problem="no shots")
    pairs = list(zip(packed_a, packed_b, strict=True))
    counts = [aligned_counts(x, y) for x, y in pairs]
    test = sampled(counts, lambda: [(_unpacked(x), _unpacked(y)) for x, y in pairs])
    weights = [tuple(dict(enumerate(c.tolist())) for c in pair) for pair in counts]
    distances = [total_variation(p, q) for p, q in weights]
    farthest = int(np.argmax(distances))
    return replace(
        pub,
        num_points=len(counts),
        total_variation=distances[farthest],
        expected_total_variation=expected_total_variation(*counts[farthest]),
        hellinger=max(hellinger_distance(p, q) for p, q in weights),
        chi2=test.chi2,
        dof=test.dof,
        p_value=test.p_value,
    )


def _compare_expectations(
    pub: PubComparison, a: Mapping[str, Any], b: Mapping[str, Any]
) -> PubComparison:
    of_a, of_b = (np.array([x["evs"], x["stds"]], float) for x in (a, b))
    finite = np.isfinite([of_a, of_b]).all(axis=(0, 1))
    if not finite.any():
        return replace(pub, problem="no finite evs with finite stds")
    if not np.array_equal(of_a[:, ~finite], of_b[:, ~finite], equal_nan=True):
        return replace(pub, problem="evs or stds that are not finite, and not the same in both")
    test, max_z = expectations(*of_a, *of_b)
    return replace(
        pub,
        num_points=int(finite.sum()),
        max_difference=float(np.abs(of_a[0, finite] - of_b[0, finite]).max()),
        max_z=max_z,
        chi2=test.chi2,
        dof=test.dof,
        p_value=test.p_value,
    )


def _unpacked(packed: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.unpackbits(packed, axis=-1).astype(bool)


def _packed(data: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The bits of all registers, unused ones 0: shape (points, shots, bytes)."""
    parts = []
    for name in sorted(data):
        bits = data[name]
        array = np.array(bits.array, dtype=np.uint8)
        if array.shape[-1]:
            array[..., 0] &= 0xFF >> (-bits.num_bits % 8)
        parts.append(array.reshape(-1, *array.shape[-2:]))
    return np.concatenate(parts, axis=-1)


def _is_estimated(data: Mapping[str, Any]) -> bool:
    if not {"evs", "stds"} <= data.keys() or any(map(_is_bits, data.values())):
        return False
    evs, stds = np.asarray(data["evs"]), np.asarray(data["stds"])
    return evs.shape == stds.shape and evs.dtype.kind == stds.dtype.kind == "f"


def _is_bits(value: Any) -> bool:
    return hasattr(value, "num_bits") and hasattr(value, "array")


def _shapes(data: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be equal: number of bits and shape without the shots; or the shape."""
    return {
        name: (value.num_bits, value.array.shape[:-2]) if _is_bits(value) else np.shape(value)
        for name, value in data.items()
    }
