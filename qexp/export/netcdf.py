"""One netCDF-4 file for xarray, MATLAB, Julia or R: every result unpacked, with its coordinates."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qexp.archive.atomic_files import require_space
from qexp.archive.netcdf import NetcdfGroup, netcdf_file
from qexp.archive.pubs import PubSummary, PubTable
from qexp.archive.read import Archive
from qexp.archive.results import MAX_COUNTED_BITS, counted
from qexp.core.jsonable import dumps

if TYPE_CHECKING:
    from qiskit.primitives import BitArray, PubResult

#: PUBs are unpacked and written in blocks of about this size, and of at most so many PUBs.
_BLOCK_BYTES: Final = 16 * 2**20
_BLOCK_PUBS: Final = 1000
_MAX_ATTRIBUTE: Final = 32_000
#: Name -> meaning of the variables that describe each PUB.
_PUB_VARIABLES: Final = {
    "pub": "index of the PUB in its workload",
    "circuit": "name of the circuit",
    "circuit_sha256": "identity of the circuit",
    "num_qubits": "qubits of the circuit",
    "depth": "depth of the circuit",
    "size": "instructions of the circuit",
    "isa_depth": "depth of the ISA circuit",
    "isa_size": "instructions of the ISA circuit",
    "metadata_json": "metadata of the result",
}
_COORDINATES: Final = "circuit num_qubits depth size isa_depth isa_size"
#: Names of variables and dimensions that a register or field may not take.
_RESERVED: Final = {
    *("shot", "parameter", "parameter_name", "parameter_value", "observable"),
    *_PUB_VARIABLES,
}
#: Prefixes of names that this module makes.
_PREFIXES: Final = ("_", "sweep_", "field_")
#: Endings that are appended to the name of a field.
_ENDING: Final = re.compile(r"_(counts|outcome|bit|shot|axis_\d+|real|imag)")
_LONG_NAMES: Final = {"evs": "expectation value", "stds": "standard error of the expectation value"}


class _Variable(NamedTuple):
    """A variable of a group of results."""

    name: str
    dims: tuple[str, ...]  # after `pub`
    attrs: Mapping[str, Any]
    #: Returns the values of one PUB, an array or a text, from the data of its result.
    values: Callable[[Mapping[str, Any]], Any]


def write(run: Archive, target: Path) -> list[str]:
    """Write the file; return the number of PUBs of each group."""
    notes = []
    with netcdf_file(target, _attributes(run)) as file:
        for workload in run.workloads:
            table, results = run.pub_table(workload), run.results[workload]
            attrs = {"long_name": f"results of the workload {workload}", "num_pubs": len(table)}
            parent = file.group(workload, attrs)
            groups: dict[str, list[PubSummary]] = defaultdict(list)
            for index in results.available:
                summary = table[index]
                groups[summary.group].append(summary)
            for name, members in groups.items():
                group = parent.group(name, {"kind": members[0].kind})
                for variable, long_name in _PUB_VARIABLES.items():
                    column = "index" if variable == "pub" else variable
                    values = [getattr(member, column) for member in members]
                    group.put(variable, ["pub"], values, {"long_name": long_name})
                _write_points(table, members, group)
                _write_results(results, members, group, target)
                notes.append(f"/{workload}/{name}: {len(members):,} PUBs")
    return notes


def _attributes(run: Archive) -> dict[str, Any]:
    metadata = run.metadata
    attributes = {
        "Conventions": "CF-1.11",
        "title": metadata.get("title") or run.experiment,
        "summary": metadata.get("description"),
        "creator_name": ", ".join(one["name"] for one in metadata.get("creators") or []),
        "license": metadata.get("license"),
        "keywords": ", ".join(metadata.get("keywords") or []),
        "date_created": run.created,
        "source": f"qexp, engine {run.engine}, backend {run.backend['name']}",
        "history": f"{datetime.now(UTC).isoformat(timespec='seconds')} exported from run.h5 "
        f"(qexp schema {run.schema})",
        "run_id": run.run_id,
        "status": run.status,
        "data_sha256": run.data_sha256,
    }
    return {name: str(text)[:_MAX_ATTRIBUTE] for name, text in attributes.items() if text}


def _write_points(table: PubTable, members: Sequence[PubSummary], group: NetcdfGroup) -> None:
    """Write what belongs to each point of the sweeps: values of the parameters, observables."""
    shape = members[0].shape
    if 0 in shape:
        return
    names = [member.parameter_names for member in members]
    most = max(map(len, names))
    if most:
        values = np.full((len(members), *shape, most), np.nan)
        for row, member in enumerate(members):
            values[row, ..., : len(names[row])] = table.parameter_values(member.index)
        padded = np.array([[*each, *[""] * (most - len(each))] for each in names], dtype=object)
        about = {"long_name": "name of the parameter"}
        if names.count(names[0]) == len(names):
            group.put("parameter", ["parameter"], padded[0], about)
        else:
            group.put("parameter_name", ["pub", "parameter"], padded, about)
        about = {"long_name": "value of the parameter", "coordinates": "circuit"}
        group.put("parameter_value", ["pub", *_sweep(shape), "parameter"], values, about)
    if members[0].kind == "estimator":
        observables = np.stack([table.observables(member.index) for member in members])
        about = {"long_name": "observable: Pauli string, qubit 0 last, or sum of such as JSON"}
        group.put("observable", ["pub", *_sweep(shape)], observables, about)


def _sweep(shape: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"sweep_{axis}" for axis in range(len(shape)))


def _write_results(
    results: Sequence[PubResult], members: Sequence[PubSummary], group: NetcdfGroup, target: Path
) -> None:
    """Write the results in blocks of PUBs, in bounded memory."""
    first, shape, count = results[members[0].index].data, members[0].shape, len(members)
    variables = list(_variables(first, shape, group))
    examples = [variable.values(first) for variable in variables]
    one_bytes = sum(len(each) if isinstance(each, str) else each.nbytes for each in examples)
    # Checked first, since HDF5 damages memory where a write fails.
    require_space(target, one_bytes * count)
    stored = []
    for variable, example in zip(variables, examples, strict=True):
        sizes = () if isinstance(example, str) else example.shape
        dims = {"pub": count, **dict(zip(variable.dims, sizes, strict=True))}
        dtype = str if isinstance(example, str) else example.dtype
        stored.append(group.create(variable.name, dims, dtype, variable.attrs))
    step = min(_BLOCK_PUBS, max(1, _BLOCK_BYTES // max(1, one_bytes)))
    for start in range(0, count, step):
        block = [results[member.index].data for member in members[start : start + step]]
        for variable, dataset in zip(variables, stored, strict=True):
            values = [variable.values(data) for data in block]
            is_text = isinstance(values[0], str)
            dataset[start : start + step] = (
                np.array(values, object) if is_text else np.stack(values)
            )


def _variables(
    data: Mapping[str, Any], shape: tuple[int, ...], group: NetcdfGroup
) -> Iterator[_Variable]:
    """Yield the variables of the fields of a result; write the coordinates of registers."""
    names = distinct_names(list(data))
    shots = {value.num_shots for value in data.values() if hasattr(value, "num_bits")}
    for (field, value), name in zip(data.items(), names, strict=True):
        if hasattr(value, "num_bits"):
            shot = "shot" if len(shots) == 1 else f"{name}_shot"
            yield from _register_variables(field, name, value, _sweep(shape), shot, group)
        else:
            yield from _field_variables(field, name, value, shape)


def distinct_names(fields: Sequence[str]) -> list[str]:
    """Return a name for each field, so that all variables and dimensions have different names.

    It is the field's own name where possible, `field_<k>` for the k-th otherwise.
    """
    names: list[str] = []
    for position, field in enumerate(fields):
        plain = field.isascii() and field.isidentifier() and not field.startswith(_PREFIXES)
        free = field not in _RESERVED and not any(_clash(field, other) for other in names)
        names.append(field if plain and free else f"field_{position}")
    return names


def _clash(one: str, other: str) -> bool:
    """Return True if a variable or dimension of one could have the name of one of the other."""
    return one == other or any(
        longer.startswith(shorter) and _ENDING.fullmatch(longer, len(shorter))
        for longer, shorter in ((one, other), (other, one))
    )


def _register_variables(
    field: str, name: str, bits: BitArray, sweep: tuple[str, ...], shot: str, group: NetcdfGroup
) -> Iterator[_Variable]:
    if not bits.array.size or not bits.num_bits:
        return
    points = (*sweep, *(f"{name}_axis_{k}" for k in range(bits.ndim - len(sweep))))
    about = {"units": "1", "register": field, "coordinates": _COORDINATES}
    bit, outcome = f"{name}_bit", f"{name}_outcome"
    indices = np.arange(bits.num_bits, dtype=np.int32)
    group.put(bit, [bit], indices, {"long_name": f"classical bit of {field}, 0 rightmost"})
    attrs = {"long_name": f"outcome of each shot, bit by bit, of {field}", **about}
    yield _Variable(name, (*points, shot, bit), attrs, lambda data: unpacked(data[field]))
    if bits.num_bits <= MAX_COUNTED_BITS:
        labels = [format(k, f"0{bits.num_bits}b") for k in range(2**bits.num_bits)]
        long_name = f"outcome of {field}, classical bit 0 rightmost"
        group.put(outcome, [outcome], labels, {"long_name": long_name})
        attrs = {"long_name": f"shots with each outcome of {field}", **about}
        yield _Variable(
            f"{name}_counts", (*points, outcome), attrs, lambda data: counted(data[field])
        )


def _field_variables(
    field: str, name: str, value: Any, shape: tuple[int, ...]
) -> Iterator[_Variable]:
    if not isinstance(value, np.ndarray | np.generic):
        attrs = {"long_name": f"{field}, as JSON"}
        yield _Variable(name, (), attrs, lambda data: dumps(data[field]))
        return
    if not value.size:
        return
    long_name = _LONG_NAMES.get(field, field)
    attrs = {"long_name": long_name, "field": field, "units": "1", "coordinates": _COORDINATES}
    sweep = _sweep(shape) if value.shape[: len(shape)] == shape else ()
    dims = (*sweep, *(f"{name}_axis_{k}" for k in range(value.ndim - len(sweep))))
    if value.dtype.kind == "c":
        yield _Variable(f"{name}_real", dims, attrs, lambda data: np.real(data[field]))
        yield _Variable(f"{name}_imag", dims, attrs, lambda data: np.imag(data[field]))
    else:
        yield _Variable(name, dims, attrs, lambda data: _widened(data[field]))


def unpacked(bits: BitArray) -> NDArray[np.uint8]:
    """Return every bit of every shot: uint8, 0 or 1, shape (*points, shots, bits), bit 0 first."""
    return np.unpackbits(bits.array, axis=-1)[..., -bits.num_bits :][..., ::-1]


def _widened(value: Any) -> NDArray[Any]:
    """Return a real array in a type that netCDF has: no booleans, no half precision."""
    array = np.asarray(value)
    if array.dtype.kind == "b":
        return array.astype(np.int8)
    return array.astype(np.float32) if array.dtype == np.float16 else array
