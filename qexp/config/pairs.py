"""Seeds of a sweep's points: those that differ in no circuit are pairs, with the same circuits.

The seed of a point is derived from the swept values that decide its circuits. Its shot noise is its
own: where points share a seed, each gets a seed of its own for simulation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from qexp.config.overrides import override
from qexp.config.schema import RootNode
from qexp.core.seeds import sweep_point_seed


@dataclass(frozen=True)
class SweptPoint:
    """A valid point, before its seeds are derived.

    Attributes:
        overrides: All of its overrides.
        draws: Swept key -> its override in this point, without added `++`.
        circuits: Digest of its resolved nodes that declare circuits.
        rule: The declared `sweep.seed`.
        seed: The declared seed.
        simulation_seed: The declared seed of simulation.
    """

    overrides: list[str]
    draws: Mapping[str, str]
    circuits: str
    rule: Literal["derived", "shared", "independent"]
    seed: int
    simulation_seed: int | None

    @classmethod
    def of(cls, overrides: list[str], swept: Collection[str], root: RootNode) -> SweptPoint:
        """Make a point from its overrides, the swept keys and its validated config."""
        nodes = {name: node.circuits for name, node in root.workloads.items()}
        return cls(
            overrides=overrides,
            draws={key_of(item): item.lstrip("+") for item in overrides if key_of(item) in swept},
            circuits=hashlib.sha256(repr((root.circuits, nodes)).encode()).hexdigest(),
            rule=root.sweep.seed,
            seed=root.seed,
            simulation_seed=root.simulation_seed,
        )


def key_of(override: str) -> str:
    """Return the key of an override, without added `++`."""
    return override.partition("=")[0].lstrip("+")


def circuit_keys(points: Sequence[SweptPoint]) -> tuple[str, ...]:
    """Return the swept keys that decide circuits.

    Such a key is `seed`, a key of a `circuits` node, or any whose values alone change one.
    """
    keys = dict.fromkeys(key for point in points for key in point.draws)
    return tuple(key for key in keys if _names_circuits(key) or _changes_circuits(key, points))


def _names_circuits(key: str) -> bool:
    # Also if only one value is swept, so that another one added changes no point's seed.
    parts = key.replace("@", ".").split(".")
    return key == "seed" or parts[0] == "circuits" or parts[::2][:2] == ["workloads", "circuits"]


def _changes_circuits(key: str, points: Iterable[SweptPoint]) -> bool:
    """Return True if two points that differ in this key alone have other circuits."""
    seen: dict[frozenset[str], str] = {}
    for point in points:
        others = frozenset(text for name, text in point.draws.items() if name != key)
        if seen.setdefault(others, point.circuits) != point.circuits:
            return True
    return False


def with_seeds(point: SweptPoint, decide_circuits: Collection[str]) -> list[str]:
    """Return the overrides of a point with its seeds, which repeat it alone.

    Args:
        point: The point.
        decide_circuits: See `circuit_keys`.
    """
    if not point.draws:
        return point.overrides
    keys = {"derived": decide_circuits, "shared": (), "independent": point.draws}[point.rule]
    deciding = {key: text for key, text in point.draws.items() if key in keys or key == "seed"}
    derived: dict[str, str] = {}
    circuits_by = override("sweep.circuits_by", list(deciding))
    if "seed" in point.draws:
        deciding = {"seed": point.draws["seed"]}
    elif deciding:
        derived["seed"] = f"seed={sweep_point_seed(point.seed, deciding.values())}"
    is_shared = len(deciding) < len(point.draws) or point.simulation_seed is not None
    if is_shared and "simulation_seed" not in point.draws:
        base = point.seed if point.simulation_seed is None else point.simulation_seed
        noise = sweep_point_seed(base, point.draws.values())
        derived["simulation_seed"] = f"simulation_seed={noise}"
    derived["sweep.circuits_by"] = circuits_by
    return [*(item for item in point.overrides if key_of(item) not in derived), *derived.values()]
