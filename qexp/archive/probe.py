"""A small archive file, written and read back, to find out whether a folder can hold archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from qexp.archive.atomic_files import replacing
from qexp.errors import ArchiveError

_NUM_VALUES = 100_000


def probe(folder: str) -> Iterator[str]:
    """Write, seal, read back and verify a file in a folder; yield the versions of h5py and HDF5.

    Called in a process of its own, see `qexp.archive.isolated`.

    Raises:
        ArchiveError: The folder cannot hold an archive.
    """
    import h5py

    from qexp.archive.digests import is_as_sealed, reserve_file_digest, write_file_digest
    from qexp.archive.netcdf import netcdf_file

    path, values = Path(folder, "probe.h5"), np.arange(_NUM_VALUES, dtype=np.int64)
    with replacing(path) as temporary:
        with netcdf_file(temporary, {}) as root:
            reserve_file_digest(root)
            root.put("values", ["value"], values, {})
        write_file_digest(temporary)
    if not is_as_sealed(path):
        raise ArchiveError(f"{path} does not hold what was written to it")
    with h5py.File(path, "r") as file:
        if not np.array_equal(file["values"][:], values):
            raise ArchiveError(f"{path} holds other numbers than were written to it")
    yield f"h5py {h5py.__version__}, HDF5 {h5py.version.hdf5_version}"
