"""QPY files, Qiskit's binary circuit format."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.circuits.files import load_circuits
from qexp.errors import STOPS, ConfigError

if TYPE_CHECKING:
    import numpy as np
    from qiskit import QuantumCircuit

_MAGIC = b"QISKIT"

_MIN_VERSION = 13
"""Loading older formats can execute code hidden in the file: CVE-2025-2000,
https://github.com/Qiskit/qiskit/security/advisories/GHSA-6m2c-76ff-6vrf."""


def qpy_circuits(*, files: str, seed_sequence: np.random.SeedSequence) -> Iterator[QuantumCircuit]:
    """Yield the circuits of QPY files, in the order of the files' paths and of their circuits.

    Circuits keep their metadata, and their name with a number behind it; one without classical
    bits is measured on all qubits, into the register `meas`.

    Args:
        files: A glob (`**` included), relative to the current folder unless absolute.
        seed_sequence: Supplied by qexp; nothing is drawn.

    Yields:
        Sampler PUBs: measured circuits.

    Raises:
        ConfigError: No file matches; a file is not QPY, of a format below 13 or newer than the
            installed Qiskit's, or damaged; a circuit has unbound parameters or measures nothing.
    """
    del seed_sequence
    return load_circuits(files, "qpy", _parse)


def _parse(path: Path, content: bytes) -> list[QuantumCircuit]:
    _check_header(path, content)

    from qiskit import qpy

    try:
        return list(qpy.load(io.BytesIO(content)))
    except STOPS:
        raise
    except BaseException as error:
        raise ConfigError(
            f"circuits.files: '{path}' is truncated or damaged and cannot be loaded; write it "
            f"again with qiskit.qpy.dump"
        ) from error


def _check_header(path: Path, content: bytes) -> None:
    if content[:6] != _MAGIC or len(content) < 7:
        raise ConfigError(
            f"circuits.files: '{path}' is not a QPY file: it does not begin with 'QISKIT' and a "
            f"format version; write it with qiskit.qpy.dump or exclude it from the glob"
        )
    version = content[6]
    if version < _MIN_VERSION:
        raise ConfigError(
            f"circuits.files: '{path}' has QPY format {version}, and loading a format below "
            f"{_MIN_VERSION} can execute code hidden in the file (CVE-2025-2000); if you trust it, "
            f"load it yourself and write it again with qiskit.qpy.dump of Qiskit 1.3 or later"
        )

    from qiskit.qpy.common import QPY_VERSION

    if version > QPY_VERSION:
        raise ConfigError(
            f"circuits.files: '{path}' has QPY format {version}, and the installed Qiskit reads up "
            f"to {QPY_VERSION}; upgrade Qiskit, or write the file with "
            f"qiskit.qpy.dump(..., version={QPY_VERSION})"
        )
