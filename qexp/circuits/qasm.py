"""OpenQASM 2 and 3 files."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.circuits import files as circuit_files
from qexp.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from qiskit import QuantumCircuit

_VERSION = re.compile(r"^\s*OPENQASM\s+(\d+)(?:\.\d+)?\s*;", re.MULTILINE)
_POSITION = re.compile(r"^(?:<input>:|L)?(\d+)(?:,|:C)\d+: (.*)$", re.DOTALL)


def qasm_circuits(*, files: str, seed_sequence: np.random.SeedSequence) -> Iterator[QuantumCircuit]:
    """The circuits of OpenQASM files, one each, in the order of their paths.

    A file says its version in its first statement (`OPENQASM 2.0;`); one that does not is read as
    OpenQASM 3, whose specification leaves the statement out if one likes. Circuits are named after
    their files; one without classical bits is measured on all qubits, into the register `meas`.

    Args:
        files: A glob (`**` included), relative to the current folder unless absolute.
        seed_sequence: Supplied by qexp; nothing is drawn.

    Yields:
        Sampler PUBs: measured circuits.

    Raises:
        ConfigError: No file matches; a file is not valid OpenQASM (the message names file and
            line), has unbound parameters, or measures nothing.
    """
    del seed_sequence
    for index, path in enumerate(circuit_files.find(files)):
        content = circuit_files.read(path)
        circuit = _parse(path, content)
        circuit.name = f"{path.stem}_{index:04d}"
        yield circuit_files.sampled(circuit, family="qasm", path=path, content=content)


def _parse(path: Path, content: bytes) -> QuantumCircuit:
    from qiskit import qasm2, qasm3

    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _invalid(path, line, "not UTF-8 text") from error
    declared = _VERSION.search(text)
    version = declared[1] if declared else "3"
    if version not in ("2", "3"):
        assert declared is not None
        line = text[: declared.start(1)].count("\n") + 1
        raise _invalid(path, line, f"OpenQASM {version} is not supported, only 2 and 3 are")
    if not text.strip():
        raise _invalid(path, 1, "the file is empty")
    try:
        if version == "2":
            # What Qiskit's own exporter writes needs more than the strict qelib1.inc.
            return qasm2.loads(
                text,
                include_path=(path.parent,),
                custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS,
                custom_classical=qasm2.LEGACY_CUSTOM_CLASSICAL,
            )
        # The parser prints its complaint as well as raising it.
        with contextlib.redirect_stderr(io.StringIO()):
            return qasm3.loads(text)
    except Exception as error:
        raise _invalid(path, *_locate(error)) from error


def _locate(error: Exception) -> tuple[int | None, str]:
    """Line and reason, from the four forms in which the two parsers give them."""
    message = str(getattr(error, "message", error))
    position = _POSITION.match(message)
    if position:
        return int(position[1]), " ".join(position[2].split())
    cause = error.__cause__
    candidates = [cause, *getattr(cause, "args", ())]
    tokens = [getattr(candidate, "offendingToken", None) for candidate in candidates]
    token = next((token for token in tokens if token is not None), None)
    if token is not None:
        return int(token.line), f"syntax error at '{token.text}'"
    return None, " ".join(message.split()) or type(error).__name__


def _invalid(path: Path, line: int | None, reason: str) -> ConfigError:
    where = f"{path}:{line}" if line is not None else f"{path}"
    return ConfigError(
        f"circuits.files: {where}: {reason}; correct the file or exclude it from the glob"
    )
