"""One netCDF-4 file for xarray, MATLAB, Julia or R: every result unpacked, with its coordinates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.archive.atomic_files import require_space
from qexp.archive.netcdf import NetcdfGroup, netcdf_file
from qexp.archive.pub_table import PubSummary, PubTable
from qexp.archive.read import Archive
from qexp.core.jsonable import dumps
from qexp.export.formats import Format, always

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.primitives import BitArray, PubResult

#: Registers up to this size get a table of counts of all their outcomes.
_MAX_COUNTED_BITS: Final = 10
_BLOCK_BYTES: Final = 16 * 2**20
_MAX_ATTRIBUTE: Final = 32_000
#: Names of variables and dimensions that a register or field may not take.
_OWN: Final = {
    *("pub", "circuit", "circuit_sha256", "num_qubits", "depth", "size", "isa_depth", "isa_size"),
    *("shot", "parameter", "parameter_name", "parameter_value", "observable", "metadata_json"),
}
#: How the names begin that only this module gives.
_PREFIXES: Final = ("_", "sweep_", "field_")
#: What is appended to a field's name.
_END: Final = re.compile(r"_(counts|outcome|bit|shot|axis_\d+|real|imag)")
_COORDINATES: Final = "circuit num_qubits depth size isa_depth isa_size"


@dataclass(frozen=True)
class _Variable:
    """One variable of a group of results.

    Attributes:
        name: Its name.
        dims: Its dimensions after `pub`.
        attrs: Its attributes.
        of: Its values for one PUB, made from what the result has under `field`.
        field: Name of that field.
    """

    name: str
    dims: tuple[str, ...]
    attrs: Mapping[str, Any]
    of: Any
    field: str


def _write(run: Archive, target: Path, _metadata: Mapping[str, Any]) -> Sequence[str]:
    notes = []
    with netcdf_file(target, _attributes(run)) as file:
        for workload in run.workloads:
            table = run.pub_table(workload)
            groups: dict[str, list[PubSummary]] = {}
            for index in run.results[workload].available:
                summary = table[index]
                groups.setdefault(summary.group, []).append(summary)
            attrs = {"long_name": f"results of the workload {workload}", "num_pubs": len(table)}
            parent = file.group(workload, attrs)
            for name, members in groups.items():
                group = parent.group(name, {"kind": members[0].kind})
                _write_group(run, workload, members, group, target)
                notes.append(f"/{workload}/{name}: {len(members):,} PUBs")
    return notes


def _attributes(run: Archive) -> dict[str, Any]:
    metadata = run.metadata
    names = [creator["name"] for creator in metadata.get("creators") or []]
    keywords = metadata.get("keywords") or []
    found = {
        "Conventions": "CF-1.11",
        "title": metadata.get("title") or run.experiment,
        "summary": metadata.get("description"),
        "creator_name": ", ".join(names),
        "license": metadata.get("license"),
        "keywords": ", ".join(keywords),
        "date_created": run.created,
        "source": f"qexp, engine {run.engine}, backend {run.backend['name']}",
        "history": f"{datetime.now(UTC).isoformat(timespec='seconds')} exported from run.h5 "
        f"(qexp schema {run.schema})",
        "run_id": run.run_id,
        "status": run.status,
        "data_sha256": run.data_sha256,
    }
    return {name: str(text)[:_MAX_ATTRIBUTE] for name, text in found.items() if text}


def _write_group(
    run: Archive, workload: str, members: list[PubSummary], group: NetcdfGroup, target: Path
) -> None:
    _put_pubs(members, group)
    _put_points(run.pub_table(workload), members, group)
    results = run.results[workload]
    first = results[members[0].index]
    variables = list(_variables(first, members[0].shape, group))
    one_bytes = sum(_num_bytes(variable.of(first.data[variable.field])) for variable in variables)
    # HDF5 must not find out itself that the disk is full.
    require_space(target, one_bytes * len(members))
    _fill(variables, (results[member.index] for member in members), len(members), group)


def _put_pubs(members: list[PubSummary], group: NetcdfGroup) -> None:
    columns = {
        "pub": ("index of the PUB in its workload", np.int64, [m.index for m in members]),
        "circuit": ("name of the circuit", str, [m.circuit for m in members]),
        "circuit_sha256": ("identity of the circuit", str, [m.circuit_sha256 for m in members]),
        "num_qubits": ("qubits of the circuit", np.int64, [m.num_qubits for m in members]),
        "depth": ("depth of the circuit", np.int64, [m.depth for m in members]),
        "size": ("instructions of the circuit", np.int64, [m.size for m in members]),
        "isa_depth": ("depth of the ISA circuit", np.int64, [m.isa_depth for m in members]),
        "isa_size": ("instructions of the ISA circuit", np.int64, [m.isa_size for m in members]),
        "metadata_json": ("metadata of the result", str, [m.metadata_json for m in members]),
    }
    for name, (long_name, dtype, values) in columns.items():
        group.put(name, ["pub"], np.asarray(values, dtype), {"long_name": long_name})


def _put_points(table: PubTable, members: list[PubSummary], group: NetcdfGroup) -> None:
    """What belongs to each point of the sweeps: values of the parameters, observables."""
    sweep = _sweep(members[0].shape)
    most = max(len(member.parameter_names) for member in members)
    if most and 0 not in members[0].shape:
        values = np.full((len(members), *members[0].shape, most), np.nan)
        for row, member in enumerate(members):
            found = table.parameter_values(member.index)
            values[row, ..., : found.shape[-1]] = found
        _put_parameter_names(members, most, group)
        attrs = {"long_name": "value of the parameter", "coordinates": "circuit"}
        group.put("parameter_value", ["pub", *sweep, "parameter"], values, attrs)
    if members[0].kind == "estimator" and 0 not in members[0].shape:
        observables = np.stack([table.observables(member.index) for member in members])
        attrs = {"long_name": "observable: Pauli string, qubit 0 last, or sum of such as JSON"}
        group.put("observable", ["pub", *sweep], observables, attrs)


def _put_parameter_names(members: list[PubSummary], most: int, group: NetcdfGroup) -> None:
    """As a coordinate where all PUBs have the same parameters, else PUB by PUB."""
    attrs = {"long_name": "name of the parameter"}
    names = [[*m.parameter_names, *[""] * (most - len(m.parameter_names))] for m in members]
    if all(each == names[0] for each in names):
        group.put("parameter", ["parameter"], np.array(names[0], dtype=object), attrs)
    else:
        group.put("parameter_name", ["pub", "parameter"], np.array(names, dtype=object), attrs)


def _sweep(shape: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"sweep_{axis}" for axis in range(len(shape)))


def _variables(
    result: PubResult, shape: tuple[int, ...], group: NetcdfGroup
) -> Iterator[_Variable]:
    """The variables that a result's fields become."""
    names = distinct_names(list(result.data))
    shots = {value.num_shots for value in result.data.values() if hasattr(value, "num_bits")}
    for (field, value), name in zip(result.data.items(), names, strict=True):
        if hasattr(value, "num_bits"):
            shot = "shot" if len(shots) == 1 else f"{name}_shot"
            yield from _of_register(field, name, value, (*_sweep(shape), shot), group)
        else:
            yield from _of_field(field, name, value, shape)


