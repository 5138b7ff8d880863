"""Circuits from files: found by a glob, read, and made ready for the Sampler."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.errors import ConfigError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_ANY_FOLDERS = re.compile(r"(?<![^/])\*\*(?:/|$)")


def load_circuits(
    pattern: str, family: str, parse: Callable[[Path, bytes], Iterable[QuantumCircuit]]
) -> Iterator[QuantumCircuit]:
    """Yield the circuits of all files that a glob matches, sorted by path.

    Each gets a number behind its name, and its origin in its metadata. A circuit without classical
    bits is measured on all qubits, into the register `meas`; any other is left as it is.

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
    matched = sorted(Path(match) for match in _matches(pattern))
    # A folder and a link to it hold the same files.
    once = {path.parent.resolve() / path.name: path for path in reversed(matched)}
    files = sorted(path for path in once.values() if path.is_file())
    if not files:
        raise ConfigError(
            f"circuits.files: '{pattern}' matches no file below {Path.cwd()}; give a glob relative "
            f"to that folder, or an absolute one, such as 'circuits/*.qasm'"
        )
    return files


def _matches(pattern: str) -> Iterator[str]:
    """Yield what a glob matches, as `glob.iglob` does, but `**` enters each folder once."""
    parts = _ANY_FOLDERS.split(pattern, maxsplit=1)
    if len(parts) == 1:
        yield from glob.iglob(pattern)
        return
    head, tail = parts
    while tail.startswith("**/"):
        tail = tail[3:]
    for top in glob.iglob(head) if head else [""]:
        for folder in _folders(top):
            yield from _matches(os.path.join(glob.escape(folder), tail or "*"))


def _folders(top: str) -> Iterator[str]:
    """Yield a folder and all below it but hidden ones, each once, by links only if need be."""
    folders, links, seen = [top], list[str](), set[str]()
    while folders or links:
        folder = folders.pop(0) if folders else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen or not os.path.isdir(real):
            continue
        seen.add(real)
        yield folder
        with suppress(OSError):
            for entry in sorted(os.scandir(folder or "."), key=lambda entry: entry.name):
                if entry.is_dir() and not entry.name.startswith("."):
                    path = os.path.join(folder, entry.name)
                    (links if entry.is_symlink() else folders).append(path)


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
