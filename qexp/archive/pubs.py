"""PUBs as rows: circuit, parameter values, observables, shots or precision, as bytes and numbers.

A row is made once, where its circuit was transpiled, possibly in a worker process. The rows of a
partition become the tables of its part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.circuits import circuit_cells, load_circuit
from qexp.archive.schema import ISA_CIRCUITS, LOGICAL_CIRCUITS, PARAMETERS, PUBS
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.observables_array import ObservablesArray

    from qexp.core.model import PlannedPub, Pub


@dataclass(frozen=True, eq=False)
class PubRow:
    """One PUB, ready to be stored; small enough to be sent between processes.

    Attributes:
        index: Index within the workload.
        cells: Path of a table -> the cells of its row, by column.
        isa_qpy: The ISA circuit in QPY.
    """

    index: int
    cells: Mapping[str, Mapping[str, Any]]
    isa_qpy: bytes


def pub_rows(
    workload: str, pubs: Sequence[PlannedPub], redact: Callable[[str], str]
) -> list[PubRow]:
    """Encode PUBs of a workload. A circuit that several have in common is encoded once.

    `redact` is applied to every text, and to the name and metadata in QPY.

    Raises:
        ArchiveError: A circuit has no QPY form.
    """
    encoded: dict[int, dict[str, Any]] = {}

    def cells_of(circuit: QuantumCircuit, path: str, index: int) -> dict[str, Any]:
        if id(circuit) not in encoded:
            encoded[id(circuit)] = circuit_cells(circuit, f"{index} of {path}", redact)
        return {"pub": index, **encoded[id(circuit)]}

    rows = []
    for pub in pubs:
        logical, isa = LOGICAL_CIRCUITS.at(workload), ISA_CIRCUITS.at(workload)
        cells = {
            PUBS.at(workload): _pub_cells(pub, redact),
            logical: cells_of(pub.logical.circuit, logical, pub.index),
            isa: cells_of(pub.isa.circuit, isa, pub.index),
        }
        values = pub.isa.parameter_values.as_array()
        if values.size:
            path = PARAMETERS.at(workload, _shape_name(values.shape))
            cells[path] = {"pub": pub.index, "values": values}
        rows.append(PubRow(pub.index, cells, cells[isa]["qpy"]))
    return rows


def _pub_cells(pub: PlannedPub, redact: Callable[[str], str]) -> dict[str, Any]:
    def observables(of: Pub) -> str:
        return dumps(of.observables.tolist(), redact) if hasattr(of, "observables") else ""

    isa, bindings = pub.isa, pub.isa.parameter_values
    shape = (*bindings.shape, bindings.num_parameters)
    return {
        "pub": pub.index,
        "kind": "estimator" if hasattr(isa, "observables") else "sampler",
        "shots": getattr(isa, "shots", None),
        "precision": getattr(isa, "precision", None),
        "shape_json": dumps(list(isa.shape)),
        "parameter_names_json": dumps([n for names in bindings.data for n in names], redact),
        "parameter_shape_json": dumps(list(bindings.shape)),
        "parameter_group": "" if 0 in shape else _shape_name(shape),
        "observables_json": observables(pub.logical),
        "isa_observables_json": observables(isa),
    }


def _shape_name(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def read_circuit(file: ArchiveFile, workload: str, isa: bool, row: int) -> QuantumCircuit:
    """Read the circuit of one PUB, as generated or as transpiled.

    Raises:
        ArchiveError: It is damaged, or QPY older than version 13.
    """
    table = (ISA_CIRCUITS if isa else LOGICAL_CIRCUITS).at(workload)
    start, size = (int(file.value(f"{table}/qpy_{name}", row)) for name in ("start", "size"))
    qpy = file.cell(f"{table}/qpy", slice(start, start + size)).tobytes()
    return load_circuit(qpy, f"{table}[{row}] in {file.path}")


def read_parameter_values(file: ArchiveFile, workload: str, row: int) -> NDArray[Any] | None:
    """Read the values of a PUB, shape (sweep..., parameters); None without parameters."""
    table = PUBS.at(workload)
    group = file.value(f"{table}/parameter_group", row)
    if not group:
        return None
    path = PARAMETERS.at(workload, group)
    index = file.value(f"{table}/pub", row)
    values: NDArray[Any] = file.cell(
        f"{path}/values", int(np.searchsorted(file.column(f"{path}/pub"), index))
    )
    return values


def read_pub(file: ArchiveFile, workload: str, isa: bool, row: int) -> Pub:
    """Read one PUB, as generated or as submitted (`isa`), from an archive or a part.

    Its row is its index, in a part less that of the first PUB.

    Raises:
        ArchiveError: The circuit is damaged, QPY older than version 13, or does not fit its PUB.
    """
    from qiskit.primitives.containers.bindings_array import BindingsArray
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    def value(name: str) -> Any:
        return PUBS.columns[name].value(file.value(f"{PUBS.at(workload)}/{name}", row))

    circuit = read_circuit(file, workload, isa, row)
    names = tuple(json.loads(value("parameter_names_json")))
    shape = tuple(json.loads(value("parameter_shape_json")))
    values = read_parameter_values(file, workload, row)
    if values is None:
        values = np.empty((*shape, len(names)))
    try:
        bindings = BindingsArray({names: values} if names else None, shape=shape)
        if value("kind") == "sampler":
            return SamplerPub(circuit, bindings, value("shots"))
        column = "isa_observables_json" if isa else "observables_json"
        # One by one: these texts may be large.
        text = file.cell(f"{PUBS.at(workload)}/{column}", row)
        observables = load_observables(text, circuit.num_qubits)
        return EstimatorPub(circuit, observables, bindings, value("precision"))
    except (ValueError, TypeError) as error:
        raise ArchiveError(
            f"PUB {row} of {workload!r} in {file.path} does not fit its circuit ({error}): the "
            "file is damaged"
        ) from error


def load_observables(text: str, num_qubits: int) -> ObservablesArray:
    """Decode nested lists of `{Pauli string: coefficient}`, terms in the order written."""
    from qiskit.primitives.containers.observables_array import ObservablesArray
    from qiskit.quantum_info import SparseObservable

    def build(node: Any) -> Any:
        if isinstance(node, list):
            return [build(item) for item in node]
        return SparseObservable.from_list(list(node.items()), num_qubits=num_qubits)

    return ObservablesArray(build(json.loads(text)), num_qubits=num_qubits, validate=False)
