"""Tables: the one form in which everything but scalar texts is stored, in parts and in the archive.

A table is an HDF5 group. Its columns are datasets whose first dimension counts rows (or bytes of
a text), so that merging parts is concatenation along that dimension.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

GZIP_LEVEL: Final = 4
#: Rows from this size on get a chunk of their own, which merging copies without decoding.
OWN_CHUNK_BYTES: Final = 1024
#: Columns up to this size are stored plainly: no chunks, no filters.
CONTIGUOUS_BYTES: Final = 4096
MAX_CHUNK_BYTES: Final = 4 * 2**20
SMALL_CHUNK_BYTES: Final = 64 * 2**10
COPY_BYTES: Final = 8 * 2**20
#: Text dataset of a part: JSON, path -> [attributes, column -> [dimensions, attributes, base]].
_CONTENTS: Final = "contents_json"

Values: TypeAlias = "NDArray[Any] | list[str] | h5py.Dataset"


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        values: Array, or list of texts, or an open dataset of a part.
        dims: Names of the dimensions; the first one is that along which parts are concatenated.
            Empty: a scalar text.
        attrs: Attributes of the dataset (text, number).
        base: `"<table>#<dim>"` when the values count along that dimension within the part, so
            that merging adds what the parts before it hold.
    """

    values: Values
    dims: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""

    @cached_property
    def is_text(self) -> bool:
        """Whether the values are variable-length UTF-8 texts."""
        return isinstance(self.values, list) or self.values.dtype.kind == "O"

    def as_texts(self) -> list[str]:
        """The values of a column of texts."""
        values: Any = self.values
        return values if isinstance(values, list) else list(values.asstr()[:])

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        if isinstance(self.values, list):
            return (len(self.values),) if self.dims else ()
        return tuple(self.values.shape)


@dataclass(frozen=True)
class Table:
    """Columns by name, and attributes of the group."""

    columns: Mapping[str, Column]
    attrs: Mapping[str, Any] = field(default_factory=dict)


def clean_text(text: str) -> str:
    """A text that HDF5 can hold: no NUL, no lone surrogates."""
    text = text.replace("\x00", "\\x00")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def texts(values: Iterable[str], dim: str) -> Column:
    """A column of texts."""
    return Column([clean_text(value) for value in values], (dim,))


def scalar_text(value: str) -> Column:
    """One text, as a scalar dataset."""
    return Column([clean_text(value)], ())


def numbers(values: Sequence[Any], dim: str, dtype: str, units: str = "") -> Column:
    """A column of numbers, with its unit."""
    return Column(np.asarray(values, dtype=dtype), (dim,), {"units": units} if units else {})


def long_text(text: str, dim: str) -> Column:
    """A long text as compressible UTF-8 bytes: a character array, as netCDF knows it."""
    raw = np.frombuffer(text.encode("utf-8", "backslashreplace"), dtype="S1")
    return Column(raw, (dim,), {"_Encoding": "utf-8"})


