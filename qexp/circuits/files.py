"""Circuits from files: found by a glob, read, and made ready for the Sampler."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.errors import ConfigError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def load_circuits(
    pattern: str, family: str, parse: Callable[[Path, bytes], Iterable[QuantumCircuit]]
) -> Iterator[QuantumCircuit]:
    """Yield the circuits of all files that a glob matches, sorted by path.

    Each gets a number behind its name, and its origin in its metadata. A circuit without classical
    bits is measured on all qubits, into the register `meas`; any other is left as it is.

    Args:
        pattern: A glob (`**` included), relative to the current folder unless absolute.
        family: `"qasm"` or `"qpy"`.
        parse: Makes the circuits of one file from its path and content.

    Raises:
        ConfigError: No file matches, or one cannot be read or parsed; a circuit has unbound
            parameters, or classical bits but no measurement.
    """
    index = 0
    for path in _find(pattern):
        content = _read(path)
        for circuit in parse(path, content):
            circuit.name = f"{circuit.name}_{index:04d}"
            _make_measured(circuit, f"circuits.files: '{path}', circuit '{circuit.name}'")
            circuit.metadata = {
                **(circuit.metadata or {}),
                "family": family,
                "file": path.as_posix(),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            yield circuit
            index += 1


def _find(pattern: str) -> list[Path]:
    matched = [Path(match) for match in glob.glob(pattern, recursive=True)]
    files = sorted(path for path in matched if path.is_file())
    if not files:
        raise ConfigError(
            f"circuits.files: '{pattern}' matches no file below {Path.cwd()}; give a glob relative "
            f"to that folder, or an absolute one, such as 'circuits/*.qasm'"
        )
    return files


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"circuits.files: '{path}' cannot be read: {error.strerror}; make it readable or "
            f"exclude it from the glob"
        ) from error


def _make_measured(circuit: QuantumCircuit, where: str) -> None:
    if circuit.parameters:
        names = ", ".join(parameter.name for parameter in circuit.parameters)
        raise ConfigError(
            f"{where}: unbound parameters {names}; write their values into the file, or generate "
            f"the circuit in a function of your own (circuits._target_)"
        )
    if circuit.num_clbits == 0:
        circuit.measure_all()
    elif not _measures(circuit):
        raise ConfigError(
            f"{where}: it has classical bits but no measurement into a classical register; add "
            f"one, or remove the classical bits and all qubits are measured"
        )


def _measures(circuit: QuantumCircuit) -> bool:
    return any(
        instruction.name == "measure"
        or any(_measures(block) for block in getattr(instruction.operation, "blocks", ()))
        for instruction in circuit.data
    )
