"""Circuits as tables: QPY to load them, OpenQASM 3 to read, a digest to identify them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from qexp.archive.describe import Description, describe
from qexp.archive.tables import Column, Table, long_text, numbers, texts
from qexp.core.jsonable import dumps, map_text
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

#: Loading older QPY can execute code that is hidden in it (CVE-2025-2000).
MIN_QPY_VERSION: Final = 13
_QPY_MAGIC: Final = b"QISKIT"
_DELAY: Final = "delay_"


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
        redact: Applied to every text, and to the name and metadata in QPY.

    Raises:
        ArchiveError: A circuit cannot be serialised as QPY.
    """
    # Many PUBs may have one circuit, each with parameter values of its own.
    encoded: dict[int, tuple[bytes, Description]] = {}
    for k, circuit in enumerate(circuits):
        if id(circuit) not in encoded:
            blob = _to_qpy(circuit, path, first + k, redact)
            encoded[id(circuit)] = blob, describe(circuit, redact)
    blobs = [encoded[id(circuit)][0] for circuit in circuits]
    described = [encoded[id(circuit)][1] for circuit in circuits]
    qasm3 = [each.qasm3.encode("utf-8", "backslashreplace") for each in described]
    dim = "pub"
    columns: dict[str, Column] = {
        "pub": numbers(range(first, first + len(circuits)), dim, "<i8"),
        "name": texts([redact(circuit.name or "") for circuit in circuits], dim),
        "num_qubits": numbers([circuit.num_qubits for circuit in circuits], dim, "<i4"),
        "num_clbits": numbers([circuit.num_clbits for circuit in circuits], dim, "<i4"),
        "depth": numbers([each.depth for each in described], dim, "<i8"),
        "size": numbers([each.size for each in described], dim, "<i8"),
        "sha256": texts([each.sha256 for each in described], dim),
        **_blob_columns("qasm3", qasm3, path),
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
    return _mapped(circuit, _to_delay)


def write_circuits(circuits: Sequence[QuantumCircuit], stream: BinaryIO) -> bool:
    """Write circuits to one QPY file, in order.

    Returns:
        Whether there are delays that QPY cannot hold; they are opaque instructions there.

    Raises:
        ArchiveError: A circuit cannot be serialised as QPY.
    """
    from qiskit import qpy

    mapped = [_mapped(circuit, _from_delay) for circuit in circuits]
    try:
        qpy.dump(mapped, stream)
    except Exception as error:
        msg = f"The circuits cannot be serialised as QPY: {_one_line(error)}."
        raise ArchiveError(msg) from error
    return any(new is not old for new, old in zip(mapped, circuits, strict=True))


def _to_qpy(circuit: QuantumCircuit, path: str, pub: int, redact: Callable[[str], str]) -> bytes:
    from qiskit import qpy

    stream = io.BytesIO()
    try:
        qpy.dump(_redacted(_mapped(circuit, _from_delay), redact), stream)
    except Exception as error:
        msg = (
            f"Circuit {pub} ({circuit.name!r}) of {path} cannot be serialised as QPY: "
            f"{_one_line(error)}. Build it from Qiskit's own instructions."
        )
        raise ArchiveError(msg) from error
    return stream.getvalue()


def _redacted(circuit: QuantumCircuit, redact: Callable[[str], str]) -> QuantumCircuit:
    """The circuit without secrets in its name and metadata; itself where there are none."""
    name, metadata = redact(circuit.name or ""), map_text(circuit.metadata, redact)
    if (name, metadata) == (circuit.name or "", circuit.metadata):
        return circuit
    copy = circuit.copy(name)
    copy.metadata = metadata
    return copy


def _mapped(circuit: QuantumCircuit, change: Callable[[Any], Any]) -> QuantumCircuit:
    """The circuit with some operations changed, in blocks too; itself where there are none."""
    from qiskit.circuit import CONTROL_FLOW_OP_NAMES, ControlFlowOp

    names = circuit.count_ops()
    if not any(name.startswith("delay") or name in CONTROL_FLOW_OP_NAMES for name in names):
        return circuit

    def mapped(operation: Any) -> Any:
        if not isinstance(operation, ControlFlowOp):
            return change(operation)
        blocks = [_mapped(block, change) for block in operation.blocks]
        same = all(new is old for new, old in zip(blocks, operation.blocks, strict=True))
        return operation if same else operation.replace_blocks(blocks)

    operations = [item.operation for item in circuit.data]
    changed = [mapped(operation) for operation in operations]
    if all(new is old for new, old in zip(changed, operations, strict=True)):
        return circuit
    copy = circuit.copy_empty_like()
    copy._layout = circuit._layout
    for item, operation in zip(circuit.data, changed, strict=True):
        copy._append(item.replace(operation=operation))
    return copy


def _from_delay(operation: Any) -> Any:
    """A delay that QPY would turn into one of so many dt, as an opaque `delay_<unit>`.

    https://github.com/Qiskit/qiskit/issues/10662: QPY drops the unit; it fails for parameters.
    """
    from qiskit.circuit import Delay, Instruction

    if not isinstance(operation, Delay):
        return operation
    if operation.unit == "dt" and isinstance(operation.duration, int):
        return operation
    return Instruction(f"{_DELAY}{operation.unit}", 1, 0, [operation.duration])


def _to_delay(operation: Any) -> Any:
    from qiskit.circuit import Delay

    if not operation.name.startswith(_DELAY):
        return operation
    return Delay(operation.params[0], operation.name.removeprefix(_DELAY))


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
