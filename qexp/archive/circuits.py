"""Circuits in an archive: QPY to load them, OpenQASM 3 to read, a digest to identify them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from qexp.archive.circuit_digest import describe
from qexp.core.jsonable import dumps, map_text
from qexp.errors import ArchiveError
from qexp.text import error_reason

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

MIN_QPY_VERSION: Final = 13
"""Loading older QPY can execute code that is hidden in it (CVE-2025-2000)."""
_QPY_MAGIC: Final = b"QISKIT"
_DELAY: Final = "delay_"


def circuit_cells(
    circuit: QuantumCircuit, where: str, redact: Callable[[str], str]
) -> dict[str, Any]:
    """Return the cells of a circuit's row in `/circuits`, apart from the index of the PUB.

    `redact` is applied to every text, and to the name and metadata in QPY.

    Raises:
        ArchiveError: The circuit, which `where` names, cannot be serialised as QPY.
    """
    stream = io.BytesIO()
    write_circuits([_redacted(circuit, redact)], stream, where)
    described = describe(circuit, redact)
    layout = circuit.layout
    return {
        "name": redact(circuit.name or ""),
        "num_qubits": circuit.num_qubits,
        "num_clbits": circuit.num_clbits,
        **described,
        "qasm3": described["qasm3"].encode("utf-8", "backslashreplace"),
        "qpy": stream.getvalue(),
        "initial_layout_json": dumps(layout.initial_index_layout(True)) if layout else "",
        "final_layout_json": dumps(layout.final_index_layout(True)) if layout else "",
    }


def load_circuit(raw: bytes, where: str) -> QuantumCircuit:
    """Decode one circuit from QPY; `where` names it in errors.

    Raises:
        ArchiveError: The bytes are no QPY, damaged, or older than version 13.
    """
    from qiskit import qpy

    if len(raw) < 7 or not raw.startswith(_QPY_MAGIC):
        raise ArchiveError(f"circuit {where} is not QPY: verify the file or restore it from a copy")
    if raw[6] < MIN_QPY_VERSION:
        raise ArchiveError(
            f"circuit {where} is QPY version {raw[6]}; only version {MIN_QPY_VERSION} or newer is "
            "loaded, since older ones can execute code (CVE-2025-2000): use its OpenQASM 3 text"
        )
    try:
        circuit: QuantumCircuit = qpy.load(io.BytesIO(raw))[0]
    except Exception as error:
        # The reader raises errors of struct, Unicode, keys and its own for the same damage.
        reason = f"{type(error).__name__}: {error_reason(error)}"
        raise ArchiveError(f"circuit {where} cannot be loaded: {reason}") from error
    return _mapped(circuit, _to_delay)


def write_circuits(circuits: Sequence[QuantumCircuit], stream: BinaryIO, where: str = "") -> bool:
    """Write circuits to one QPY file, in order; `where` names a single one in errors.

    Returns:
        True if there are delays that QPY cannot hold; they are opaque instructions there.

    Raises:
        ArchiveError: A circuit cannot be serialised as QPY.
    """
    from qiskit import qpy

    mapped = [_mapped(circuit, _from_delay) for circuit in circuits]
    try:
        qpy.dump(mapped, stream)
    except Exception as error:
        what = f"circuit {where} ({circuits[0].name!r})" if where else "the circuits"
        raise ArchiveError(
            f"{what} cannot be serialised as QPY: {error_reason(error)}; build it from Qiskit's "
            "own instructions"
        ) from error
    return any(new is not old for new, old in zip(mapped, circuits, strict=True))


def _redacted(circuit: QuantumCircuit, redact: Callable[[str], str]) -> QuantumCircuit:
    """Return the circuit without secrets in its name and metadata; itself if there are none."""
    name, metadata = redact(circuit.name or ""), map_text(circuit.metadata, redact)
    if (name, metadata) == (circuit.name or "", circuit.metadata):
        return circuit
    copy = circuit.copy(name)
    copy.metadata = metadata
    return copy


def _mapped(circuit: QuantumCircuit, change: Callable[[Any], Any]) -> QuantumCircuit:
    """Return the circuit with `change` applied to its operations; itself if nothing changes."""
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
    """Return an opaque `delay_<unit>` for a delay whose unit QPY would replace by dt.

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
