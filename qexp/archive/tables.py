"""Declaration of an archive's tables, and the conversion between values and stored columns.

A table is an HDF5 group. Its columns are datasets whose first dimension counts rows (or bytes), so
that merging the parts of a run is concatenation along that dimension.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

NAN: Final = math.nan
T = TypeVar("T")


@dataclass(frozen=True)
class ColumnData:
    """Values of one column.

    The base is `"PATH#DIMENSION"` if they are indices along that dimension of the same part, so
    that merging adds the length of the parts before it.
    """

    values: NDArray[Any] | h5py.Dataset  # an array (of objects for texts), or one of a part
    dims: tuple[str, ...]  # parts are concatenated along the first; empty for a scalar
    attrs: Mapping[str, Any] = field(default_factory=dict)  # texts and numbers
    base: str = ""

    @property
    def is_text(self) -> bool:
        """True for variable-length UTF-8 texts."""
        return self.values.dtype.kind == "O"

    def texts(self) -> list[str]:
        """Return the values of a column of texts."""
        values: Any = self.values
        return list(values.asstr()[:] if hasattr(values, "asstr") else values)


@dataclass(frozen=True)
class TableData:
    """Columns of a table by name, and the attributes of its group."""

    columns: Mapping[str, ColumnData]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """Declaration of a column or an attribute, or of several that are alike.

    Attributes:
        dtype: `"str"` (variable-length UTF-8), `"char"` (one long text as UTF-8 bytes, which HDF5
            can compress), or a NumPy type such as `"<i4"`.
        names: The name, or several separated by spaces. Names of JSON columns end in `_json`.
        dim: Its only dimension, if that is not the dimension of the table. In a table of rows, the
            columns `NAME_start` and `NAME_size` give the elements of each row.
        absent: The stored value that stands for None; None if there always is a value.
    """

    dtype: str
    names: str
    doc: str  # its content in a few words, for `docs/archive-format.md`
    unit: str = ""  # its unit, or `""`
    dim: str = ""
    last_dim: str = ""  # last dimension of a column of arrays; those between belong to a sweep
    absent: float | str | None = None
    base: str = ""  # see `ColumnData`; without PATH, the path of the table
    since: int = 0  # minor version of the schema that added it
    is_optional: bool = False  # True if a sealed run may lack it although the table has rows

    def encode(self, values: Any, dim: str, path: str = "") -> ColumnData:
        """Convert one text or byte string, or a sequence of values, to the stored form.

        None becomes `absent`; dimension (`""` for scalars) and path are those of the table.
        """
        dims = (self.dim or dim,) if self.dim or dim else ()
        if self.dtype == "char" or isinstance(values, bytes):
            raw = values.encode("utf-8", "backslashreplace") if isinstance(values, str) else values
            if self.dtype == "char":
                return ColumnData(np.frombuffer(raw, "S1"), dims, {"_Encoding": "utf-8"})
            return ColumnData(np.frombuffer(raw, self.dtype), dims)
        if isinstance(values, str):
            return ColumnData(np.array(clean_text(values), object), dims)
        stored: list[Any] = [self.absent if value is None else value for value in values]
        if self.dtype == "str":
            return ColumnData(np.array([clean_text(text) for text in stored], object), dims)
        array = np.asarray(stored, self.dtype)
        if self.last_dim:
            dims = (*dims, *(f"sweep_{axis}" for axis in range(array.ndim - 2)), self.last_dim)
        base = path + self.base if self.base.startswith("#") else self.base
        return ColumnData(array, dims, {"units": self.unit} if self.unit else {}, base)

    def decode(self, cell: Any) -> Any:
        """Convert a stored cell to a Python value, `absent` to None."""
        plain = cell.item() if isinstance(cell, np.generic) else cell
        is_nan = plain != plain  # noqa: PLR0124
        return None if plain == self.absent or (is_nan and self.absent is not None) else plain


text = partial(Column, "str")
char = partial(Column, "char")
uint8 = partial(Column, "|u1")
int32 = partial(Column, "<i4")
int64 = partial(Column, "<i8")
float64 = partial(Column, "<f8")


class Table:
    """Declaration of a table: a group with columns, in the order of storage, and attributes.

    In its path, `*` stands for the name of a workload, a shape or a number; `dim` is the dimension
    of the columns, `""` for a group of scalars. What every archive has, even that of a run without
    jobs, `is_required`.
    """

    def __init__(
        self,
        path: str,
        dim: str,
        *columns: Column,
        attributes: Sequence[Column] = (),
        is_required: bool = False,
    ) -> None:
        self.path = path
        self.dim = dim
        self.columns = {name: column for column in columns for name in column.names.split()}
        self.attributes = {name: each for each in attributes for name in each.names.split()}
        self.is_required = is_required

    def at(self, *names: str) -> str:
        """Return the path with the given names in place of each `*`."""
        given = iter(names)
        return "/".join(next(given) if part == "*" else part for part in self.path.split("/"))

    def matches(self, path: str) -> bool:
        """Return True for the path of a group that is declared here."""
        return path.count("/") == self.path.count("/") and fnmatchcase(path, self.path)

    def encode(
        self, values: Mapping[str, Any], attrs: Mapping[str, Any] | None = None, path: str = ""
    ) -> TableData:
        """Convert values, by column, to the stored form; other columns are left out.

        `path` is the path of the group, if it differs from the declared one.
        """
        columns = {
            name: column.encode(values[name], self.dim, path or self.path)
            for name, column in self.columns.items()
            if name in values
        }
        return TableData(columns, attrs or {})

    def encode_rows(self, rows: Sequence[Mapping[str, Any]], path: str = "") -> TableData:
        """Convert rows, mappings of column names to values, to the stored form."""
        values: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
        for name in [name for name in values if f"{name}_start" in self.columns]:
            sizes = [len(cell) for cell in values[name]]
            starts = np.cumsum([0, *sizes[:-1]])
            values |= {f"{name}_start": starts, f"{name}_size": sizes, name: b"".join(values[name])}
        return self.encode(values, path=path)

    def decode(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """Convert the cells of a row to Python values; JSON is parsed, its name loses `_json`."""
        return {
            name.removesuffix("_json"): json.loads(cell)
            if name.endswith("_json")
            else self.columns[name].decode(cell)
            for name, cell in cells.items()
            if name in self.columns
        }


def documented(table: Table) -> Callable[[type[T]], type[T]]:
    """Add the columns of a table to the docstring of the class that its rows become."""

    def extended(record: type[T]) -> type[T]:
        lines = [
            f"        {name.removesuffix('_json')}: {column.doc}."
            for name, column in table.columns.items()
        ]
        record.__doc__ = "\n".join([(record.__doc__ or "").rstrip(), *lines])
        return record

    return extended


def clean_text(value: str) -> str:
    """Return a text that HDF5 can hold: no NUL, no lone surrogates."""
    value = value.replace("\x00", "\\x00")
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
