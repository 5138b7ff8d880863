"""Circuit files: found by glob, and made ready for the Sampler."""

from __future__ import annotations

import glob
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.errors import ConfigError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def find(pattern: str) -> list[Path]:
    """The files that a glob matches, sorted by path.

    Args:
        pattern: A glob (`**` included), relative to the current folder unless absolute.

    Raises:
        ConfigError: It matches no file.
    """
    matched = [Path(match) for match in glob.glob(pattern, recursive=True)]
    files = sorted(path for path in matched if path.is_file())
    if not files:
        raise ConfigError(
            f"circuits.files: '{pattern}' matches no file below {Path.cwd()}; give a glob relative "
            f"to that folder, or an absolute one, such as 'circuits/*.qasm'"
        )
    return files


def read(path: Path) -> bytes:
    """The content of a file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"circuits.files: '{path}' cannot be read: {error.strerror}; make it readable or "
            f"exclude it from the glob"
        ) from error


def sampled(circuit: QuantumCircuit, *, family: str, path: Path, content: bytes) -> QuantumCircuit:
    """The circuit, measured, with its origin in its metadata.

    A circuit without classical bits is measured on all qubits, into the register `meas`; any
    other is left as its author wrote it.

    Args:
        circuit: As loaded; it is changed in place.
        family: `"qasm"` or `"qpy"`.
        path: The file it came from.
        content: That file's bytes.

    Raises:
        ConfigError: It has unbound parameters, or classical bits that no measurement reaches.
    """
    where = f"circuits.files: '{path}', circuit '{circuit.name}'"
    if circuit.parameters:
        names = ", ".join(parameter.name for parameter in circuit.parameters)
        raise ConfigError(
            f"{where}: unbound parameters {names}; write their values into the file, or generate "
            f"the circuit in a function of your own (circuits._target_)"
        )
    if circuit.num_clbits == 0:
        circuit.measure_all()
    elif not circuit.cregs or not _measures(circuit):
        raise ConfigError(
            f"{where}: it has classical bits but no measurement into a classical register; add "
            f"one, or remove the classical bits and all qubits are measured"
        )
    circuit.metadata = {
        **(circuit.metadata or {}),
        "family": family,
        "file": path.as_posix(),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return circuit


def _measures(circuit: QuantumCircuit) -> bool:
    return any(
        instruction.name == "measure"
        or any(_measures(block) for block in getattr(instruction.operation, "blocks", ()))
        for instruction in circuit.data
    )
