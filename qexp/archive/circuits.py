"""Circuits as tables: QPY to load them, OpenQASM 3 to read and to identify them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from qexp.archive.tables import Column, Table, long_text, numbers, texts
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

#: Loading older QPY can execute code that is hidden in it (CVE-2025-2000).
MIN_QPY_VERSION: Final = 13
_QPY_MAGIC: Final = b"QISKIT"


def circuit_table(
    circuits: Sequence[QuantumCircuit],
    path: str,
    first: int,
    *,
    isa: bool,
    redact: Callable[[str], str],
) -> Table:
    """Encode circuits, one row each.

    Args:
        circuits: The circuits.
        path: Path of the table in the archive.
        first: PUB index of the first circuit within its workload.
        isa: Whether the layouts are stored too.
        redact: Applied to every text.

    Raises:
        ArchiveError: A circuit cannot be serialised as QPY.
    """
    blobs = [_to_qpy(circuit, path, first + k) for k, circuit in enumerate(circuits)]
    identities = [_identity(circuit) for circuit in circuits]
    qasm3 = [redact(text) if kind == "openqasm3" else "" for kind, text in identities]
    dim = "pub"
    columns: dict[str, Column] = {
        "pub": numbers(range(first, first + len(circuits)), dim, "<i8"),
        "name": texts([redact(circuit.name or "") for circuit in circuits], dim),
        "num_qubits": numbers([circuit.num_qubits for circuit in circuits], dim, "<i4"),
        "num_clbits": numbers([circuit.num_clbits for circuit in circuits], dim, "<i4"),
        "depth": numbers([circuit.depth() for circuit in circuits], dim, "<i8"),
        "size": numbers([circuit.size() for circuit in circuits], dim, "<i8"),
        "identity": texts([kind for kind, _ in identities], dim),
        "sha256": texts([hashlib.sha256(t.encode()).hexdigest() for _, t in identities], dim),
        **_blob_columns("qasm3", [t.encode("utf-8", "backslashreplace") for t in qasm3], path),
        **_blob_columns("qpy", blobs, path),
    }
    if isa:
        layouts = [_layouts(circuit) for circuit in circuits]
        columns["initial_layout_json"] = texts([initial for initial, _ in layouts], dim)
        columns["final_layout_json"] = texts([final for _, final in layouts], dim)
    return Table(columns)


def load_circuit(raw: bytes, where: str) -> QuantumCircuit:
    """Decode one circuit from QPY.

    Args:
        raw: QPY bytes.
        where: What is being read, for the error.

    Raises:
        ArchiveError: The bytes are no QPY, damaged, or older than version 13.
    """
    from qiskit import qpy

    if len(raw) < 7 or not raw.startswith(_QPY_MAGIC):
        msg = f"Circuit {where} is not QPY (damaged archive?). Verify or restore the file."
        raise ArchiveError(msg)
    if raw[6] < MIN_QPY_VERSION:
        msg = (
            f"Circuit {where} is QPY version {raw[6]}; only version {MIN_QPY_VERSION} or newer is "
            "loaded, since older ones can execute code (CVE-2025-2000). Use its OpenQASM 3 text."
        )
        raise ArchiveError(msg)
    try:
        circuit: QuantumCircuit = qpy.load(io.BytesIO(raw))[0]
    except Exception as error:
        # The reader raises struct, unicode, key and its own errors for the same damage.
        msg = f"Circuit {where} cannot be loaded: {type(error).__name__}: {_one_line(error)}."
        raise ArchiveError(msg) from error
    return circuit


def listing(circuit: QuantumCircuit) -> str:
    """A stable text of any circuit, also of those that OpenQASM 3 cannot express.

    One line per instruction: operation, parameters, qubit indices, clbit indices, as compact
    JSON; the blocks of control flow and boxes follow their instruction as nested lists.
    """
    return "\n".join(json.dumps(row, separators=(",", ":")) for row in _rows(circuit))


def _rows(circuit: QuantumCircuit) -> list[list[Any]]:
    from qiskit import QuantumCircuit

    qubits = {bit: index for index, bit in enumerate(circuit.qubits)}
    clbits = {bit: index for index, bit in enumerate(circuit.clbits)}
    rows: list[list[Any]] = [["circuit", circuit.num_qubits, circuit.num_clbits]]
    for item in circuit.data:
        operation = item.operation
        blocks = [p for p in operation.params if isinstance(p, QuantumCircuit)]
        params = [_parameter(p) for p in operation.params if not isinstance(p, QuantumCircuit)]
        if operation.name in ("if_else", "while_loop"):
            params.append(_condition(operation.condition, clbits))
        elif operation.name == "switch_case":
            params.append(_condition(operation.target, clbits))
            params.append([str(label) for label, _ in operation.cases_specifier()])
        row = [
            operation.name,
            params,
            [qubits[bit] for bit in item.qubits],
            [clbits[bit] for bit in item.clbits],
        ]
        rows.append([*row, [_rows(block) for block in blocks]] if blocks else row)
    return rows


def _condition(condition: Any, clbits: dict[Any, int]) -> Any:
    """What decides: `[clbits, value]`, `[clbits]`, or the text of a classical expression."""
    from qiskit.circuit import ClassicalRegister, Clbit

    if isinstance(condition, tuple):
        return [*_condition(condition[0], clbits), int(condition[1])]
    if isinstance(condition, Clbit):
        return [[clbits[condition]]]
    if isinstance(condition, ClassicalRegister):
        return [[clbits[bit] for bit in condition]]
    return str(condition)


def _parameter(value: Any) -> Any:
    return json.loads(dumps(value if isinstance(value, int | float | complex) else str(value)))


def _identity(circuit: QuantumCircuit) -> tuple[str, str]:
    from qiskit import qasm3

    try:
        return "openqasm3", qasm3.dumps(circuit)
    except Exception:
        # The exporter raises various errors for boxes, annotations, switch and loose types.
        return "listing", listing(circuit)


def _to_qpy(circuit: QuantumCircuit, path: str, pub: int) -> bytes:
    from qiskit import qpy

    stream = io.BytesIO()
    try:
        qpy.dump(circuit, stream)
    except Exception as error:
        msg = (
            f"Circuit {pub} ({circuit.name!r}) of {path} cannot be serialised as QPY: "
            f"{_one_line(error)}. Build it from Qiskit's own instructions."
        )
        raise ArchiveError(msg) from error
    return stream.getvalue()


def _layouts(circuit: QuantumCircuit) -> tuple[str, str]:
    """Virtual -> physical qubit before the first and after the last instruction, as JSON."""
    if circuit.layout is None:
        return "", ""
    initial = circuit.layout.initial_index_layout(filter_ancillas=True)
    final = circuit.layout.final_index_layout(filter_ancillas=True)
    return dumps(initial), dumps(final)


def _blob_columns(name: str, blobs: Sequence[bytes], path: str) -> dict[str, Column]:
    """Byte strings of different lengths as one array, with the start and size of each."""
    import numpy as np

    dim = f"{name}_byte"
    sizes = [len(blob) for blob in blobs]
    starts = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype("<i8")
    joined = b"".join(blobs)
    data = (
        Column(np.frombuffer(joined, dtype="u1"), (dim,))
        if name == "qpy"
        else long_text(joined.decode("utf-8"), dim)
    )
    return {
        name: data,
        f"{name}_start": Column(starts, ("pub",), {"units": "byte"}, base=f"{path}#{dim}"),
        f"{name}_size": numbers(sizes, "pub", "<i8", "byte"),
    }


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
