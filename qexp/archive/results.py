"""Results as tables: PUBs whose data have the same fields, types and shapes share a group."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.digests import is_array, pub_digest
from qexp.archive.schema import PUBS, RAW, READOUT, RESULTS
from qexp.archive.tables import ColumnData, Table, TableData, int64, text
from qexp.core.jsonable import dumps
from qexp.core.raw import RawData, assemble_raw
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.primitives import BitArray, PubResult
    from samplomatic.quantum_program import QuantumProgramResult

INDEX: Final = Table(
    "result_index/*",
    "pub",
    text("group", "group of the PUB's result"),
    int64("row", "row in that group"),
    text("metadata_json", "metadata of the result"),
    text("sha256", "PUB digest"),
)
"""Table of a job's part that becomes columns of `/pubs/W`; sealing counts rows anew."""
BIT_ORDER: Final = "big-endian: classical bit 0 is the least significant bit of the last byte"
_STORED: Final = {"b": "|i1", "f2": "<f4"}
"""Types stored in place of those that netCDF lacks; reading converts them back."""
MAX_COUNTED_BITS: Final = 10
"""Registers up to this size get a table of counts of all their outcomes."""
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED: Final = re.compile(r"pub|sha256|shot|part|(field|sweep)_\d+|.*_(byte|shot|axis_\d+)")
_MAX_FIELD_NAME: Final = 40
_MAX_GROUP_NAME: Final = 64


@dataclass(frozen=True)
class Field:
    """Storage of one field of a `DataBin`."""

    name: str  # name of the field
    variable: str  # name of its dataset: the field's own if netCDF allows it
    kind: str  # `"bits"` (`BitArray`), `"array"`, `"scalar"` (NumPy scalar) or `"json"`
    dtype: str = ""  # NumPy's `dtype.str` of the value
    shape: tuple[int, ...] = ()  # shape of the value of one PUB
    num_bits: int = 0  # bits per shot (`"bits"` only)

    @classmethod
    def of(cls, position: int, name: str, value: Any) -> Field:
        """Return the storage of the field at `position` of a `DataBin`."""
        plain = _NAME.fullmatch(name) and not _RESERVED.fullmatch(name)
        variable = name if plain and len(name) <= _MAX_FIELD_NAME else f"field_{position}"
        if hasattr(value, "num_bits") and hasattr(value, "array"):
            return cls(name, variable, "bits", "|u1", value.array.shape, int(value.num_bits))
        if is_array(value):
            kind = "array" if isinstance(value, np.ndarray) else "scalar"
            return cls(name, variable, kind, value.dtype.str, value.shape)
        return cls(name, variable, "json")

    def value(self, stored: Any) -> BitArray | NDArray[Any] | Any:
        """Return the field's value, equal in type, dtype and shape to what the job returned.

        `stored` is its row of the dataset, or None if the value has no elements.
        """
        if self.kind == "json":
            return json.loads(stored)
        dtype = np.dtype(self.dtype)
        if stored is None:
            array = np.empty(self.shape, dtype)
        elif dtype.kind == "c":
            little = np.ascontiguousarray(stored).view(dtype.newbyteorder("<"))
            array = little.reshape(self.shape).astype(dtype, copy=False)
        else:
            array = np.asarray(stored).astype(dtype, copy=False).reshape(self.shape)
        if self.kind == "bits":
            from qiskit.primitives import BitArray

            return BitArray(array, self.num_bits)
        return array[()] if self.kind == "scalar" else array


