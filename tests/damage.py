"""Damage to a file, and whether it is noticed; `flips` of some thousands are the long form."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

Damage = Callable[[bytearray], bytearray]


def flip(position: int, bit: int) -> Damage:
    """One bit flipped."""

    def damaged(raw: bytearray) -> bytearray:
        raw[position] ^= 1 << bit
        return raw

    return damaged


def flips(path: Path, count: int, seed: int = 0) -> Iterator[Damage]:
    """Single bits anywhere, half of them in bytes that are not zero, where there is something."""
    raw, rng = path.read_bytes(), random.Random(seed)
    used = [position for position, byte in enumerate(raw) if byte]
    for k in range(count):
        position = rng.choice(used) if k % 2 else rng.randrange(len(raw))
        yield flip(position, rng.randrange(8))


def cuts(path: Path, count: int, seed: int = 0) -> Iterator[Damage]:
    """The file ends too early: anywhere, and by a little."""
    size, rng = path.stat().st_size, random.Random(seed)
    for length in [0, 1, 100, size - 1, *(rng.randrange(size) for _ in range(count))]:
        yield lambda raw, length=length: raw[:length]


def survey(
    path: Path, damages: Iterable[Damage], check: Callable[[Path], list[str]]
) -> Iterator[list[str]]:
    """What `check` says of a copy with each damage, one after the other."""
    raw, copy = path.read_bytes(), path.with_name("damaged.h5")
    for damage in damages:
        copy.write_bytes(damage(bytearray(raw)))
        yield check(copy)
