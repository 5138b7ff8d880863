"""OpenQASM 2 and 3 files."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.circuits.files import load_circuits
from qexp.errors import STOPS, ConfigError
from qexp.text import one_line

if TYPE_CHECKING:
    import numpy as np
    from qiskit import QuantumCircuit

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_VERSION = re.compile(r"^\s*OPENQASM\s+(\d+)(?:\.\d+)?\s*;", re.MULTILINE)
_OF_VERSION_2 = re.compile(r"include\s*[\"']qelib1\.inc|\b[qc]reg\b")
_OF_VERSION_3 = re.compile(r"include\s*[\"']stdgates\.inc|\b(?:qu)?bit\b")
_GATE = re.compile(r"\bgate\s+([a-z]\w*)")
_POSITION = re.compile(r"^(?:<input>:|L)?(\d+)(?:,|:C)\d+: (.*)$", re.DOTALL)


def qasm_circuits(*, files: str, seed_sequence: np.random.SeedSequence) -> Iterator[QuantumCircuit]:
    """Yield the circuits of OpenQASM files, one each, in the order of their paths.

    A file names its version in its first statement (`OPENQASM 2.0;`). One without it is read as
    OpenQASM 2 if it includes `qelib1.inc` or declares a `qreg` or `creg`, and has nothing that only
    OpenQASM 3 has; otherwise as OpenQASM 3. Circuits are named after their files; one without
    classical bits is measured on all qubits, into the register `meas`.

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
    return load_circuits(files, "qasm", _parse)


def _parse(path: Path, content: bytes) -> Iterator[QuantumCircuit]:
    circuit = _parsed(path, _text(path, content))
    circuit.name = path.stem
    yield circuit


def _text(path: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _invalid(path, line, "not UTF-8 text") from error
    if not text.strip():
        raise _invalid(path, 1, "the file is empty")
    return text


def _parsed(path: Path, text: str) -> QuantumCircuit:
    from qiskit import qasm2, qasm3

    version, line = _version(text)
    if version not in ("2", "3"):
        raise _invalid(path, line, f"OpenQASM {version} is not supported, only 2 and 3 are")
    try:
        if version == "2":
            # Qiskit's own exporter writes gates that the strict qelib1.inc does not have. Of those
            # that the file defines, the parser would ignore the definition.
            own = set(_GATE.findall(_COMMENT.sub("", text)))
            custom = [each for each in qasm2.LEGACY_CUSTOM_INSTRUCTIONS if each.name not in own]
            return qasm2.loads(
                text,
                include_path=(path.parent,),
                custom_instructions=custom,
                custom_classical=qasm2.LEGACY_CUSTOM_CLASSICAL,
            )
        # The parser prints its complaint as well as raising it.
        with contextlib.redirect_stderr(io.StringIO()):
            circuit = qasm3.loads(text)
    except STOPS:
        raise
    except BaseException as error:
        raise _invalid(path, *_locate(error)) from error
    _keep_single_bits(circuit, text)
    return circuit


def _version(text: str) -> tuple[str, int]:
    """Return the version of OpenQASM that a text is written in, and the line that says so."""
    # Comments keep their line breaks, so that lines are counted right.
    code = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text)
    declared = _VERSION.search(code)
    if declared:
        return declared[1], code[: declared.start(1)].count("\n") + 1
    is_old = _OF_VERSION_2.search(code) and not _OF_VERSION_3.search(code)
    return "2" if is_old else "3", 1


def _keep_single_bits(circuit: QuantumCircuit, text: str) -> None:
    """Give each `bit flag;` of an OpenQASM 3 program a register of its name."""
    from qiskit import ClassicalRegister

    kept = {bit for register in circuit.cregs for bit in register}
    loose = [bit for bit in circuit.clbits if bit not in kept]
    if not loose:
        return

    import openqasm3

    names = [
        statement.identifier.name
        for statement in openqasm3.parse(text).statements
        if isinstance(statement, openqasm3.ast.ClassicalDeclaration)
        and getattr(statement.type, "size", None) is None
    ]
    for name, bit in zip(names, loose, strict=True):
        circuit.add_register(ClassicalRegister(name=name, bits=[bit]))


def _locate(error: BaseException) -> tuple[int | None, str]:
    """Return line and reason, from the four forms in which the two parsers give them."""
    message = str(getattr(error, "message", error))
    position = _POSITION.match(message)
    if position:
        return int(position[1]), one_line(position[2])
    cause = error.__cause__
    candidates = [cause, *getattr(cause, "args", ())]
    tokens = [getattr(candidate, "offendingToken", None) for candidate in candidates]
    token = next((token for token in tokens if token is not None), None)
    if token is not None:
        return int(token.line), f"syntax error at '{token.text}'"
    return None, one_line(message) or type(error).__name__


def _invalid(path: Path, line: int | None, reason: str) -> ConfigError:
    where = f"{path}:{line}" if line is not None else f"{path}"
    return ConfigError(
        f"circuits.files: {where}: {reason}; correct the file or exclude it from the glob"
    )