def distinct_names(fields: Sequence[str]) -> list[str]:
    """A name for each field, such that no variable or dimension that is made of two is the same.

    Args:
        fields: Names of registers or of other fields of a result.

    Returns:
        Where it can be, the field's own name; `field_<k>` for the k-th otherwise.
    """
    names: list[str] = []
    for position, field in enumerate(fields):
        plain = field.isascii() and field.isidentifier() and not field.startswith(_PREFIXES)
        free = field not in _OWN and not any(_clash(field, other) for other in names)
        names.append(field if plain and free else f"field_{position}")
    return names


def _clash(one: str, other: str) -> bool:
    """Whether a variable or dimension of one could have the name of one of the other."""
    return one == other or any(
        longer.startswith(shorter) and _END.fullmatch(longer, len(shorter))
        for longer, shorter in ((one, other), (other, one))
    )


def _of_register(
    field: str, name: str, bits: BitArray, dims: tuple[str, ...], group: NetcdfGroup
) -> Iterator[_Variable]:
    if not bits.array.size or not bits.num_bits:
        return
    *sweep, shot = dims
    bit = f"{name}_bit"
    points = (*sweep, *(f"{name}_axis_{k}" for k in range(bits.ndim - len(sweep))))
    where = {"register": field, "coordinates": _COORDINATES}
    indices = np.arange(bits.num_bits, dtype=np.int32)
    group.put(bit, [bit], indices, {"long_name": f"classical bit of {field}, 0 rightmost"})
    attrs = {"long_name": f"outcome of each shot, bit by bit, of {field}", "units": "1", **where}
    yield _Variable(name, (*points, shot, bit), attrs, unpacked, field)
    if bits.num_bits <= _MAX_COUNTED_BITS:
        outcome = f"{name}_outcome"
        labels = [format(k, f"0{bits.num_bits}b") for k in range(2**bits.num_bits)]
        long_name = f"outcome of {field}, classical bit 0 rightmost"
        group.put(outcome, [outcome], np.array(labels, object), {"long_name": long_name})
        attrs = {"long_name": f"shots with each outcome of {field}", "units": "1", **where}
        yield _Variable(f"{name}_counts", (*points, outcome), attrs, counted, field)