@dataclass(frozen=True)
class Signature:
    """Class, shape and fields that the PUBs of one group of results have in common."""

    result_class: str
    shape: tuple[int, ...]
    fields: tuple[Field, ...]

    @classmethod
    def of(cls, result: PubResult) -> Signature:
        """Return the signature of a PUB's result."""
        from qiskit.primitives import SamplerPubResult

        items = enumerate(result.data.items())
        fields = tuple(Field.of(position, name, value) for position, (name, value) in items)
        kind = "SamplerPubResult" if isinstance(result, SamplerPubResult) else "PubResult"
        return cls(kind, tuple(result.data.shape), fields)

    @classmethod
    def from_json(cls, document: str) -> Signature:
        """Parse the attribute `signature_json` of a group of results."""
        plain = json.loads(document)
        fields = tuple(Field(**{**f, "shape": tuple(f["shape"])}) for f in plain["fields"])
        return cls(plain["result_class"], tuple(plain["shape"]), fields)

    def group(self) -> str:
        """Name the group by fields, bits of each, and the shape of one PUB, joined by `-`.

        Equal names mean equal signatures: a hash is added if the short form is ambiguous.
        """
        bits = [f for f in self.fields if f.kind == "bits"]
        names = [
            f"{f.variable}-{f.num_bits}b" if f.kind == "bits" else f.variable for f in self.fields
        ]
        shape = bits[0].shape[:-1] if bits else self.shape
        name = "-".join([*names, "x".join(map(str, shape)) or "0d"])
        if self._is_usual() and len(name) <= _MAX_GROUP_NAME:
            return name
        tail = hashlib.sha256(dumps(self).encode()).hexdigest()[:16]
        return f"{name[: _MAX_GROUP_NAME - 17]}-{tail}"

    def _is_usual(self) -> bool:
        """Return True for registers with equal shots, or real values of the PUB's shape."""
        if not self.fields or any(f.name != f.variable for f in self.fields):
            return False
        if self.result_class == "SamplerPubResult":
            shots = self.fields[0].shape[-2:-1]
            return all(
                f.kind == "bits" and f.shape[:-1] == (*self.shape, *shots) for f in self.fields
            )
        return all(
            f.kind == "array" and f.dtype == "<f8" and f.shape == self.shape for f in self.fields
        )


def result_tables(
    workload: str,
    first: int,
    results: Sequence[PubResult],
    redact: Callable[[str], str],
    table: Table = RESULTS,
) -> dict[str, TableData]:
    """Return the results of a job, whose first PUB has index `first`, as tables by path.

    Their `INDEX` is one of them, unless they are raw data, of another `table`. `redact` is applied
    to every text.
    """
    groups: dict[Signature, list[int]] = {}
    index = []
    for position, result in enumerate(results):
        signature = Signature.of(result)
        members = groups.setdefault(signature, [])
        cells = {
            "group": signature.group(),
            "row": len(members),
            "metadata_json": dumps(result.metadata, redact),
            "sha256": pub_digest(dict(result.data.items())),
        }
        members.append(position)
        index.append(cells)
    if not index:
        return {}
    tables = {} if table is not RESULTS else {INDEX.at(workload): INDEX.encode_rows(index)}
    for signature, members in sorted(groups.items(), key=lambda item: item[0].group()):
        rows = [{"pub": first + k, "sha256": index[k]["sha256"]} for k in members]
        data = _data_columns(signature, [results[k] for k in members], redact)
        tables[table.at(workload, signature.group())] = TableData(
            {**table.encode_rows(rows).columns, **data}, {"signature_json": dumps(signature)}
        )
    return tables


def raw_tables(
    workload: str, first: int, raw: RawData, redact: Callable[[str], str]
) -> dict[str, TableData]:
    """Return the raw data of a job, whose first PUB has index `first`, as tables by path."""
    tables = result_tables(workload, first, raw.pubs, redact, RAW)
    if raw.calibration is not None:
        tables |= result_tables(workload, first, [raw.calibration], redact, READOUT)
    return tables