def chunk_shape(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Chunk shape of a numeric column: one row per chunk where rows are large enough.

    Args:
        shape: Shape of the dataset, rows first, no zeros.
        itemsize: Bytes per element.
    """
    row_bytes = math.prod(shape[1:]) * itemsize
    if row_bytes < OWN_CHUNK_BYTES:
        return (max(1, min(shape[0], SMALL_CHUNK_BYTES // row_bytes)), *shape[1:])
    chunk = [1, *shape[1:]]
    while math.prod(chunk) * itemsize > MAX_CHUNK_BYTES:
        axis = next(axis for axis, size in enumerate(chunk) if size > 1)
        chunk[axis] = -(-chunk[axis] // 2)
    return tuple(chunk)


def storage(shape: Sequence[int], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Arguments of `create_dataset` and `create_variable` for a numeric column.

    The index of a chunked dataset takes about 2.6 kB, so that small columns are contiguous.
    """
    if math.prod(shape) * dtype.itemsize <= CONTIGUOUS_BYTES:
        return {}
    return {
        "chunks": chunk_shape(shape, dtype.itemsize),
        "compression": "gzip",
        "compression_opts": GZIP_LEVEL,
        "shuffle": False,
        "fletcher32": True,
    }


def _part_storage(shape: Sequence[int], dtype: np.dtype[Any]) -> dict[str, Any]:
    """As `storage`, but only what merging copies as it is: the rest would be compressed twice."""
    options = storage(shape, dtype)
    return options if options.get("chunks", (0,))[0] == 1 else {}


def write_part(file: h5py.File, tables: Mapping[str, Table]) -> None:
    """Write tables to a part. Columns without elements are left out."""
    import h5py

    contents: dict[str, Any] = {}
    for path, table in tables.items():
        group = file.require_group(path)
        present = {name: col for name, col in table.columns.items() if 0 not in col.shape}
        for name, column in present.items():
            if column.is_text:
                text_type = h5py.string_dtype("utf-8")
                group.create_dataset(name, data=column.as_texts(), dtype=text_type)
            else:
                data = np.asarray(column.values)
                group.create_dataset(name, data=data, **_part_storage(data.shape, data.dtype))
        contents[path] = [
            dict(table.attrs),
            {name: [col.dims, dict(col.attrs), col.base] for name, col in present.items()},
        ]
    file[_CONTENTS] = json.dumps(contents)


def read_part(file: h5py.File, only: Sequence[str] = ()) -> dict[str, Table]:
    """The tables of a part, or some of them, with open datasets as values."""
    import h5py

    tables: dict[str, Table] = {}
    for path, (attrs, columns) in json.loads(file[_CONTENTS].asstr()[()]).items():
        if only and path not in only:
            continue
        tables[path] = Table(
            {
                name: Column(
                    # What `file[...]` does takes four times as long to find out what it opens.
                    h5py.Dataset(h5py.h5d.open(file.id, f"{path}/{name}".encode()), readonly=True),
                    tuple(dims),
                    column_attrs,
                    base,
                )
                for name, (dims, column_attrs, base) in columns.items()
            },
            attrs,
        )
    return tables


def copy_rows(source: Column, target: h5py.Dataset, start: int, shift: int = 0) -> None:
    """Append a column's rows to `target` from row `start`, in bounded memory.

    Rows that have chunks of their own are copied compressed, as they are.

    Args:
        source: The column of a part.
        target: The dataset of the archive.
        start: First row to write.
        shift: Added to every value (offsets into data of the parts before).
    """
    values = source.values
    count = source.shape[0]
    if source.is_text:
        # Texts of a part stay what they are: UTF-8 bytes.
        rows: Any = np.array(values, dtype=object) if isinstance(values, list) else values[:]
        target[start : start + count] = rows
        return
    chunks = getattr(values, "chunks", None)
    if chunks is not None and chunks[0] == 1 and chunks == target.chunks and not shift:
        _copy_chunks(values, target, start)
        return
    assert not isinstance(values, list)
    row_bytes = max(1, math.prod(source.shape[1:]) * values.dtype.itemsize)
    step = max(1, COPY_BYTES // row_bytes)
    for first in range(0, count, step):
        block = values[first : first + step]
        target[start + first : start + first + len(block)] = block + shift if shift else block


def _copy_chunks(source: Any, target: h5py.Dataset, start: int) -> None:
    grid = [range(0, size, step) for size, step in zip(source.shape, source.chunks, strict=True)]
    for cell in np.ndindex(*(len(axis) for axis in grid)):
        offset = tuple(axis[k] for axis, k in zip(grid, cell, strict=True))
        filter_mask, raw = source.id.read_direct_chunk(offset)
        target.id.write_direct_chunk((offset[0] + start, *offset[1:]), raw, filter_mask)
