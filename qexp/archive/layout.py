"""Lay out a netCDF-4 file: groups, named dimensions, variables without data.

The same objects as `h5netcdf` writes, attribute for attribute (a test compares the two), in a
fraction of its time: it looks every object up again at each step, which for the hundred variables
of an archive takes longer than a small run. Only what an archive needs is here: dimensions of fixed
size in the group that uses them, and one-dimensional coordinates. What netCDF adds to HDF5 is
described in https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.tables import storage

if TYPE_CHECKING:
    import h5py

_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable.{:10}"


@dataclass(frozen=True)
class Variable:
    """A variable that is to be filled.

    Attributes:
        dims: Names of its dimensions, none for a scalar. One that is called as the variable makes
            it a coordinate, which has no other dimension.
        shape: Sizes of these, none of them 0.
        dtype: Type of its values; None: UTF-8 texts of any length.
        attrs: Its attributes (text, number).
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """A group: its variables by name, and its attributes."""

    variables: Mapping[str, Variable]
    attrs: Mapping[str, Any] = field(default_factory=dict)


def lay_out(path: Path, groups: Mapping[str, Group]) -> None:
    """Create a file with groups and empty variables; an existing file is replaced.

    Args:
        path: Path of the file.
        groups: Group by path, `""` the root; in the order in which they are created. Groups
            between are created as needed.
    """
    import h5py

    dimids = count()
    with h5py.File(path, "w", track_order=True) as file:
        for name, group in groups.items():
            place = _group(file, name)
            _set_attributes(place.id, group.attrs)
            _create_group(place, group.variables, dimids)
        _set_properties(file)


def _group(file: h5py.File, path: str) -> h5py.Group:
    place: Any = file
    for name in path.split("/") if path else ():
        place = place[name] if name in place else place.create_group(name, track_order=True)
    return place


def _create_group(
    place: h5py.Group, variables: Mapping[str, Variable], dimids: Iterator[int]
) -> None:
    """Create the variables of a group, and a scale for each of their dimensions."""
    scales: dict[str, tuple[Any, int]] = {}
    sizes: dict[str, int] = {}
    created: dict[str, Any] = {}
    for name, variable in variables.items():
        for dim, size in zip(variable.dims, variable.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                msg = f"dimension {dim!r} of {place.name} is {sizes[dim]} and {size} long"
                raise ValueError(msg)
            if dim not in variables and dim not in created:
                # Never written: it takes no room, whatever its size.
                created[dim] = _dataset(place, dim, (size,), ">f4")
        if name in variable.dims and variable.dims != (name,):
            msg = f"variable {name!r} of {place.name} is called as one of its dimensions"
            raise ValueError(msg)
        created[name] = _variable(place, name, variable)
    for dim, size in sizes.items():
        is_coordinate = dim in variables
        if is_coordinate and variables[dim].dims != (dim,):
            msg = f"variable {dim!r} of {place.name} is called as a dimension it does not have"
            raise ValueError(msg)
        scales[dim] = created[dim], next(dimids)
        _make_scale(*scales[dim], dim if is_coordinate else _NO_VARIABLE.format(size))
    for name, variable in variables.items():
        _finish(created[name], name, variable, scales)


def _variable(place: h5py.Group, name: str, variable: Variable) -> Any:
    import h5py

    if variable.dtype is None:
        # HDF5 stores references to texts, which are never compressed.
        return _dataset(place, name, variable.shape, h5py.string_dtype("utf-8"))
    options = storage(variable.shape, variable.dtype)
    return _dataset(place, name, variable.shape, variable.dtype, **options)


def _dataset(
    place: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any, **options: Any
) -> Any:
    return place.create_dataset(name, shape, dtype, track_order=True, **options).id


def _make_scale(dataset: Any, dimid: int, name: str) -> None:
    import h5py

    _set_attribute(dataset, "_Netcdf4Dimid", np.array(dimid, "<i4"))
    h5py.h5ds.set_scale(dataset, name.encode())


def _finish(
    dataset: Any, name: str, variable: Variable, scales: Mapping[str, tuple[Any, int]]
) -> None:
    """Tie a variable to its dimensions, and set its attributes."""
    import h5py

    if variable.dims:
        dimids = [scales[dim][1] for dim in variable.dims]
        if variable.dims != (name,):
            for axis, dim in enumerate(variable.dims):
                h5py.h5ds.attach_scale(dataset, scales[dim][0], axis)
        _set_attribute(dataset, "_Netcdf4Coordinates", np.array(dimids, "<i4"))
        if variable.dims != (name,):
            _set_attribute(dataset, "_Netcdf4Dimid", np.array(dimids[0], "<i4"))
    _set_attributes(dataset, variable.attrs)


def _set_attributes(owner: Any, attrs: Mapping[str, Any]) -> None:
    for name, value in attrs.items():
        # As netCDF's own library writes numbers: with one dimension.
        _set_attribute(owner, name, value if isinstance(value, str) else np.atleast_1d(value))


def _set_attribute(owner: Any, name: str, value: Any) -> None:
    from h5py import h5a, h5s, h5t, string_dtype

    if isinstance(value, str):
        value = np.array(value, dtype=string_dtype("utf-8"))
    space = h5s.create_simple(value.shape) if value.shape else h5s.create(h5s.SCALAR)
    attribute = h5a.create(owner, name.encode(), h5t.py_create(value.dtype, logical=True), space)
    attribute.write(value)


def _set_properties(file: h5py.File) -> None:
    """Say who wrote the file, as every netCDF-4 library does: readers take it for netCDF then."""
    from h5py import version

    text = f"version=2,qexp=1,hdf5={version.hdf5_version},h5py={version.version}"
    value = np.array(text, dtype=f"S{len(text)}")
    _set_attribute(file.id, "_NCProperties", value)
