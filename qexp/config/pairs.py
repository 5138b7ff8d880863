"""Seeds of a sweep's points: those that differ in no circuit are pairs, with the same circuits.

The seed of a point is derived from the swept values that decide its circuits. Its shot noise is its
own: where points share a seed, each gets a seed of its own for simulation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from qexp.config.overrides import key_of, override
from qexp.config.schema import RootNode
from qexp.core.seeds import sweep_point_seed

CircuitsOf: TypeAlias = Callable[[list[str]], str | None]
"""Digest of the circuits that overrides declare; None if they are not valid."""

_NUM_TRIED: Final = 8
"""Points in which the values of a key are exchanged; each is composed once more."""


@dataclass(frozen=True)
class SweptPoint:
    """A valid point, before its seeds are derived."""

    overrides: list[str]  # all of its overrides
    draws: Mapping[str, str]  # swept key -> its override in this point, without added `++`
    circuits: str  # digest of its resolved nodes that declare circuits
    rule: Literal["derived", "shared", "independent"]  # the declared `sweep.seed`
    seed: int  # the declared seed
    simulation_seed: int | None  # the declared seed of simulation

    @classmethod
    def of(cls, overrides: list[str], swept: Iterable[str], root: RootNode) -> SweptPoint:
        """Make a point from its overrides, the swept keys and its validated config."""
        texts = {key_of(item): item.lstrip("+") for item in overrides}
        return cls(
            overrides=overrides,
            draws={key: texts[key] for key in swept},
            circuits=circuits_digest(root),
            rule=root.sweep.seed,
            seed=root.seed,
            simulation_seed=root.simulation_seed,
        )


_Mixed: TypeAlias = Callable[[SweptPoint, SweptPoint, Collection[str]], str | None]
"""Digest of the circuits of a point with another's values of some keys."""


def circuits_digest(root: RootNode) -> str:
    """Return the digest of the nodes of a validated config that declare circuits."""
    nodes = {name: node.circuits for name, node in root.workloads.items()}
    return hashlib.sha256(repr((root.circuits, nodes)).encode()).hexdigest()


def circuit_keys(points: Sequence[SweptPoint], circuits_of: CircuitsOf) -> tuple[str, ...]:
    """Return the swept keys that decide circuits.

    Such a key is `seed`, a key of a `circuits` node, or any whose values alone change one. On a
    grid, the points themselves tell. Keys that are walked together or sampled never differ alone,
    so a few points are composed with the value that another point has for this key.
    """
    known = {frozenset(point.draws.values()): point.circuits for point in points}

    def circuits(point: SweptPoint, other: SweptPoint, keys: Collection[str]) -> str | None:
        mixed = {key: (other if key in keys else point).draws[key] for key in point.draws}
        combination = frozenset(mixed.values())
        if combination in known:
            return known[combination]
        theirs = {key_of(item): item for item in other.overrides if key_of(item) in keys}
        return circuits_of([theirs.get(key_of(item), item) for item in point.overrides])

    keys = tuple(dict.fromkeys(key for point in points for key in point.draws))
    found = {*named_circuit_keys(keys)}
    found |= {key for key in keys if key not in found and _changes_alone(key, points, circuits)}
    # Nothing swept explains circuits that an interpolation makes anew each time.
    while (pair := _unexplained(points, found)) and (more := _changing(*pair, circuits)):
        found |= more
    return tuple(key for key in keys if key in found)


def named_circuit_keys(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the keys that decide circuits whatever their values are, by their names."""

    def is_one(key: str) -> bool:
        parts = key.replace("@", ".").split(".")
        return (
            key == "seed" or parts[0] == "circuits" or parts[::2][:2] == ["workloads", "circuits"]
        )

    return tuple(filter(is_one, keys))


def _changes_alone(key: str, points: Sequence[SweptPoint], circuits: _Mixed) -> bool:
    """Return True if this key changes the circuits of one of a few points that are tried."""
    tried = points[:: max(1, len(points) // _NUM_TRIED)]
    for number, point in enumerate(tried):
        following = (*tried[number + 1 :], *tried[:number])
        other = next((one for one in following if one.draws[key] != point.draws[key]), None)
        if other is not None and circuits(point, other, {key}) not in (point.circuits, None):
            return True
    return False


def _unexplained(
    points: Iterable[SweptPoint], found: Collection[str]
) -> tuple[SweptPoint, SweptPoint] | None:
    """Return two points that have other circuits, but the same values of the keys found so far."""
    seen: dict[tuple[str, ...], SweptPoint] = {}
    for point in points:
        values = tuple(text for key, text in point.draws.items() if key in found)
        like = seen.setdefault(values, point)
        if like.circuits != point.circuits:
            return like, point
    return None


def _changing(point: SweptPoint, other: SweptPoint, circuits: _Mixed) -> set[str]:
    """Return keys that change circuits on a way from one point to another, one key at a time."""
    found: set[str] = set()
    before: str | None = point.circuits
    taken, suspects = set[str](), set[str]()
    for key in (key for key in point.draws if point.draws[key] != other.draws[key]):
        taken.add(key)
        suspects.add(key)
        after = circuits(point, other, taken)
        # Between two that are valid, any of the keys may be the one.
        if after is not None:
            found |= suspects if after != before else set()
            before, suspects = after, set()
    return found


def with_seeds(point: SweptPoint, decide_circuits: Collection[str]) -> list[str]:
    """Return the overrides of a point with its seeds, which repeat it alone; see `circuit_keys`."""
    if not point.draws:
        return point.overrides
    keys = {"derived": decide_circuits, "shared": (), "independent": point.draws}[point.rule]
    deciding = {key: text for key, text in point.draws.items() if key in keys or key == "seed"}
    derived: dict[str, str] = {}
    filled_in = {"sweep.circuits_by": list(deciding), "sweep.keys": list(point.draws)}
    if "seed" in point.draws:
        deciding = {"seed": point.draws["seed"]}
    elif deciding:
        derived["seed"] = f"seed={sweep_point_seed(point.seed, deciding.values())}"
    is_shared = len(deciding) < len(point.draws) or point.simulation_seed is not None
    if is_shared and "simulation_seed" not in point.draws:
        base = point.seed if point.simulation_seed is None else point.simulation_seed
        noise = sweep_point_seed(base, point.draws.values())
        derived["simulation_seed"] = f"simulation_seed={noise}"
    derived |= {key: override(key, value) for key, value in filled_in.items()}
    return [*(item for item in point.overrides if key_of(item) not in derived), *derived.values()]
