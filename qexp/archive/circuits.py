"""Circuits in an archive: QPY to load them, OpenQASM 3 to read, a digest to identify them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from qexp.archive.circuit_digest import Reading, describe
from qexp.core.jsonable import dumps, map_text, to_jsonable
from qexp.errors import STOPS, ArchiveError
from qexp.text import error_reason

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

MIN_QPY_VERSION: Final = 13
"""Loading older QPY can execute code that is hidden in it (CVE-2025-2000)."""
_QPY_MAGIC: Final = b"QISKIT"
_DELAY: Final = "delay_"


def circuit_cells(
    circuit: QuantumCircuit,
    where: str,
    redact: Callable[[str], str],
    reading: Reading | None = None,
) -> dict[str, Any]:
    """Return the cells of a circuit's row in `/circuits`, apart from the index of the PUB.

    `redact` is applied to every text, and to the name and metadata in QPY. A `reading` of the
    circuit spares another one.

    Raises:
        ArchiveError: The circuit, which `where` names, cannot be serialised as QPY.
    """
    stream = io.BytesIO()
    write_circuits([_redacted(circuit, redact)], stream, where)
    described = describe(circuit, redact, reading)
    # Qiskit's importer of OpenQASM 3 leaves the number of qubits out.
    layout = circuit.layout if getattr(circuit.layout, "_input_qubit_count", None) else None
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
    except STOPS:
        raise
    except BaseException as error:
        # The reader raises errors of struct, Unicode, keys and its own for the same damage.
        reason = f"{type(error).__name__}: {error_reason(error)}"
        raise ArchiveError(f"circuit {where} cannot be loaded: {reason}") from error
    return _mapped(circuit, _to_delay)


def write_circuits(circuits: Sequence[QuantumCircuit], stream: BinaryIO, where: str = "") -> bool:
    """Write circuits to one QPY file, in order; `where` names a single one in errors.

    Return True if there are delays that QPY cannot hold; they are opaque instructions there.

    Raises:
        ArchiveError: A circuit cannot be serialised as QPY.
    """
    from qiskit import qpy

    mapped = [_mapped(circuit, _from_delay) for circuit in circuits]
    try:
        qpy.dump(mapped, stream)
    except STOPS:
        raise
    except BaseException as error:
        what = f"circuit {where} ({circuits[0].name!r})" if where else "the circuits"
        raise ArchiveError(
            f"{what} cannot be serialised as QPY: {error_reason(error)}; build it from Qiskit's "
            "own instructions"
        ) from error
    return any(new is not old for new, old in zip(mapped, circuits, strict=True))


def _redacted(circuit: QuantumCircuit, redact: Callable[[str], str]) -> QuantumCircuit:
    """Return the circuit with metadata as JSON, and without secrets in these and its name."""
    # Shallow: the instructions are the circuit's own.
    copied = copy(circuit)
    copied.name = redact(circuit.name or "")
    copied.metadata = map_text(to_jsonable(circuit.metadata), redact)
    return copied


def _mapped(circuit: QuantumCircuit, change: Callable[[Any], Any]) -> QuantumCircuit:
    """Return the circuit with its delays changed; itself where there are none."""
    from qiskit.circuit import CONTROL_FLOW_OP_NAMES

    names = circuit.count_ops()
    if not any(name.startswith("delay") or name in CONTROL_FLOW_OP_NAMES for name in names):
        return circuit
    return rebuild(circuit, change)


def rebuild(circuit: QuantumCircuit, change: Callable[[Any], Any]) -> QuantumCircuit:
    """Return a circuit with some operations changed, in control flow too; itself if none is.

    `change` is called with each operation but standard gates and control flow. It returns an
    operation, or a circuit, to take its place; None: the operation stays.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import ControlFlowOp

    def changed(item: Any) -> Any:
        if item.is_standard_gate():
            return None
        operation = item.operation
        if not isinstance(operation, ControlFlowOp):
            return change(operation)
        blocks = [rebuild(block, change) for block in operation.blocks]
        same = all(new is old for new, old in zip(blocks, operation.blocks, strict=True))
        return None if same else operation.replace_blocks(blocks)

    replacements = [changed(item) for item in circuit.data]
    if all(each is None for each in replacements):
        return circuit
    rebuilt = circuit.copy_empty_like()
    rebuilt._layout = circuit._layout
    for item, new in zip(circuit.data, replacements, strict=True):
        if isinstance(new, QuantumCircuit):
            rebuilt.compose(new, item.qubits, item.clbits, inplace=True)
        else:
            rebuilt._append(item if new is None else item.replace(operation=new))
    return rebuilt


def _from_delay(operation: Any) -> Any:
    """Return an opaque `delay_<unit>` for a delay whose unit QPY would replace by dt.

    https://github.com/Qiskit/qiskit/issues/10662: QPY drops the unit; it fails for parameters.
    """
    from qiskit.circuit import Delay, Instruction

    if not isinstance(operation, Delay):
        return None
    if operation.unit == "dt" and isinstance(operation.duration, int):
        return None
    return Instruction(f"{_DELAY}{operation.unit}", 1, 0, [operation.duration])


def _to_delay(operation: Any) -> Any:
    from qiskit.circuit import Delay

    if not operation.name.startswith(_DELAY):
        return None
    return Delay(operation.params[0], operation.name.removeprefix(_DELAY))
