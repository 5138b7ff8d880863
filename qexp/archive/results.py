"""Results as tables: PUBs whose data has the same fields, types and shapes share one group."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.archive.tables import Column, Table, numbers, texts
from qexp.core.digest import is_array, pub_digest
from qexp.core.jsonable import dumps

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray
    from qiskit.primitives import BitArray, PubResult

BIT_ORDER: Final = "big-endian: classical bit 0 is the least significant bit of the last byte"
#: What netCDF has no type for is stored in a wider type that it has; reading narrows it again.
_STORED: Final = {"b": "|i1", "f2": "<f4"}
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED: Final = re.compile(r"pub|sha256|shot|part|(field|sweep)_\d+|.*_(byte|shot|axis_\d+)")
_MAX_GROUP_NAME: Final = 64


@dataclass(frozen=True)
class Field:
    """How one field of a `DataBin` is stored.

    Attributes:
        name: Name of the field.
        variable: Name of its dataset: the field's own where netCDF allows it.
        kind: `"bits"` (`BitArray`), `"array"`, `"scalar"` (NumPy scalar) or `"json"`.
        dtype: NumPy's `dtype.str` of the value.
        shape: Shape of the value of one PUB.
        num_bits: Bits per shot (`"bits"` only).
    """

    name: str
    variable: str
    kind: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    num_bits: int = 0


@dataclass(frozen=True)
class Signature:
    """What the PUBs of one results group have in common."""

    result_class: str
    shape: tuple[int, ...]
    fields: tuple[Field, ...]

    @classmethod
    def of(cls, result: PubResult) -> Signature:
        """The signature of a PUB's result."""
        from qiskit.primitives import SamplerPubResult

        fields = tuple(
            _field(k, name, value) for k, (name, value) in enumerate(result.data.items())
        )
        kind = "SamplerPubResult" if isinstance(result, SamplerPubResult) else "PubResult"
        return cls(kind, tuple(result.data.shape), fields)

    @classmethod
    def from_json(cls, text: str) -> Signature:
        """Parse the attribute `signature_json` of a results group."""
        plain = json.loads(text)
        fields = tuple(Field(**{**f, "shape": tuple(f["shape"])}) for f in plain["fields"])
        return cls(plain["result_class"], tuple(plain["shape"]), fields)

    def to_json(self) -> str:
        """The attribute `signature_json` of a results group."""
        return dumps(self)

    def group(self) -> str:
        """Name of the group, `-` between its parts: fields, bits of each, shape of one PUB.

        Equal names mean equal signatures: what the short form does not say, a hash does.
        """
        bits = [f for f in self.fields if f.kind == "bits"]
        names = [
            f"{f.variable}-{f.num_bits}b" if f.kind == "bits" else f.variable for f in self.fields
        ]
        shape = bits[0].shape[:-1] if bits else self.shape
        name = "-".join([*names, "x".join(map(str, shape)) or "0d"])
        if self._is_usual() and len(name) <= _MAX_GROUP_NAME:
            return name
        tail = hashlib.sha256(self.to_json().encode()).hexdigest()[:16]
        return f"{name[: _MAX_GROUP_NAME - 17]}-{tail}"

    def _is_usual(self) -> bool:
        """Registers with the same shots, or real expectation values of the PUB's shape."""
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


def _field(position: int, name: str, value: Any) -> Field:
    plain = _NAME.fullmatch(name) and not _RESERVED.fullmatch(name) and len(name) <= 40
    variable = name if plain else f"field_{position}"
    if hasattr(value, "num_bits") and hasattr(value, "array"):
        shape = tuple(value.array.shape)
        return Field(name, variable, "bits", "|u1", shape, int(value.num_bits))
    if is_array(value):
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        return Field(name, variable, kind, value.dtype.str, tuple(value.shape))
    return Field(name, variable, "json")


