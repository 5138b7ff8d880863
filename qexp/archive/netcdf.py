"""Write netCDF-4 files with h5py: groups, named dimensions, variables.

The same objects as `h5netcdf` writes, attribute for attribute (a test compares the two), in a
fraction of its time: it looks every object up again at each step, as h5py's own classes look up
types and shapes, which for the hundred variables of an archive takes longer than a small run. Only
what qexp needs is here: dimensions of fixed size in the group that uses them, and one-dimensional
coordinates. What netCDF adds to HDF5 is described
in https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html. It has no type
for booleans, half precision and complex numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.archive.tables import clean_text

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

GZIP_LEVEL: Final = 4
OWN_CHUNK_BYTES: Final = 1024
"""Rows from this size on get a chunk of their own, which merging copies without decoding."""
CONTIGUOUS_BYTES: Final = 4096
"""Variables up to this size have no chunks and no filters, as an index of chunks takes 2.6 kB."""
MAX_CHUNK_BYTES: Final = 4 * 2**20
SMALL_CHUNK_BYTES: Final = 64 * 2**10
_CACHE_BYTES: Final = 2**20
"""Chunk cache of each open variable."""
_NO_VARIABLE: Final = "This is a netCDF dimension but not a netCDF variable.{:10}"


@contextmanager
def netcdf_file(path: Path, attrs: Mapping[str, Any]) -> Iterator[NetcdfGroup]:
    """Create or replace a file and yield its root group, which gets these attributes."""
    import h5py

    # Unlocked: a process that another thread is starting holds a lock for a moment longer than the
    # file is open here, and the file could not be read back.
    with h5py.File(path, "w", track_order=True, rdcc_nbytes=_CACHE_BYTES, locking=False) as file:
        root = NetcdfGroup(file, attrs)
        yield root
        root.finish(count())
        _sign(file)


class NetcdfGroup:
    """A new group of a file that is being written, with its attributes: texts and numbers."""

    def __init__(self, group: h5py.Group, attrs: Mapping[str, Any]) -> None:
        self._group = group
        self._places: dict[str, h5py.Group] = {"": group}
        self._groups: list[NetcdfGroup] = []
        self._sizes: dict[str, int] = {}
        self._scales: dict[str, Any] = {}
        self._variables: dict[str, tuple[tuple[str, ...], Mapping[str, Any], Any]] = {}
        self.describe(attrs)

    @property
    def file(self) -> h5py.File:
        """The file that it is in."""
        return self._group.file

    def describe(self, attrs: Mapping[str, Any]) -> None:
        """Add attributes."""
        _set_attributes(self._group.id, attrs)

    def group(self, path: str, attrs: Mapping[str, Any]) -> NetcdfGroup:
        """Create a group below this one, and the groups between."""
        created = NetcdfGroup(self._place(path), attrs)
        self._groups.append(created)
        return created

    def _place(self, path: str) -> h5py.Group:
        if path not in self._places:
            above, _, name = path.rpartition("/")
            made = self._place(above).create_group(name, track_order=True)
            self._places[path] = made
        return self._places[path]

    def create(
        self,
        name: str,
        dims: Mapping[str, int],
        dtype: np.dtype[Any] | type[str],
        attrs: Mapping[str, Any],
    ) -> h5py.Dataset:
        """Create a variable and return its dataset, to be filled by assignment.

        One that is named after its only dimension is a coordinate, to be created before other
        variables with this dimension. Sizes of dimensions are above zero; a scalar has none.

        Raises:
            ValueError: A dimension has another size in this group, or the name of a variable that
                is no coordinate.
        """
        for dim, size in dims.items():
            if self._sizes.setdefault(dim, size) != size:
                raise ValueError(
                    f"dimension {dim!r} of {self._group.name} is {self._sizes[dim]} and {size} long"
                )
            if dim in self._variables and dim not in self._scales:
                raise self._clash(dim)
            if dim != name and dim not in self._scales:
                # It is never written to, so it takes no space, whatever its size.
                self._scales[dim] = self._dataset(dim, (size,), ">f4")
        if name in self._scales or (name in dims and len(dims) > 1):
            raise self._clash(name)
        shape = tuple(dims.values())
        if dtype is str:
            # HDF5 stores references to texts, which are never compressed.
            dataset = self._dataset(name, shape, str)
        else:
            numeric = np.dtype(dtype)
            dataset = self._dataset(name, shape, numeric, **storage(shape, numeric))
        if name in dims:
            self._scales[name] = dataset
        self._variables[name] = (tuple(dims), attrs, dataset.id)
        return dataset

    def put(self, name: str, dims: Sequence[str], values: Any, attrs: Mapping[str, Any]) -> None:
        """Create a variable and fill it: texts (nested lists, or an object array) or numbers."""
        array = np.asarray(values)
        if array.dtype.kind in "OU":
            texts = [clean_text(str(text)) for text in array.ravel().tolist()]
            array = np.array(texts, dtype=object).reshape(array.shape)
        sizes = dict(zip(dims, array.shape, strict=True))
        dataset = self.create(name, sizes, str if array.dtype == object else array.dtype, attrs)
        write_rows(dataset, array)

    def _clash(self, name: str) -> ValueError:
        return ValueError(f"{name!r} of {self._group.name} is a variable and a dimension")

    def _dataset(
        self, name: str, shape: tuple[int, ...], dtype: Any, **options: Any
    ) -> h5py.Dataset:
        import h5py

        if options:
            return self._group.create_dataset(name, shape, dtype, track_order=True, **options)
        kind, place = _type(dtype), self._group.id
        return h5py.Dataset(
            h5py.h5d.create(place, name.encode(), kind, _space(shape), _plain_dataset())
        )

    def finish(self, numbers: Iterator[int]) -> None:
        """Attach dimensions, numbered in order, to the variables, in groups below too."""
        import h5py

        dimids = {dim: next(numbers) for dim in self._sizes}
        for dim, size in self._sizes.items():
            label = dim if dim in self._variables else _NO_VARIABLE.format(size)
            _set_attribute(self._scales[dim].id, "_Netcdf4Dimid", np.array(dimids[dim], "<i4"))
            h5py.h5ds.set_scale(self._scales[dim].id, label.encode())
        for name, (dims, attrs, dataset) in self._variables.items():
            ids = np.array([dimids[dim] for dim in dims], "<i4")
            is_coordinate = dims == (name,)
            for axis, dim in enumerate(() if is_coordinate else dims):
                h5py.h5ds.attach_scale(dataset, self._scales[dim].id, axis)
            if dims:
                _set_attribute(dataset, "_Netcdf4Coordinates", ids)
            if dims and not is_coordinate:
                _set_attribute(dataset, "_Netcdf4Dimid", np.array(ids[0]))
            _set_attributes(dataset, attrs)
        for group in self._groups:
            group.finish(numbers)


def write_rows(dataset: h5py.Dataset, values: NDArray[Any], start: int = 0) -> None:
    """Write a scalar, or consecutive rows of a dataset from row `start` on."""
    import h5py

    block = np.ascontiguousarray(values) if values.shape else values
    here = there = h5py.h5s.ALL
    if block.shape != dataset.id.shape:
        here, there = _space(block.shape), dataset.id.get_space()
        there.select_hyperslab((start, *[0] * (block.ndim - 1)), block.shape)
    dataset.id.write(here, there, block, _type(_kind(block), in_memory=True))


def chunk_shape(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Return the shape of chunks for a variable without zeros in its shape, rows first.

    A chunk is one row, or a part of one, if rows are large enough.
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
    """Return chunks and filters of a numeric variable, as arguments of `create_dataset`."""
    if math.prod(shape) * dtype.itemsize <= CONTIGUOUS_BYTES:
        return {}
    return {
        "chunks": chunk_shape(shape, dtype.itemsize),
        "compression": "gzip",
        "compression_opts": GZIP_LEVEL,
        "shuffle": False,
        "fletcher32": True,
    }


def _set_attributes(owner: Any, attrs: Mapping[str, Any]) -> None:
    for name, value in attrs.items():
        # As netCDF's own library writes numbers: with one dimension.
        is_text = isinstance(value, str)
        cleaned = np.array(clean_text(value), object) if is_text else np.atleast_1d(value)
        _set_attribute(owner, name, cleaned)


def _set_attribute(owner: Any, name: str, value: NDArray[Any]) -> None:
    import h5py

    kind = _kind(value)
    attribute = h5py.h5a.create(owner, name.encode(), _type(kind), _space(value.shape))
    attribute.write(value, _type(kind, in_memory=True))


def _kind(values: NDArray[Any]) -> Any:
    return str if values.dtype.kind == "O" else values.dtype


@cache
def _type(kind: np.dtype[Any] | type[str], *, in_memory: bool = False) -> h5py.h5t.TypeID:
    """Return HDF5's type of texts or numbers; a text in memory is a Python object."""
    from h5py import h5t, string_dtype

    return h5t.py_create(string_dtype("utf-8") if kind is str else kind, logical=not in_memory)


@lru_cache(maxsize=64)
def _space(shape: tuple[int, ...]) -> h5py.h5s.SpaceID:
    from h5py import h5s

    return h5s.create_simple(shape) if shape else h5s.create(h5s.SCALAR)


@cache
def _plain_dataset() -> h5py.h5p.PropDCID:
    """Return the settings of a variable without chunks and filters."""
    from h5py import h5p

    settings = h5p.create(h5p.DATASET_CREATE)
    settings.set_attr_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
    settings.set_obj_track_times(False)
    return settings


def _sign(file: h5py.File) -> None:
    """Name the writer, as every netCDF-4 library does, so that readers recognise netCDF."""
    from h5py import version

    text = f"version=2,qexp=1,hdf5={version.hdf5_version},h5py={version.version}"
    _set_attribute(file.id, "_NCProperties", np.array(text, dtype=f"S{len(text)}"))
