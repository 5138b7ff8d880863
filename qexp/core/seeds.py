"""One seed decides circuits, transpilation and simulation.

Streams are spawned by name, so that adding a workload or a job never shifts another's draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    import numpy as np

Purpose: TypeAlias = Literal["circuits", "transpile", "simulate"]


def stream(seed: int, workload: str, purpose: Purpose) -> np.random.SeedSequence:
    """Return the `SeedSequence` of one purpose within one workload; `seed` is at least 0."""
    return _named(seed, f"{workload}/{purpose}")


def sample_stream(seed: int) -> np.random.SeedSequence:
    """Return the `SeedSequence` of the points that a sweep samples; `seed` is at least 0."""
    return _named(seed, "sweep/sample")


def _named(seed: int, stream_name: str) -> np.random.SeedSequence:
    import numpy as np

    name = hashlib.sha256(stream_name.encode()).digest()
    key = tuple(int.from_bytes(name[i : i + 4], "big") for i in range(0, 16, 4))
    return np.random.SeedSequence(entropy=seed, spawn_key=key)


def child(sequence: np.random.SeedSequence, index: int) -> np.random.SeedSequence:
    """Return the `index`-th child of a sequence, without spawning the ones before it."""
    import numpy as np

    return np.random.SeedSequence(entropy=sequence.entropy, spawn_key=(*sequence.spawn_key, index))


def as_int(sequence: np.random.SeedSequence) -> int:
    """Return a 31-bit positive integer for APIs (Qiskit, Aer) that take a plain seed."""
    import numpy as np

    return int(sequence.generate_state(1, np.uint32)[0] >> 1) or 1


def describe_streams(
    seed: int, workloads: Iterable[str], simulation_seed: int | None = None
) -> dict[str, Any]:
    """Describe the derived streams, so that a reader can spawn the same ones with NumPy.

    `simulation_seed` is that of the streams `WORKLOAD/simulate`; None: it is `seed`.
    """
    own = {} if simulation_seed is None else {"simulation_seed": simulation_seed}
    return {
        "seed": seed,
        **own,
        "algorithm": "numpy.random.SeedSequence(entropy=seed, spawn_key=(*stream, index))",
        "streams": {
            f"{workload}/{purpose}": list(stream(seed, workload, purpose).spawn_key)
            for workload in workloads
            for purpose in get_args(Purpose)
        },
    }


def sweep_point_seed(seed: int, overrides: Iterable[str]) -> int:
    """Return the seed of one point of a sweep, which does not depend on the order of the points.

    It is derived from the declared seed and those of its swept overrides that decide circuits.
    """
    text = f"{seed}\n" + "\n".join(sorted(overrides))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