def _data_columns(
    signature: Signature, results: Sequence[PubResult], redact: Callable[[str], str]
) -> dict[str, ColumnData]:
    columns: dict[str, ColumnData] = {}
    sizes: dict[str, int] = {}
    for each in signature.fields:
        values = [result.data[each.name] for result in results]
        if each.kind == "json":
            documents = [dumps(value, redact) for value in values]
            columns[each.variable] = text(each.variable, "").encode(documents, RESULTS.dim)
            continue
        if 0 in each.shape:
            continue
        attrs: dict[str, Any] = {"field": each.name, "numpy_dtype": each.dtype}
        if each.kind == "bits":
            array = np.stack([value.array for value in values])
            attrs = {"num_bits": each.num_bits, "register": each.name, "bit_order": BIT_ORDER}
        else:
            array = _to_stored(np.stack([np.asarray(value) for value in values]))
        dims = (RESULTS.dim, *_dims(each, len(signature.shape), array.shape[1:], sizes))
        columns[each.variable] = ColumnData(array, dims, attrs)
    return columns


def _dims(
    field: Field, num_sweep: int, shape: tuple[int, ...], sizes: dict[str, int]
) -> tuple[str, ...]:
    """Name the dimensions of a field; dimensions of equal size share a name."""
    names = [f"sweep_{k}" for k in range(num_sweep)]
    extra = range(len(shape) - num_sweep)
    if field.kind == "bits":
        # A BitArray may have more leading axes than its DataBin declares.
        names += [f"{field.variable}_axis_{k}" for k in extra[:-2]]
        names += ["shot", f"{field.variable}_byte"]
    else:
        names += [f"{field.variable}_axis_{k}" for k in extra]
        if np.dtype(field.dtype).kind == "c":
            names[-1] = "part"
    for k, (name, size) in enumerate(zip(names, shape, strict=True)):
        if sizes.setdefault(name, size) != size:
            names[k] = f"{field.variable}_{name}"
            sizes[names[k]] = size
    return tuple(names)


def _to_stored(array: NDArray[Any]) -> NDArray[Any]:
    """Convert values to a type that netCDF has, little-endian; complex ones to pairs."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if little.dtype.kind == "c":
        real = f"<f{little.dtype.itemsize // 2}"
        return np.ascontiguousarray(little).view(real).reshape(*little.shape, 2)
    key = "b" if little.dtype.kind == "b" else little.dtype.str[1:]
    return little.astype(_STORED.get(key, little.dtype))


_Rows: TypeAlias = dict[int, tuple[str, int]]
"""Index of a PUB -> path of its table, and row."""


class ResultReader:
    """Reads the results of an archive, one PUB at a time."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file
        self._groups: dict[str, tuple[Signature, list[Any]]] = {}
        self._raw_rows: dict[str, tuple[_Rows, _Rows]] = {}  # of PUBs and of calibrations

    def values(self, workload: str, group: str, row: int) -> dict[str, Any]:
        """Return the fields of one PUB by name, given the group of its result and the row."""
        return self.fields(RESULTS.at(workload, group), row)

    def fields(self, path: str, row: int) -> dict[str, Any]:
        """Return the fields in a row of a table of results or of raw data, by name."""
        signature, datasets = self._group(path)
        return {
            each.name: each.value(None if dataset is None else dataset[row])
            for each, dataset in zip(signature.fields, datasets, strict=True)
        }

    def raw(self, workload: str, index: int) -> QuantumProgramResult | None:
        """Return the raw data of a PUB, with the readout calibration of its job; None without."""
        if workload not in self._raw_rows:
            self._raw_rows[workload] = self._rows(RAW, workload), self._rows(READOUT, workload)
        own, readout = self._raw_rows[workload]
        if index not in own:
            return None
        # The calibration of a job is in the row of its first PUB.
        job = max((first for first in readout if first <= index), default=None)
        calibration = None if job is None else self.fields(*readout[job])
        return assemble_raw(self.fields(*own[index]), calibration)

    def _rows(self, table: Table, workload: str) -> _Rows:
        """Return the place of each PUB in the groups of a table: path and row."""
        root = table.at(workload, "").rstrip("/")
        paths = [f"{root}/{group}" for group in self._file.groups(root)]
        return {
            int(pub): (path, row)
            for path in paths
            for row, pub in enumerate(self._file.column(f"{path}/pub"))
        }

    def _group(self, path: str) -> tuple[Signature, list[Any]]:
        """Return the signature of a group and the dataset of each field, opened once."""
        if path not in self._groups:
            opened = self._file.group(path)
            signature = Signature.from_json(opened.attrs["signature_json"])
            datasets = [
                opened[each.variable].asstr() if each.kind == "json" else opened.get(each.variable)
                for each in signature.fields
            ]
            self._groups[path] = signature, datasets
        return self._groups[path]

    def result(self, workload: str, index: int) -> PubResult:
        """Return Qiskit's own result of a PUB that has one.

        Raises:
            ArchiveError: Its data do not have their digest.
        """
        from qiskit.primitives import DataBin, PubResult, SamplerPubResult

        table = PUBS.at(workload)
        group = self._file.cached_cell(f"{table}/result_group", index)
        row = int(self._file.column(f"{table}/result_row")[index])
        values = self.values(workload, group, row)
        if pub_digest(values) != self._file.cached_cell(f"{table}/result_sha256", index):
            raise ArchiveError(
                f"PUB {index} of {workload!r} in {self._file.path} does not have its digest: "
                "restore it from a copy"
            )
        metadata = json.loads(self._file.cell(f"{table}/result_metadata_json", index))
        signature, _ = self._group(RESULTS.at(workload, group))
        data = DataBin(shape=signature.shape, **values)
        is_sampled = signature.result_class == "SamplerPubResult"
        return (SamplerPubResult if is_sampled else PubResult)(data, metadata)


