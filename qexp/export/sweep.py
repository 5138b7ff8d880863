"""Export a sweep: one netCDF-4 file with the dataset of all points, counts included."""

from __future__ import annotations

from pathlib import Path

from qexp.archive import atomic_files
from qexp.archive.sweep_file import SWEEP_NAME
from qexp.errors import ConfigError
from qexp.export.formats import FORMATS, Exported, refuse_existing
from qexp.sweeps.opened import open_sweep

_NAME = "sweep"


def export_sweep(
    folder: Path, name: str, output: str | Path | None = None, *, force: bool = False
) -> Exported:
    """Write `Sweep.to_dataset(counts=True)` as a file, by default `sweep.nc` in the sweep's folder.

    Other formats are of single points. Arguments are as of `qexp.export.formats.export`.
    """
    if name != "netcdf":
        raise ConfigError(
            f"--to {name}: of a sweep, netcdf is written (its dataset); for {name}, name a point's "
            f"folder in {folder}"
        )
    target = Path(output) if output else folder / f"{_NAME}{FORMATS[name].suffix}"
    refuse_existing(target, folder / SWEEP_NAME, is_file=True, force=force)
    with open_sweep(folder) as sweep:
        data = sweep.to_dataset(counts=True)
        lacking = [point for point in sweep.points if point.status != "complete"]
    with atomic_files.replacing(target) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf")
    notes = [f"/: {len(sweep)} points, {', '.join(map(str, data.sizes))}"]
    if lacking:
        notes.append(f"{len(lacking)} points are not complete: python -m qexp show {folder}")
    return Exported(target, tuple(notes))
