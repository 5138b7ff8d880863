"""Seeds of independent streams of random numbers."""

from __future__ import annotations

import numpy as np


def child(sequence: np.random.SeedSequence, index: int) -> np.random.SeedSequence:
    """Return the `index`-th child of a sequence without spawning those before it."""
    return np.random.SeedSequence(entropy=sequence.entropy, spawn_key=(*sequence.spawn_key, index))


def as_int(sequence: np.random.SeedSequence) -> int:
    """Return a positive integer of 31 bits, for APIs (Qiskit, Aer) that take a plain seed."""
    return int(sequence.generate_state(1, np.uint32)[0] >> 1) or 1


def random_seed() -> int:
    """Return a seed from the operating system's randomness."""
    return as_int(np.random.SeedSequence())