def result_tables(
    workload: str, first: int, results: Iterable[PubResult], redact: Callable[[str], str]
) -> dict[str, Table]:
    """Encode the PUB results of one job: tables by path.

    `result_index/<workload>` (in parts only) says for each PUB where its data is.

    Args:
        workload: Name of the workload.
        first: Index of the job's first PUB within the workload.
        results: The results, in order.
        redact: Applied to every text.
    """
    groups: dict[str, tuple[Signature, list[int], list[PubResult]]] = {}
    index: dict[str, list[Any]] = {"group": [], "row": [], "metadata_json": [], "sha256": []}
    for position, result in enumerate(results):
        signature = Signature.of(result)
        name = signature.group()
        _, members, rows = groups.setdefault(name, (signature, [], []))
        index["group"].append(name)
        index["row"].append(len(members))
        index["metadata_json"].append(dumps(result.metadata, redact))
        index["sha256"].append(pub_digest(dict(result.data.items())))
        members.append(position)
        rows.append(result)
    if not index["group"]:
        return {}
    tables = {
        f"result_index/{workload}": Table(
            {
                "group": texts(index["group"], "pub"),
                "row": numbers(index["row"], "pub", "<i8"),
                "metadata_json": texts(index["metadata_json"], "pub"),
                "sha256": texts(index["sha256"], "pub"),
            }
        )
    }
    for name, (signature, members, rows) in sorted(groups.items()):
        columns = {
            "pub": numbers([first + k for k in members], "pub", "<i8"),
            "sha256": texts([index["sha256"][k] for k in members], "pub"),
            **_data_columns(signature, rows, redact),
        }
        attrs = {"signature_json": signature.to_json()}
        tables[f"results/{workload}/{name}"] = Table(columns, attrs)
    return tables


def _data_columns(
    signature: Signature, rows: Sequence[PubResult], redact: Callable[[str], str]
) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    sizes: dict[str, int] = {}
    for field in signature.fields:
        values = [row.data[field.name] for row in rows]
        if field.kind == "json":
            columns[field.variable] = texts([dumps(value, redact) for value in values], "pub")
            continue
        if 0 in field.shape:
            continue
        if field.kind == "bits":
            array = np.stack([value.array for value in values])
            attrs = {"num_bits": field.num_bits, "register": field.name, "bit_order": BIT_ORDER}
        else:
            array = _to_stored(np.stack([np.asarray(value) for value in values]))
            attrs = {"field": field.name, "numpy_dtype": field.dtype}
        dims = ("pub", *_dims(field, signature, array.shape[1:], sizes))
        columns[field.variable] = Column(array, dims, attrs)
    return columns


def _dims(
    field: Field, signature: Signature, shape: tuple[int, ...], sizes: dict[str, int]
) -> tuple[str, ...]:
    """Names of a field's dimensions; fields share a name where they share the size."""
    sweep = len(signature.shape)
    names = [f"sweep_{k}" for k in range(sweep)]
    extra = range(len(shape) - sweep)
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
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if little.dtype.kind == "c":
        real = f"<f{little.dtype.itemsize // 2}"
        return np.ascontiguousarray(little).view(real).reshape(*little.shape, 2)
    key = "b" if little.dtype.kind == "b" else little.dtype.str[1:]
    return little.astype(_STORED.get(key, little.dtype))


def decode_field(field: Field, stored: Any) -> BitArray | NDArray[Any] | Any:
    """A field's value, equal in type, dtype and shape to what the job returned.

    Args:
        field: How it is stored.
        stored: Its row of the dataset, or None where the value has no elements.
    """
    if field.kind == "json":
        return json.loads(stored)
    dtype = np.dtype(field.dtype)
    if stored is None:
        array = np.empty(field.shape, dtype)
    elif dtype.kind == "c":
        little = np.ascontiguousarray(stored).view(dtype.newbyteorder("<"))
        array = little.reshape(field.shape).astype(dtype, copy=False)
    else:
        array = np.asarray(stored).astype(dtype, copy=False).reshape(field.shape)
    if field.kind == "bits":
        from qiskit.primitives import BitArray

        return BitArray(array, field.num_bits)
    return array[()] if field.kind == "scalar" else array


class ResultGroup:
    """The results of PUBs with one signature, as stored.

    Args:
        group: The group, open.
    """

    def __init__(self, group: h5py.Group) -> None:
        self.signature = Signature.from_json(group.attrs["signature_json"])
        self._datasets = {
            entry.variable: group[entry.variable]
            for entry in self.signature.fields
            if entry.kind == "json" or entry.variable in group
        }

    def row(self, row: int) -> dict[str, Any]:
        """The fields of one PUB."""
        values = {}
        for entry in self.signature.fields:
            stored = None
            if entry.kind == "json":
                stored = self._datasets[entry.variable].asstr()[row]
            elif entry.variable in self._datasets:
                stored = self._datasets[entry.variable][row]
            values[entry.name] = decode_field(entry, stored)
        return values


def decode_result(
    signature: Signature, values: Mapping[str, Any], metadata: Mapping[str, Any]
) -> PubResult:
    """Qiskit's own result of one PUB.

    Args:
        signature: Of its group.
        values: Field name -> value, as `decode_field` returns.
        metadata: The PUB's metadata.
    """
    from qiskit.primitives import DataBin, PubResult, SamplerPubResult

    data = DataBin(shape=signature.shape, **values)
    result = SamplerPubResult if signature.result_class == "SamplerPubResult" else PubResult
    return result(data, dict(metadata))