def _of_field(field: str, name: str, value: Any, shape: tuple[int, ...]) -> Iterator[_Variable]:
    attrs = {"long_name": _LONG_NAMES.get(field, field), "field": field}
    attrs |= {"units": "1", "coordinates": _COORDINATES}
    if not isinstance(value, np.ndarray | np.generic):
        yield _Variable(name, (), {"long_name": f"{field}, as JSON"}, dumps, field)
        return
    if not value.size:
        return
    sweep = _sweep(shape) if value.shape[: len(shape)] == shape else ()
    dims = (*sweep, *(f"{name}_axis_{k}" for k in range(value.ndim - len(sweep))))
    if value.dtype.kind == "c":
        yield _Variable(f"{name}_real", dims, attrs, np.real, field)
        yield _Variable(f"{name}_imag", dims, attrs, np.imag, field)
    else:
        yield _Variable(name, dims, attrs, _plain, field)


_LONG_NAMES: Final = {"evs": "expectation value", "stds": "standard error of the expectation value"}


def unpacked(bits: BitArray) -> NDArray[np.uint8]:
    """Every bit of every shot: uint8 of 0 and 1, shape (*points, shots, bits), bit 0 first."""
    each = np.unpackbits(bits.array, axis=-1)[..., -bits.num_bits :]
    return each[..., ::-1]


def counted(bits: BitArray) -> NDArray[np.int64]:
    """How often every outcome occurred: int64, shape (*points, 2**bits)."""
    # At most two bytes a shot.
    weights = 256 ** np.arange(bits.array.shape[-1], dtype=np.int64)[::-1]
    outcomes = (bits.array @ weights) & (2**bits.num_bits - 1)
    points = outcomes.reshape(-1, outcomes.shape[-1])
    counts = [np.bincount(point, minlength=2**bits.num_bits) for point in points]
    return np.array(counts).reshape(*outcomes.shape[:-1], -1)


def _plain(value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind == "b":
        return array.astype(np.int8)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _fill(
    variables: list[_Variable], results: Iterator[PubResult], count: int, group: NetcdfGroup
) -> None:
    """Create the variables and write them in blocks of PUBs, in bounded memory."""
    created: list[Any] = []
    blocks: list[list[Any]] = [[] for _ in variables]
    start = 0
    for stop, result in enumerate(results, 1):
        data = result.data
        for block, variable in zip(blocks, variables, strict=True):
            block.append(variable.of(data[variable.field]))
        if not created:
            created = [
                _create(variable, block[0], count, group)
                for variable, block in zip(variables, blocks, strict=True)
            ]
        one = sum(_num_bytes(block[-1]) for block in blocks)
        if stop == count or one * (stop - start + 1) > _BLOCK_BYTES:
            for target, block in zip(created, blocks, strict=True):
                is_text = isinstance(block[0], str)
                target[start:stop] = np.array(block, dtype=object) if is_text else np.stack(block)
                block.clear()
            start = stop


def _num_bytes(value: Any) -> int:
    return len(value) if isinstance(value, str) else int(value.nbytes)


def _create(variable: _Variable, first: Any, count: int, group: NetcdfGroup) -> Any:
    is_text = isinstance(first, str)
    shape = () if is_text else first.shape
    dims = {"pub": count, **dict(zip(variable.dims, shape, strict=True))}
    return group.create(variable.name, dims, str if is_text else first.dtype, variable.attrs)


FORMAT = Format(".nc", _write, is_file=always)
