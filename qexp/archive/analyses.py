"""Results of analyses: one netCDF file each, in `analysis/` beside the archive.

Beside an archive of another name than `run.h5`, such as `mine.h5`, it is `mine.analysis/`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from qexp.archive.archive_file import beside
from qexp.archive.atomic_files import DamagedFileError, read_with_digest, write_with_digest
from qexp.archive.read import Archive, open_archive
from qexp.core.jsonable import dumps
from qexp.core.spec import AnalysisSpec
from qexp.errors import AnalysisError, ArchiveError
from qexp.text import one_line

if TYPE_CHECKING:
    import xarray as xr

FOLDER: Final = "analysis"
"""Subfolder for results."""
_SUFFIX: Final = ".nc"


def write_analysis(
    run: Archive, spec: AnalysisSpec, dataset: xr.Dataset, redact: Callable[[str], str] = str
) -> Path:
    """Store a result beside its archive, with `run_id` and `data_sha256`; see `write_result`."""
    origin = {"run_id": run.run_id, "data_sha256": run.data_sha256}
    return write_result(beside(run.path, FOLDER), spec, dataset, origin, redact)


def write_result(
    folder: Path,
    spec: AnalysisSpec,
    dataset: xr.Dataset,
    origin: Mapping[str, str],
    redact: Callable[[str], str] = str,
) -> Path:
    """Store a result in a folder, atomically, and return its path; an earlier one is replaced.

    The attributes of the file say where it comes from: `analysis`, `target`, `arguments_json`, its
    `origin` (what was analysed, the digest of its data among it), `qexp_version`, `date_created`.

    Raises:
        AnalysisError: The result has a value that netCDF cannot hold.
    """
    from qexp import __version__

    attrs = {
        "analysis": spec.name,
        "target": spec.target,
        "arguments_json": dumps(spec.arguments),
        **origin,
        "qexp_version": __version__,
        "date_created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = folder / f"{spec.name}{_SUFFIX}"
    try:
        image = _image(_redacted(dataset.assign_attrs(attrs), redact))
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise AnalysisError(
            f"analysis '{spec.name}': its result cannot be stored as netCDF ({one_line(error)})"
        ) from error
    # Like a part: complete or absent, with a digest at its end.
    write_with_digest(path, image)
    return path


def analysis_files(run_dir: str | Path) -> dict[str, Path]:
    """Return name -> file of every stored result of a run, given its folder or `run.h5`."""
    path = Path(run_dir)
    folder = beside(path, FOLDER) if path.is_file() else path / FOLDER
    paths = folder.glob(f"[!.]*{_SUFFIX}")
    return dict(sorted((path.stem, path) for path in paths if path.is_file()))


def read_analysis(path: Path) -> xr.Dataset:
    """Read one stored result into memory.

    Raises:
        ArchiveError: It cannot be read, or is not what was written.
    """
    import xarray as xr

    try:
        image = io.BytesIO(read_with_digest(path))
    except DamagedFileError:
        raise ArchiveError(
            f"{path} is damaged or was changed, it is not what the analysis wrote: make it again "
            f"with python -m qexp analyse"
        ) from None
    try:
        with xr.open_dataset(image, engine="h5netcdf", decode_times=False) as opened:
            return _with_dates(opened).load()
    except Exception as error:
        # The digest may be right and the content still no netCDF.
        raise ArchiveError(f"{path} cannot be read ({one_line(error)}): remove it") from error


def read_analyses(run_dir: str | Path) -> dict[str, xr.Dataset]:
    """Read all stored results of a run into memory, by name.

    Each has one more attribute than its file: `is_stale`, true if it was made from other data than
    the archive holds now (a partial run that was resumed since).

    Args:
        run_dir: The run's folder, or the `run.h5` in it.

    Raises:
        ArchiveError: There is no archive, or a result is damaged; `analysis_files` and
            `read_analysis` read the others.
    """
    files = analysis_files(run_dir)
    if not files:
        return {}
    with open_archive(run_dir) as run:
        data_sha256 = run.data_sha256
    results = {name: read_analysis(path) for name, path in files.items()}
    return {
        name: dataset.assign_attrs(is_stale=dataset.attrs.get("data_sha256") != data_sha256)
        for name, dataset in results.items()
    }


def read_number(run_dir: str | Path, named: str) -> float:
    """Return the number `ANALYSIS.VARIABLE` (the form of `sweep.value`) of an analysis of a run.

    Raises:
        AnalysisError: The run has no such number.
    """
    analysis, _, variable = named.partition(".")
    results = read_analyses(run_dir)
    found = results[analysis].variables.get(variable) if analysis in results else None
    if found is None or found.size != 1 or found.dtype.kind not in "iufb":
        numbers = [
            f"{name}.{key}"
            for name, result in results.items()
            for key, values in result.data_vars.items()
            if values.size == 1 and values.dtype.kind in "iufb"
        ]
        raise AnalysisError(
            f"sweep.value={named}: the run has no such number; allowed: "
            f"{', '.join(numbers) or 'none, choose an analysis'}"
        )
    return float(found.values.item())


def _with_dates(opened: xr.Dataset) -> xr.Dataset:
    """Decode dates and durations that xarray wrote; keep other numbers in days or seconds."""
    import xarray as xr

    attrs = {str(name): variable.attrs for name, variable in opened.variables.items()}
    return xr.decode_cf(
        opened,
        decode_times={name: "calendar" in each for name, each in attrs.items()},
        decode_timedelta={
            name: str(each.get("dtype", "")).startswith("timedelta64")
            for name, each in attrs.items()
        },
    )


def _image(dataset: xr.Dataset) -> bytes:
    """Build the file in memory, see `atomic_files.require_space`."""
    import h5netcdf
    import xarray as xr

    stream = io.BytesIO()
    with h5netcdf.File(stream, "w") as file:
        dataset.dump_to_store(xr.backends.H5NetCDFStore(file))
    return stream.getvalue()


def _redacted(dataset: xr.Dataset, redact: Callable[[str], str]) -> xr.Dataset:
    """Return a copy without secrets in its texts."""
    copy = dataset.copy()
    holders: list[xr.Dataset | xr.Variable] = [copy, *copy.variables.values()]
    for holder in holders:
        holder.attrs = {k: redact(v) if isinstance(v, str) else v for k, v in holder.attrs.items()}
    for name, variable in copy.variables.items():
        is_text = variable.dtype.kind in "UO" and variable.size
        if is_text and all(isinstance(value, str) for value in variable.values.flat):
            masked = np.vectorize(redact, otypes=[object])(variable.values)
            copy = copy.assign({name: (variable.dims, masked, variable.attrs)})
    return copy
