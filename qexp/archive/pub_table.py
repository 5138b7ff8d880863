"""The PUBs of a workload as a table: names, sizes, parameters, observables, no circuits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.archive_file import ArchiveFile, locate
from qexp.archive.pubs import read_parameter_values
from qexp.archive.schema import ISA_CIRCUITS, LOGICAL_CIRCUITS, PARAMETERS, PUBS
from qexp.archive.tables import Table
from qexp.core.jsonable import dumps

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _cell(table: Table, name: str) -> Any:
    """Declare an attribute of `PubSummary` by its column."""
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
    """One PUB by its digests. Equal `question` means that the same distribution was asked for.

    Attributes:
        kind: `"sampler"` or `"estimator"`.
        logical: Identity of the circuit as generated, see `qexp.archive.circuit_digest`.
        isa: Identity of the circuit as transpiled.
        parameters: Digest of names, shape and values of the parameters.
        observables: Observables as generated, as JSON; `""` for a sampler.
        shots: Shots, or None.
        precision: Target standard error, or None.
        result: Digest of its result, `""` without one.
    """

    kind: str
    logical: str
    isa: str
    parameters: str
    observables: str
    shots: int | None
    precision: float | None
    result: str

    @property
    def question(self) -> tuple[str, str, str, str]:
        """Kind, circuit as generated, parameters and observables."""
        return self.kind, self.logical, self.parameters, self.observables


class PubTable:
    """The PUBs of one workload without their circuits, read as `PubSummary`.

    Args:
        file: File of the archive.
        workload: Name of the workload.
    """

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
        columns = {each.name: each.metadata["column"] for each in fields(PubSummary)}
        return {
            attribute: self._file.column(f"{table.at(self._workload)}/{name}").tolist()
            for attribute, (table, name) in columns.items()
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
            # Sweeps are broadcast against observables from the last axis on.
            return np.broadcast_to(values, (*summary.shape, values.shape[-1]))

    def observables(self, index: int) -> NDArray[Any]:
        """Return the observable at every point of a PUB as text, `""` for a Sampler.

        A Pauli string that stands alone with coefficient 1 is the text; anything else is a JSON
        object, Pauli string -> coefficient. Qubit 0 is the rightmost letter.
        """
        with self._file.reading():
            text = self._file.column(f"{PUBS.at(self._workload)}/observables_json")[index]
            if text != self._observables[0]:
                # The last one: PUBs that follow each other often share their observables.
                self._observables = text, np.array(_as_texts(json.loads(text)), dtype=object)
            return np.broadcast_to(self._observables[1], self[index].shape)


def _as_texts(nested: Any) -> Any:
    """Convert nested lists of `{Pauli string: coefficient}` to nested lists of texts."""
    if isinstance(nested, list):
        return [_as_texts(item) for item in nested]
    (first, *others) = nested.items() if nested else [("", 0.0)]
    return first[0] if first[1] == 1 and not others else dumps(nested)


def pub_identities(path: str | Path) -> dict[str, tuple[PubIdentity, ...]]:
    """Return the identities of all PUBs: workload -> by index. No circuit is decoded.

    Args:
        path: The file `run.h5`, or the run's folder.

    Raises:
        ArchiveError: There is no such file, or it cannot be read.
    """
    with ArchiveFile(locate(Path(path))) as file:
        return {name: _identities(file, name) for name in file.groups("pubs")}


def _identities(file: ArchiveFile, workload: str) -> tuple[PubIdentity, ...]:
    def column(table: Table, name: str) -> list[Any]:
        cells = file.column(f"{table.at(workload)}/{name}").tolist()
        return [table.columns[name].value(cell) for cell in cells]

    with file.reading():
        columns = (
            column(PUBS, "kind"),
            column(LOGICAL_CIRCUITS, "sha256"),
            column(ISA_CIRCUITS, "sha256"),
            _parameter_digests(file, workload),
            column(PUBS, "observables_json"),
            column(PUBS, "shots"),
            column(PUBS, "precision"),
            [digest or "" for digest in column(PUBS, "result_sha256")],
        )
        return tuple(starmap(PubIdentity, zip(*columns, strict=True)))


def _parameter_digests(file: ArchiveFile, workload: str) -> list[str]:
    table = PUBS.at(workload)
    names, shapes = (file.texts(f"{table}/parameter_{name}_json") for name in ("names", "shape"))
    digests = [
        hashlib.sha256(f"{name}\n{shape}\n".encode())
        for name, shape in zip(names, shapes, strict=True)
    ]
    for group in file.groups(f"parameters/{workload}"):
        path = PARAMETERS.at(workload, group)
        values, pubs = (file.column(f"{path}/{name}") for name in ("values", "pub"))
        for pub, row in zip(pubs.tolist(), values, strict=True):
            digests[pub].update(np.ascontiguousarray(row, "<f8").tobytes())
    return [digest.hexdigest() for digest in digests]