def bits_in(result: PubResult, register: str | None, where: str) -> BitArray:
    """Return the outcomes of one register of a PUB's result; None: of all of them joined.

    Raises:
        ArchiveError: There is no such register; `where` says whose result it is.
    """
    registers = registers_of(result)
    if not registers or register not in (None, *registers):
        known = ", ".join(registers) or "none"
        raise ArchiveError(
            f"{where} has no counts of register {register!r}; its registers: {known}"
        )
    return joined_bits(result) if register is None else result.data[register]


def registers_of(result: PubResult) -> list[str]:
    """Return the names of the classical registers of a result."""
    return [name for name, value in result.data.items() if hasattr(value, "get_counts")]


def joined_bits(result: PubResult) -> Any:
    """Return the shots of all registers joined, of the PUB's shape; None without a register."""
    names = registers_of(result)
    if len(names) > 1:
        return result.join_data(names)
    return result.data[names[0]] if names else None


def counts_of(bits: BitArray) -> dict[str, int]:
    """Return `bits.get_counts()` in a tenth of its time: one text per outcome, not per shot.

    The shots of all parameter sets are counted together.
    """
    num_bytes = bits.array.shape[-1]
    if not num_bytes:
        return bits.get_counts()
    used = np.full(num_bytes, 0xFF, dtype=np.uint8)
    used[0] = 0xFF >> (-bits.num_bits % 8)
    rows = np.ascontiguousarray(bits.array & used).reshape(-1, num_bytes)
    outcomes = Counter(rows.view(f"V{num_bytes}").ravel().tolist())
    return {
        format(int.from_bytes(outcome, "big"), f"0{bits.num_bits}b"): count
        for outcome, count in outcomes.items()
    }


def counts_of_sets(bits: BitArray) -> NDArray[np.object_]:
    """Return the counts of each parameter set, as an array of the shape of `bits`."""
    counts = np.empty(bits.shape, np.object_)
    for index in np.ndindex(bits.shape):
        counts[index] = counts_of(bits[index] if index else bits)
    return counts


def counted(bits: BitArray) -> NDArray[np.int64]:
    """Return how often every outcome occurred: int64, shape (*points, 2**bits)."""
    # Registers that are counted take at most two bytes a shot.
    weights = 256 ** np.arange(bits.array.shape[-1], dtype=np.int64)[::-1]
    outcomes = (bits.array @ weights) & (2**bits.num_bits - 1)
    points = outcomes.reshape(-1, outcomes.shape[-1])
    counts = [np.bincount(point, minlength=2**bits.num_bits) for point in points]
    return np.array(counts).reshape(*outcomes.shape[:-1], -1)
