"""PUBs in hand: those that a caller in Python gave to `qexp.run(circuits=[...])`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from qexp.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

GIVEN_CIRCUITS: Final = f"{__name__}.given_circuits"
"""The `_target_` that a config has for them."""


def given_circuits(
    *, num_circuits: int, sha256: str, seed_sequence: np.random.SeedSequence
) -> Iterable[Any]:
    """Stand for PUBs that no config can make again; the archive of their run has them.

    Args:
        num_circuits: Number of PUBs.
        sha256: Digest of their circuits, parameter values, observables, shots and precision.
        seed_sequence: Supplied by qexp; nothing is drawn.

    Raises:
        ConfigError: Always, because only the caller has the PUBs.
    """
    del sha256, seed_sequence
    raise ConfigError(
        f"circuits: {num_circuits} PUBs were given in Python (qexp.run(circuits=[...])), and a "
        f"config cannot make them again; 'python -m qexp reproduce RUN' takes them from an archive"
    )
