"""PUBs as rows: circuit, parameter values, observables, shots or precision, as bytes and numbers.

A row is made once, where its circuit was transpiled, possibly in a worker process. The rows of a
partition become the tables of its part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.circuits import CircuitRow, circuit_row, circuit_table, load_circuit
from qexp.archive.schema import ISA_CIRCUITS, LOGICAL_CIRCUITS, PARAMETERS, PUBS
from qexp.archive.tables import ColumnData, Table, TableData
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.primitives.containers.observables_array import ObservablesArray

    from qexp.core.model import PlannedPub, Pub


@dataclass(frozen=True, eq=False)
class PubRow:
    """One PUB, ready to be stored; small enough to be sent between processes.

    Attributes:
        index: Index within the workload.
        cells: Cells of `/pubs/W`, by column.
        parameters: Parameter values, float64, shape (sweep..., parameters); None without.
        logical: Circuit as generated.
        isa: Circuit as transpiled.
    """

    index: int
    cells: Mapping[str, Any]
    parameters: NDArray[Any] | None
    logical: CircuitRow
    isa: CircuitRow


def pub_rows(
    workload: str, pubs: Sequence[PlannedPub], redact: Callable[[str], str]
) -> list[PubRow]:
    """Encode PUBs. A circuit that several have in common is encoded once.

    Args:
        workload: Name of their workload.
        pubs: The PUBs, as generated and as transpiled.
        redact: Applied to every text, and to the name and metadata in QPY.

    Raises:
        ArchiveError: A circuit has no QPY form.
    """
    circuits: dict[int, CircuitRow] = {}

    def encoded(pub: Pub, table: Table, index: int) -> CircuitRow:
        key = id(pub.circuit)
        if key not in circuits:
            circuits[key] = circuit_row(pub.circuit, f"{index} of {table.at(workload)}", redact)
        return circuits[key]

    return [
        PubRow(
            pub.index,
            _cells(pub, redact),
            pub.isa.parameter_values.as_array().astype("<f8")
            if _parameter_group(pub.isa)
            else None,
            encoded(pub.logical, LOGICAL_CIRCUITS, pub.index),
            encoded(pub.isa, ISA_CIRCUITS, pub.index),
        )
        for pub in pubs
    ]


def _cells(pub: PlannedPub, redact: Callable[[str], str]) -> dict[str, Any]:
    isa = pub.isa
    bindings = isa.parameter_values
    return {
        "pub": pub.index,
        "kind": "estimator" if hasattr(isa, "observables") else "sampler",
        "shots": getattr(isa, "shots", None),
        "precision": getattr(isa, "precision", None),
        "shape_json": dumps(list(isa.shape)),
        "parameter_names_json": dumps([n for names in bindings.data for n in names], redact),
        "parameter_shape_json": dumps(list(bindings.shape)),
        "parameter_group": _parameter_group(isa),
        "observables_json": _observables(pub.logical, redact),
        "isa_observables_json": _observables(isa, redact),
    }


def _parameter_group(pub: Pub) -> str:
    """Name the group of the PUBs with the same shape of parameter values, `""` without any."""
    values = pub.parameter_values
    shape = (*values.shape, values.num_parameters)
    return "" if 0 in shape else "x".join(map(str, shape))


def pub_tables(workload: str, partition: int, rows: Sequence[PubRow]) -> dict[str, TableData]:
    """Return the tables of the PUBs of one partition, by path.

    Args:
        workload: Name of the workload.
        partition: Index of the partition.
        rows: The PUBs, in order.
    """
    cells = [{**row.cells, "partition": partition} for row in rows]
    indices = [row.index for row in rows]
    tables = {PUBS.at(workload): PUBS.rows(cells)}
    for table, circuits in (
        (LOGICAL_CIRCUITS, [row.logical for row in rows]),
        (ISA_CIRCUITS, [row.isa for row in rows]),
    ):
        tables[table.at(workload)] = circuit_table(table, table.at(workload), indices, circuits)
    groups: dict[str, list[PubRow]] = {}
    for row in rows:
        if row.parameters is not None:
            groups.setdefault(row.cells["parameter_group"], []).append(row)
    for group, members in sorted(groups.items()):
        values = np.stack([row.parameters for row in members if row.parameters is not None])
        dims = ("pub", *(f"sweep_{k}" for k in range(values.ndim - 2)), "parameter")
        units = {"units": PARAMETERS.columns["values"].unit}
        pub = PARAMETERS.data({"pub": [row.index for row in members]}).columns["pub"]
        columns = {"pub": pub, "values": ColumnData(values, dims, units)}
        tables[PARAMETERS.at(workload, group)] = TableData(columns)
    return tables


def _observables(pub: Any, redact: Callable[[str], str]) -> str:
    return dumps(pub.observables.tolist(), redact) if hasattr(pub, "observables") else ""


def isa_pubs(tables: Mapping[str, TableData], workload: str, path: Path) -> Iterator[Pub]:
    """Yield the ISA PUBs of a partition, in order.

    Args:
        tables: The tables of its part, open.
        workload: Name of the workload.
        path: Path of the part, for errors.

    Raises:
        ArchiveError: A circuit is damaged or does not fit its PUB.
    """
    columns: dict[str, Any] = {
        name: column.texts() if column.is_text else column.values[:]
        for name, column in tables[PUBS.at(workload)].columns.items()
    }
    isa = tables[ISA_CIRCUITS.at(workload)].columns
    start, size = np.asarray(isa["qpy_start"].values), np.asarray(isa["qpy_size"].values)
    qpy: Any = isa["qpy"].values
    seen: dict[str, int] = {}
    for k in range(len(start)):
        group, values = columns["parameter_group"][k], None
        if group:
            position = seen.get(group, 0)
            values = tables[PARAMETERS.at(workload, group)].columns["values"].values[position]
            seen[group] = position + 1
        cells = {name: column[k] for name, column in columns.items()}
        raw = qpy[start[k] : start[k] + size[k]].tobytes()
        where = f"{cells['pub']} of {workload!r} in {path}"
        yield load_pub(cells, raw, values, isa=True, where=where)


def load_pub(
    cells: Mapping[str, Any],
    qpy: bytes,
    values: NDArray[Any] | None,
    *,
    isa: bool,
    where: str,
) -> Pub:
    """Rebuild one PUB.

    Args:
        cells: Its row of `/pubs/W`.
        qpy: Its circuit.
        values: Parameter values, shape (sweep..., parameters), or None without parameters.
        isa: True for the observables as laid out.
        where: What is being read, for errors.

    Raises:
        ArchiveError: The circuit is damaged or does not fit its PUB.
    """
    from qiskit.primitives.containers.bindings_array import BindingsArray
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    circuit = load_circuit(qpy, where)
    row = PUBS.values({name: cells[name] for name in ("kind", "shots", "precision")})
    names = tuple(json.loads(cells["parameter_names_json"]))
    shape = tuple(json.loads(cells["parameter_shape_json"]))
    if values is None:
        values = np.empty((*shape, len(names)))
    try:
        bindings = BindingsArray({names: values} if names else None, shape=shape)
        if row["kind"] == "sampler":
            return SamplerPub(circuit, bindings, row["shots"])
        text = cells["isa_observables_json" if isa else "observables_json"]
        observables = load_observables(text, circuit.num_qubits)
        return EstimatorPub(circuit, observables, bindings, row["precision"])
    except (ValueError, TypeError) as error:
        raise ArchiveError(
            f"PUB {where} does not fit its circuit ({error}): the file is damaged"
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
