"""Which PUBs two runs have in common, whatever their index."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

from qexp.archive.pub_table import PubIdentity
from qexp.compare.model import WorkloadMatch

_PARTS = ("kind", "circuit", "parameters", "observables")


def match(workload: str, a: Sequence[PubIdentity], b: Sequence[PubIdentity]) -> WorkloadMatch:
    """Pair the PUBs that ask for the same: by index, then the others in order.

    A PUB that occurs several times is paired as often as both runs have it.
    """
    in_place = {k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x.question == y.question}
    left: dict[tuple[str, ...], deque[int]] = defaultdict(deque)
    for index, pub in enumerate(b):
        if index not in in_place:
            left[pub.question].append(index)
    pairs, only_a = [], []
    for index, pub in enumerate(a):
        if index in in_place:
            pairs.append((index, index))
        elif left[pub.question]:
            pairs.append((index, left[pub.question].popleft()))
        else:
            only_a.append(index)
    only_b = sorted(index for rest in left.values() for index in rest)
    return WorkloadMatch(
        workload=workload,
        num_a=len(a),
        num_b=len(b),
        pairs=tuple(pairs),
        only_a=tuple(only_a),
        only_b=tuple(only_b),
        other_isa=tuple(i for i, j in pairs if a[i].isa != b[j].isa),
        other_target=tuple(i for i, j in pairs if _target(a[i]) != _target(b[j])),
        reasons={k: _reasons(a[k], b[k]) for k in sorted({*only_a} & {*only_b})},
    )


def _target(pub: PubIdentity) -> tuple[int | None, float | None]:
    return pub.shots, pub.precision


def _reasons(a: PubIdentity, b: PubIdentity) -> tuple[str, ...]:
    parts = zip(_PARTS, a.question, b.question, strict=True)
    return tuple(name for name, of_a, of_b in parts if of_a != of_b)
