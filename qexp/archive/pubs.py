"""PUBs as rows: circuit, parameter values, observables, shots or precision, written and read back.

A row is made once, where its circuit was transpiled, possibly in a worker process. The rows of a
partition become the tables of its part. They are read back as Qiskit's PUBs, or without their
circuits: as `PubSummary` (names, sizes, parameters, observables), as `PubIdentity` (digests).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.archive_file import ArchiveFile, locate
from qexp.archive.circuits import circuit_cells, load_circuit
from qexp.archive.schema import ISA_CIRCUITS, LOGICAL_CIRCUITS, PARAMETERS, PUBS
from qexp.archive.tables import Table
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.observables_array import ObservablesArray

    from qexp.archive.circuit_digest import Reading
    from qexp.core.model import PlannedPub, Pub


@dataclass(frozen=True, eq=False)
class PubRow:
    """One PUB, ready to be stored; small enough to be sent between processes.

    `cells` maps the path of a table to the cells of its row, by column.
    """

    index: int
    cells: Mapping[str, Mapping[str, Any]]
    isa_qpy: bytes

    def with_accuracy(self, workload: str, shots: int | None, precision: float | None) -> PubRow:
        """Return the row of the same PUB of a workload with other shots or another precision."""
        path = PUBS.at(workload)
        own = {**self.cells[path], "shots": shots, "precision": precision}
        return replace(self, cells={**self.cells, path: own})


def pub_rows(
    workload: str,
    pubs: Sequence[PlannedPub],
    redact: Callable[[str], str],
    readings: Mapping[int, Reading] | None = None,
) -> list[PubRow]:
    """Encode PUBs of a workload, with `redact` applied to every text, in QPY too.

    A circuit that several have in common is encoded once. `readings` are those of ISA circuits
    that were read already, by the index of their PUB.

    Raises:
        ArchiveError: A circuit has no QPY form.
    """
    encoded: dict[int, dict[str, Any]] = {}

    def cells_of(
        circuit: QuantumCircuit, path: str, index: int, reading: Reading | None = None
    ) -> dict[str, Any]:
        if id(circuit) not in encoded:
            encoded[id(circuit)] = circuit_cells(circuit, f"{index} of {path}", redact, reading)
        return {"pub": index, **encoded[id(circuit)]}

    rows = []
    for pub in pubs:
        logical, isa = LOGICAL_CIRCUITS.at(workload), ISA_CIRCUITS.at(workload)
        cells = {
            PUBS.at(workload): _pub_cells(pub, redact),
            logical: cells_of(pub.logical.circuit, logical, pub.index),
            isa: cells_of(pub.isa.circuit, isa, pub.index, (readings or {}).get(pub.index)),
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
    start, size = (int(file.cached_cell(f"{table}/qpy_{name}", row)) for name in ("start", "size"))
    qpy = file.cell(f"{table}/qpy", slice(start, start + size)).tobytes()
    return load_circuit(qpy, f"{table}[{row}] in {file.path}")


def read_parameter_values(file: ArchiveFile, workload: str, row: int) -> NDArray[Any] | None:
    """Read the values of a PUB, shape (sweep..., parameters); None without parameters."""
    table = PUBS.at(workload)
    group = file.cached_cell(f"{table}/parameter_group", row)
    if not group:
        return None
    path = PARAMETERS.at(workload, group)
    index = file.cached_cell(f"{table}/pub", row)
    return file.cell(f"{path}/values", int(np.searchsorted(file.column(f"{path}/pub"), index)))


def read_pub(file: ArchiveFile, workload: str, isa: bool, row: int) -> Pub:
    """Read one PUB, as generated or as submitted (`isa`), from an archive or a part.

    Raises:
        ArchiveError: The circuit is damaged, QPY older than version 13, or does not fit its PUB.
    """
    from qiskit.primitives.containers.bindings_array import BindingsArray
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    def value(name: str) -> Any:
        return PUBS.columns[name].decode(file.cached_cell(f"{PUBS.at(workload)}/{name}", row))

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
        observables = _load_observables(text, circuit.num_qubits)
        return EstimatorPub(circuit, observables, bindings, value("precision"))
    except (ValueError, TypeError) as error:
        raise ArchiveError(
            f"PUB {row} of {workload!r} in {file.path} does not fit its circuit ({error}): the "
            "file is damaged"
        ) from error


def _load_observables(text: str, num_qubits: int) -> ObservablesArray:
    """Decode nested lists of `{Pauli string: coefficient}`, terms in the order written."""
    from qiskit.primitives.containers.observables_array import ObservablesArray
    from qiskit.quantum_info import SparseObservable

    def build(node: Any) -> Any:
        if isinstance(node, list):
            return [build(item) for item in node]
        return SparseObservable.from_list(list(node.items()), num_qubits=num_qubits)

    return ObservablesArray(build(json.loads(text)), num_qubits=num_qubits, validate=False)


def _cell(table: Table, name: str) -> Any:
    """Declare an attribute of `PubSummary` that holds the cell of a column."""
    return field(metadata={"column": (table, name)})


@dataclass(frozen=True)
class PubSummary:
    """One PUB without its circuits.

    `num_qubits`, `depth` and `size` are those of the circuit as generated. PUBs whose results have
    the same fields, types and shapes share a `group`; it and `metadata_json` are `""` without one.
    """

    index: int = _cell(PUBS, "pub")
    kind: str = _cell(PUBS, "kind")
    shape: tuple[int, ...] = _cell(PUBS, "shape_json")
    circuit: str = _cell(LOGICAL_CIRCUITS, "name")
    circuit_sha256: str = _cell(LOGICAL_CIRCUITS, "sha256")
    num_qubits: int = _cell(LOGICAL_CIRCUITS, "num_qubits")
    depth: int = _cell(LOGICAL_CIRCUITS, "depth")
    size: int = _cell(LOGICAL_CIRCUITS, "size")
    isa_depth: int = _cell(ISA_CIRCUITS, "depth")
    isa_size: int = _cell(ISA_CIRCUITS, "size")
    parameter_names: tuple[str, ...] = _cell(PUBS, "parameter_names_json")
    group: str = _cell(PUBS, "result_group")
    metadata_json: str = _cell(PUBS, "result_metadata_json")


@dataclass(frozen=True)
class PubIdentity:
    """One PUB by its digests; with an equal `measurement_key` two have the same distribution."""

    kind: str
    logical: str  # identity of the circuit as generated, see `qexp.archive.circuit_digest`
    isa: str  # identity of the circuit as transpiled
    parameters: str  # digest of names, shape and values of the parameters
    observables: str  # observables as generated, as JSON; `""` for a sampler
    shots: int | None
    precision: float | None
    result: str  # digest of its result, `""` without one

    @property
    def measurement_key(self) -> tuple[str, str, str, str]:
        """Kind, circuit as generated, parameters and observables."""
        return self.kind, self.logical, self.parameters, self.observables


class PubTable:
    """The PUBs of one workload without their circuits, read as `PubSummary`."""

    def __init__(self, file: ArchiveFile, workload: str) -> None:
        self._file = file
        self._workload = workload
        self._observables: tuple[str, NDArray[Any]] = ("", np.array("", dtype=object))

    def __len__(self) -> int:
        return self._file.count(f"{PUBS.at(self._workload)}/pub")

    def __iter__(self) -> Iterator[PubSummary]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def _cells(self) -> dict[str, list[Any]]:
        return {
            each.name: _column(self._file, self._workload, *each.metadata["column"])
            for each in fields(PubSummary)
        }

    def __getitem__(self, index: int) -> PubSummary:
        with self._file.reading():
            cells = {name: column[index] for name, column in self._cells.items()}
            for name in ("shape", "parameter_names"):
                cells[name] = tuple(json.loads(cells[name]))
            return PubSummary(**cells)

    def parameter_values(self, index: int) -> NDArray[Any]:
        """Return the parameter values of a PUB, float64, shape (*shape of the PUB, parameters)."""
        with self._file.reading():
            summary = self[index]
            values = read_parameter_values(self._file, self._workload, index)
            if values is None:
                return np.empty((*summary.shape, len(summary.parameter_names)))
            # Sweeps and observables are broadcast along their last axes.
            return np.broadcast_to(values, (*summary.shape, values.shape[-1]))

    def observables(self, index: int) -> NDArray[Any]:
        """Return the observable of each element of a PUB's shape as text, `""` for a Sampler.

        A single Pauli string with coefficient 1 is the text itself; anything else is a JSON object,
        Pauli string -> coefficient. Qubit 0 is the rightmost letter.
        """
        with self._file.reading():
            text = self._file.column(f"{PUBS.at(self._workload)}/observables_json")[index]
            if text != self._observables[0]:
                # Only the last one is kept: consecutive PUBs often share their observables.
                self._observables = text, observable_texts(text)
            return np.broadcast_to(self._observables[1], self[index].shape)


def observable_texts(document: str) -> NDArray[Any]:
    """Return the observables of a PUB, given as JSON, as texts; see `PubTable.observables`."""
    return np.array(_as_texts(json.loads(document)), dtype=object)


def _as_texts(nested: Any) -> Any:
    """Convert nested lists of `{Pauli string: coefficient}` to nested lists of texts."""
    if isinstance(nested, list):
        return [_as_texts(item) for item in nested]
    (first, *others) = nested.items() if nested else [("", 0.0)]
    return first[0] if first[1] == 1 and not others else dumps(nested)


def pub_identities(path: str | Path) -> dict[str, tuple[PubIdentity, ...]]:
    """Return the identities of all PUBs of a run: workload -> by index. No circuit is decoded.

    Raises:
        ArchiveError: There is no such file, or it cannot be read.
    """
    with ArchiveFile(locate(Path(path))) as file:
        return {name: _identities(file, name) for name in file.groups("pubs")}


def _identities(file: ArchiveFile, workload: str) -> tuple[PubIdentity, ...]:
    def given(name: str) -> list[Any]:
        return [PUBS.columns[name].decode(cell) for cell in _column(file, workload, PUBS, name)]

    with file.reading():
        columns = (
            _column(file, workload, PUBS, "kind"),
            _column(file, workload, LOGICAL_CIRCUITS, "sha256"),
            _column(file, workload, ISA_CIRCUITS, "sha256"),
            _parameter_digests(file, workload),
            _column(file, workload, PUBS, "observables_json"),
            given("shots"),
            given("precision"),
            _column(file, workload, PUBS, "result_sha256"),
        )
        return tuple(starmap(PubIdentity, zip(*columns, strict=True)))


def submitted_digests(file: ArchiveFile, workload: str) -> list[str]:
    """Return a SHA-256 of what the service is sent of each PUB, from an archive or a part.

    Of kind, ISA circuit, parameters, observables on the device's qubits, shots and precision.
    """
    with file.reading():
        columns = (
            _column(file, workload, PUBS, "kind"),
            _column(file, workload, ISA_CIRCUITS, "sha256"),
            _parameter_digests(file, workload),
            _column(file, workload, PUBS, "isa_observables_json"),
            _column(file, workload, PUBS, "shots"),
            _column(file, workload, PUBS, "precision"),
        )
        return [
            hashlib.sha256("\n".join(map(str, cells)).encode()).hexdigest()
            for cells in zip(*columns, strict=True)
        ]


def _column(file: ArchiveFile, workload: str, table: Table, name: str) -> list[Any]:
    return file.column(f"{table.at(workload)}/{name}").tolist()


def _parameter_digests(file: ArchiveFile, workload: str) -> list[str]:
    table = PUBS.at(workload)
    names, shapes = (file.texts(f"{table}/parameter_{name}_json") for name in ("names", "shape"))
    digests = [
        hashlib.sha256(f"{name}\n{shape}\n".encode())
        for name, shape in zip(names, shapes, strict=True)
    ]
    # A part begins with another PUB than the first of the workload.
    before = int(file.column(f"{table}/pub")[0]) if digests else 0
    for group in sorted({*file.texts(f"{table}/parameter_group")} - {""}):
        path = PARAMETERS.at(workload, group)
        values, pubs = (file.column(f"{path}/{name}") for name in ("values", "pub"))
        for pub, row in zip(pubs.tolist(), values, strict=True):
            digests[pub - before].update(np.ascontiguousarray(row, "<f8").tobytes())
    return [digest.hexdigest() for digest in digests]
