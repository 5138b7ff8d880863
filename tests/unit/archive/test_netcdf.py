"""A file has what netCDF's own libraries write, and they can read it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5netcdf
import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

from qexp.archive.netcdf import NetcdfGroup, netcdf_file, storage

INT, BYTE = np.dtype("<i8"), np.dtype("u1")


class Variable(NamedTuple):
    dims: dict[str, int]
    dtype: Any
    attrs: dict[str, Any] = {}  # noqa: RUF012


class Group(NamedTuple):
    variables: dict[str, Variable]
    attrs: dict[str, Any] = {}  # noqa: RUF012


GROUPS = {
    "": Group(
        {"stamp": Variable({"digit": 64}, np.dtype("S1"), {"_Encoding": "ascii"})},
        {"title": "größe", "license": "", "version": 2},
    ),
    "plain": Group({"text": Variable({}, str), "texts": Variable({"row": 3}, str)}),
    # The coordinate is large enough to be compressed.
    "results/main/a-5b": Group(
        {
            "pub": Variable({"pub": 700}, INT, {"units": "1"}),
            "sha256": Variable({"pub": 700}, str),
            "bits": Variable({"pub": 700, "shot": 9, "byte": 1}, BYTE, {"num_bits": 5}),
            "flat": Variable({"shot": 9}, np.dtype("<f8")),
        },
        {"signature_json": "{}", "large": 2**40},
    ),
    # Another group's dimension of the same name has another size.
    "results/other": Group({"pub": Variable({"pub": 2}, INT)}),
    "empty": Group({}, {"only": "attributes"}),
}


def by_qexp(path: Path) -> None:
    with netcdf_file(path, GROUPS[""].attrs) as root:
        for name, declared in GROUPS.items():
            group = root.group(name, declared.attrs) if name else root
            for key, variable in declared.variables.items():
                group.create(key, *variable)


def by_h5netcdf(path: Path) -> None:
    with h5netcdf.File(path, "w") as file:
        for name, declared in GROUPS.items():
            group = file.create_group(name) if name else file
            group.attrs.update(declared.attrs)
            for key, variable in declared.variables.items():
                for dim, size in variable.dims.items():
                    if dim not in group.dimensions:
                        group.dimensions[dim] = size
                dtype, options = variable.dtype, {}
                if dtype is str:
                    dtype = h5py.string_dtype("utf-8")
                else:
                    options = storage(list(variable.dims.values()), dtype)
                made = group.create_variable(key, tuple(variable.dims), dtype, **options)
                made.attrs.update(variable.attrs)


def everything(path: Path) -> Iterator[Any]:
    """Yield every object, in the order of creation, and attribute with its HDF5 properties."""
    with h5py.File(path) as file:

        def attributes(owner: Any) -> Iterator[Any]:
            for name, value in sorted(owner.attrs.items()):
                known = value
                if name == "REFERENCE_LIST":
                    known = sorted((file[ref].name, int(axis)) for ref, axis in value)
                elif name == "DIMENSION_LIST":
                    known = [[file[ref].name for ref in axis] for axis in value]
                opened = h5py.h5a.open(owner.id, name.encode())
                kind, space = opened.get_type(), opened.get_space().get_simple_extent_type()
                yield name, repr(known), str(opened.dtype), opened.shape, kind.get_class(), space

        def walk(group: Any) -> Iterator[Any]:
            yield group.name, *attributes(group)
            for item in group.values():
                if isinstance(item, h5py.Group):
                    yield item.id.get_create_plist().get_link_creation_order()
                    yield from walk(item)
                    continue
                made = item.id.get_create_plist()
                filters = [made.get_filter(k) for k in range(made.get_nfilters())]
                yield item.name, item.shape, item.maxshape, item.dtype, item.chunks, filters
                yield made.get_layout(), made.get_attr_creation_order(), made.get_fill_time()
                yield from attributes(item)

        yield from walk(file)


def test_the_file_equals_that_of_h5netcdf(tmp_path: Path):
    ours, theirs = tmp_path / "ours.nc", tmp_path / "theirs.nc"
    by_qexp(ours)
    by_h5netcdf(theirs)
    found, expected = list(everything(ours)), list(everything(theirs))
    (_, *attributes), (_, *expected_attributes) = found[0], expected[0]
    who, expected_who = attributes.pop(0), expected_attributes.pop(0)
    assert who[0] == expected_who[0] == "_NCProperties"
    assert "version=2,qexp=1,hdf5=" in who[1]
    assert attributes == expected_attributes
    assert found[1:] == expected[1:]


def test_netcdf4_and_xarray_read_the_file(tmp_path: Path):
    path = tmp_path / "ours.nc"
    by_qexp(path)
    with netCDF4.Dataset(path) as dataset:
        assert dataset.title == "größe"
        group = dataset["results/main/a-5b"]
        assert group["bits"].dimensions == ("pub", "shot", "byte")
        assert {name: len(dim) for name, dim in group.dimensions.items()} == {
            "pub": 700,
            "shot": 9,
            "byte": 1,
        }
        assert int(group["bits"].num_bits) == 5
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        assert list(tree["results/main/a-5b"].coords) == ["pub"]
        assert tree["plain/texts"].shape == (3,)


def test_the_same_layout_gives_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        by_qexp(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"a": Variable({"x": 2}, INT), "b": Variable({"x": 3}, INT)},
            "dimension 'x' of /group is 2 and 3 long",
        ),
        ({"x": Variable({"x": 2, "y": 2}, INT)}, "'x' of /group is a variable and a dimension"),
        (
            {"x": Variable({"y": 2}, INT), "a": Variable({"x": 2}, INT)},
            "'x' of /group is a variable and a dimension",
        ),
        (
            {"a": Variable({"x": 2}, INT), "x": Variable({"y": 2}, INT)},
            "'x' of /group is a variable and a dimension",
        ),
        # A coordinate comes first.
        (
            {"a": Variable({"x": 2}, INT), "x": Variable({"x": 2}, INT)},
            "'x' of /group is a variable and a dimension",
        ),
    ],
)
def test_a_clash_of_dimensions_and_variables_is_refused(
    tmp_path: Path, variables: Any, message: str
):
    with h5py.File(tmp_path / "file", "w") as file:
        group = NetcdfGroup(file.create_group("group"), {})
        (*first, last) = variables.items()
        for name, variable in first:
            group.create(name, *variable)
        with pytest.raises(ValueError, match=message):
            group.create(last[0], *last[1])


def test_a_file_that_is_written_is_not_locked(tmp_path):
    path = tmp_path / "run.h5"
    with netcdf_file(path, {}), path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
