"""Write netCDF-4 files other than the archive: groups, named dimensions, variables, nothing else.

What netCDF-4 has no type for (boolean, half precision, complex) is not accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from qexp.archive.tables import clean_text, storage


class NetcdfGroup:
    """A group of a file that is being written.

    Args:
        group: The group, as h5netcdf has it.
    """

    def __init__(self, group: Any) -> None:
        self._group = group

    def group(self, name: str, attrs: Mapping[str, Any]) -> NetcdfGroup:
        """Create a group in it."""
        created = NetcdfGroup(self._group.create_group(name))
        created.set_attributes(attrs)
        return created

    def set_attributes(self, attrs: Mapping[str, Any]) -> None:
        """Set attributes: texts and numbers."""
        self._group.attrs.update(_clean(attrs))

    def create(
        self,
        name: str,
        dims: Mapping[str, int],
        dtype: np.dtype[Any] | type[str],
        attrs: Mapping[str, Any],
    ) -> Any:
        """Create a variable, to be filled by assignment to its slices.

        Args:
            name: Its name.
            dims: Its dimensions -> their sizes, all above zero; new ones are created.
            dtype: `str`, or an integer or real type.
            attrs: Its attributes.
        """
        import h5py

        for dim, size in dims.items():
            if dim not in self._group.dimensions:
                self._group.dimensions[dim] = size
        if dtype is str:
            variable = self._group.create_variable(name, tuple(dims), h5py.string_dtype("utf-8"))
        else:
            numeric = np.dtype(dtype)
            options = storage(list(dims.values()), numeric)
            variable = self._group.create_variable(name, tuple(dims), numeric, **options)
        variable.attrs.update(_clean(attrs))
        return variable

    def put(
        self,
        name: str,
        dims: Sequence[str],
        values: Any,
        attrs: Mapping[str, Any],
    ) -> None:
        """Create a variable and fill it: texts (nested lists, or an object array) or numbers."""
        array = np.asarray(values)
        if array.dtype.kind in "OU":
            texts = [clean_text(str(text)) for text in array.ravel().tolist()]
            array = np.array(texts, dtype=object).reshape(array.shape)
        sizes = dict(zip(dims, array.shape, strict=True))
        variable = self.create(name, sizes, str if array.dtype == object else array.dtype, attrs)
        variable[...] = array


@contextmanager
def netcdf_file(path: Path, attrs: Mapping[str, Any]) -> Iterator[NetcdfGroup]:
    """Write a file: yields its root group.

    Args:
        path: The file; it must not exist.
        attrs: Attributes of the root group.
    """
    import h5netcdf

    with h5netcdf.File(path, "w") as file:
        root = NetcdfGroup(file)
        root.set_attributes(attrs)
        yield root


def _clean(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {k: clean_text(v) if isinstance(v, str) else v for k, v in attrs.items()}
