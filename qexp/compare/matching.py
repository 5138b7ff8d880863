"""Find the PUBs that two runs have in common, whatever their index."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from qexp.archive.pubs import PubIdentity
from qexp.compare.model import PubComparison, WorkloadMatch

Identities: TypeAlias = Mapping[str, Sequence[PubIdentity]]
"""Workload -> identity of each of its PUBs."""

_PARTS = ("kind", "circuit", "parameters", "observables")


def match_pubs(workload: str, a: Sequence[PubIdentity], b: Sequence[PubIdentity]) -> WorkloadMatch:
    """Pair the PUBs that ask for the same: by index, then the others in order.

    A PUB that occurs several times is paired as often as both runs have it.

    Args:
        workload: Name of the workload.
        a: Its PUBs in the first run.
        b: Its PUBs in the second run.
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
        other_target=tuple(
            i for i, j in pairs if (a[i].shots, a[i].precision) != (b[j].shots, b[j].precision)
        ),
        reasons={
            k: tuple(
                part
                for part, of_a, of_b in zip(_PARTS, a[k].question, b[k].question, strict=True)
                if of_a != of_b
            )
            for k in sorted({*only_a} & {*only_b})
        },
    )


def common_results(
    matches: Sequence[WorkloadMatch], a: Identities, b: Identities
) -> list[PubComparison]:
    """Return the PUBs of which both runs have a result, their data not compared yet.

    Args:
        matches: Common PUBs of each workload, as `match_pubs` returns them.
        a: Identities of A's PUBs.
        b: Identities of B's PUBs.
    """
    return [
        PubComparison(name, i, j, x.kind, identical=x.result == y.result, same_isa=x.isa == y.isa)
        for match in matches
        for name in (match.workload,)
        for i, j in match.pairs
        for x, y in ((a[name][i], b[name][j]),)
        if x.result and y.result
    ]
