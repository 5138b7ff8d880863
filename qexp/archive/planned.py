"""What an archive says of the PUBs of a workload: their circuits, parameter values, observables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.circuits import load_circuit
from qexp.archive.file import ArchiveFile
from qexp.archive.pubs import load_pub
from qexp.core.jsonable import dumps

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit import QuantumCircuit

    from qexp.core.model import Pub


@dataclass(frozen=True)
class PubSummary:
    """One PUB, as the tables have it: no circuit is loaded.

    Attributes:
        index: Its index within the workload.
        kind: `"sampler"` or `"estimator"`.
        shape: Shape of the PUB.
        circuit: Name of its circuit.
        circuit_sha256: Identity of the circuit as generated.
        num_qubits: Qubits of the circuit as generated; so are `depth` and `size`.
        depth: As `QuantumCircuit.depth()`.
        size: As `QuantumCircuit.size()`.
        isa_depth: Depth of the ISA circuit.
        isa_size: Size of the ISA circuit.
        parameter_names: Names of the parameters, in the order of the values.
        group: Group of its result: PUBs whose data have the same fields, types and shapes share
            one; `""` without result.
        metadata_json: Metadata of its result, `""` without result.
    """

    index: int
    kind: str
    shape: tuple[int, ...]
    circuit: str
    circuit_sha256: str
    num_qubits: int
    depth: int
    size: int
    isa_depth: int
    isa_size: int
    parameter_names: tuple[str, ...]
    group: str
    metadata_json: str


class PubTable:
    """The PUBs of one workload, without their circuits; quick to go over.

    Args:
        file: The archive's file.
        workload: Name of the workload.
    """

    def __init__(self, file: ArchiveFile, workload: str) -> None:
        self._file = file
        self._workload = workload
        self._observables: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        return self._file.count(f"pubs/{self._workload}/pub")

    def __iter__(self) -> Iterator[PubSummary]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> PubSummary:
        with self._file.reading():
            return PubSummary(
                index=index,
                kind=self._pub("kind", index),
                shape=tuple(json.loads(self._pub("shape_json", index))),
                circuit=self._circuit("logical", "name", index),
                circuit_sha256=self._circuit("logical", "sha256", index),
                num_qubits=int(self._circuit("logical", "num_qubits", index)),
                depth=int(self._circuit("logical", "depth", index)),
                size=int(self._circuit("logical", "size", index)),
                isa_depth=int(self._circuit("isa", "depth", index)),
                isa_size=int(self._circuit("isa", "size", index)),
                parameter_names=tuple(json.loads(self._pub("parameter_names_json", index))),
                group=self._pub("result_group", index),
                metadata_json=self._pub("result_metadata_json", index),
            )

    def parameter_values(self, index: int) -> NDArray[Any]:
        """The parameter values of a PUB at every point: float64, shape (*PUB's shape, parameters).

        Raises:
            ArchiveError: The file is damaged.
        """
        with self._file.reading():
            shape = tuple(json.loads(self._pub("shape_json", index)))
            names = json.loads(self._pub("parameter_names_json", index))
            values = read_parameter_values(self._file, self._workload, index)
            if values is None:
                return np.empty((*shape, len(names)))
            # Sweeps are broadcast against observables from the last axis on.
            return np.broadcast_to(values, (*shape, values.shape[-1]))

    def observables(self, index: int) -> NDArray[Any]:
        """The observable of a PUB at every point, as text: shape of the PUB; `""` for a Sampler.

        A Pauli string that stands alone with coefficient 1 is the text; anything else is a JSON
        object, Pauli string -> coefficient. Qubit 0 is the rightmost letter.

        Raises:
            ArchiveError: The file is damaged.
        """
        with self._file.reading():
            shape = tuple(json.loads(self._pub("shape_json", index)))
            text = self._pub("observables_json", index)
            if text not in self._observables:
                # The last one: PUBs that follow each other often share their observables.
                texts = _as_texts(json.loads(text) if text else {"": 1.0})
                self._observables = {text: np.array(texts, dtype=object)}
            return np.broadcast_to(self._observables[text], shape)

    def _pub(self, name: str, index: int) -> Any:
        return self._file.column(f"pubs/{self._workload}/{name}")[index]

    def _circuit(self, form: str, name: str, index: int) -> Any:
        return self._file.column(f"circuits/{self._workload}/{form}/{name}")[index]


def _as_texts(nested: Any) -> Any:
    """Nested lists of `{Pauli string: coefficient}` as nested lists of texts."""
    if isinstance(nested, list):
        return [_as_texts(item) for item in nested]
    (first, *others) = nested.items() if nested else [("", 0.0)]
    return first[0] if first[1] == 1 and not others else dumps(nested)


def read_parameter_values(file: ArchiveFile, workload: str, index: int) -> NDArray[Any] | None:
    """Parameter values of a PUB, shape (sweep..., parameters); None without parameters."""
    group = file.value(f"pubs/{workload}/parameter_group", index)
    if not group:
        return None
    path = f"parameters/{workload}/{group}"
    position = int(np.searchsorted(file.column(f"{path}/pub"), index))
    values: NDArray[Any] = file.cell(f"{path}/values", position)
    return values


def read_circuit(file: ArchiveFile, workload: str, isa: bool, index: int) -> QuantumCircuit:
    """One circuit.

    Raises:
        ArchiveError: It is damaged, or QPY older than version 13.
    """
    return load_circuit(*_qpy(file, workload, isa, index))


def read_pub(file: ArchiveFile, workload: str, isa: bool, index: int) -> Pub:
    """One PUB.

    Raises:
        ArchiveError: It is damaged, or its circuit is QPY older than version 13.
    """
    table = f"pubs/{workload}"
    names = (
        "kind",
        "shots",
        "precision",
        "parameter_names_json",
        "parameter_shape_json",
        "isa_observables_json" if isa else "observables_json",
    )
    row = {name: file.cell(f"{table}/{name}", index) for name in names}
    values = read_parameter_values(file, workload, index)
    raw, where = _qpy(file, workload, isa, index)
    return load_pub(row, raw, values, isa=isa, where=where)


def _qpy(file: ArchiveFile, workload: str, isa: bool, index: int) -> tuple[bytes, str]:
    table = f"circuits/{workload}/{'isa' if isa else 'logical'}"
    start = int(file.value(f"{table}/qpy_start", index))
    size = int(file.value(f"{table}/qpy_size", index))
    raw = file.rows(f"{table}/qpy", start, start + size).tobytes()
    return raw, f"{table}[{index}] in {file.path}"
