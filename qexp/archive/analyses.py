"""What analyses made of a run: one netCDF file each, in `analysis/` beside the archive."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from qexp.archive.atomic_files import DamagedFileError, read_with_digest, write_with_digest
from qexp.archive.read import Archive, open_archive
from qexp.core.jsonable import dumps
from qexp.core.spec import AnalysisSpec
from qexp.errors import AnalysisError, ArchiveError

if TYPE_CHECKING:
    import xarray as xr

#: Folder of the results, in the run's own.
FOLDER: Final = "analysis"
_SUFFIX: Final = ".nc"


def _unchanged(text: str) -> str:
    return text


def write_analysis(
    run: Archive,
    spec: AnalysisSpec,
    dataset: xr.Dataset,
    redact: Callable[[str], str] = _unchanged,
) -> Path:
    """Store a result beside the archive, atomically; an earlier one of this name is replaced.

    The file says where it comes from in its attributes: `analysis`, `target`, `arguments_json`,
    `run_id`, `data_sha256` (of the data that were analysed), `qexp_version`, `date_created`.

    Args:
        run: The archive, open.
        spec: What made the result.
        dataset: The result.
        redact: Applied to every text.

    Returns:
        Path of the file.

    Raises:
        AnalysisError: The result has something in it that netCDF cannot hold.
        ArchiveError: The file cannot be written.
    """
    from qexp import __version__

    made = {
        "analysis": spec.name,
        "target": spec.target,
        "arguments_json": dumps(spec.arguments),
        "run_id": run.run_id,
        "data_sha256": run.data_sha256,
        "qexp_version": __version__,
        "date_created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = run.path.parent / FOLDER / f"{spec.name}{_SUFFIX}"
    try:
        image = _image(_redacted(dataset.assign_attrs(made), redact))
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        reason = " ".join(str(error).split())
        msg = f"analysis '{spec.name}': its result cannot be stored as netCDF ({reason})"
        raise AnalysisError(msg) from error
    # As parts are: complete or not there, and its own digest tells damage.
    write_with_digest(path, image)
    return path


def analysis_files(run_dir: str | Path) -> dict[str, Path]:
    """Name -> file of every stored result, by name.

    Args:
        run_dir: The run's folder, or the `run.h5` in it.
    """
    folder = _folder_of(run_dir) / FOLDER
    found = {path.stem: path for path in folder.glob(f"[!.]*{_SUFFIX}") if path.is_file()}
    return dict(sorted(found.items()))


def read_analysis(path: Path) -> xr.Dataset:
    """Read one stored result; the file is closed again.

    Args:
        path: As `analysis_files` names it.

    Raises:
        ArchiveError: It cannot be read, or is not what was written.
    """
    import xarray as xr

    try:
        image = read_with_digest(path)
        stored = io.BytesIO(image)
        with xr.open_dataset(stored, engine="h5netcdf", decode_times=False) as opened:
            dataset = _dates_decoded(opened).load()
    except DamagedFileError:
        msg = (
            f"{path} is damaged or was changed: it is not what the analysis wrote. Make it again "
            f"with python -m qexp analyse."
        )
        raise ArchiveError(msg) from None
    except ArchiveError:
        raise
    except Exception as error:
        # Anyone can write a file with the right digest.
        msg = f"{path} cannot be read ({' '.join(str(error).split())}): remove it."
        raise ArchiveError(msg) from error
    return dataset


def _dates_decoded(opened: xr.Dataset) -> xr.Dataset:
    """With the dates and durations that xarray wrote; a number in days or seconds stays one."""
    import xarray as xr

    attrs = {str(name): variable.attrs for name, variable in opened.variables.items()}
    return xr.decode_cf(
        opened,
        decode_times={name: "calendar" in own for name, own in attrs.items()},
        decode_timedelta={
            name: str(own.get("dtype", "")).startswith("timedelta64") for name, own in attrs.items()
        },
    )


def read_analyses(run_dir: str | Path) -> dict[str, xr.Dataset]:
    """All stored results of a run by name, read into memory.

    Each has one attribute more than its file: `is_stale`, whether it was made of other data than
    the archive holds now (a partial run that went on since).

    Args:
        run_dir: The run's folder, or the `run.h5` in it.

    Raises:
        ArchiveError: There is no archive, or a result is damaged; `analysis_files` and
            `read_analysis` read the others.
    """
    files = analysis_files(run_dir)
    if not files:
        return {}
    with open_archive(_folder_of(run_dir)) as run:
        data_sha256 = run.data_sha256
    found = {name: read_analysis(path) for name, path in files.items()}
    return {
        name: dataset.assign_attrs(is_stale=dataset.attrs.get("data_sha256") != data_sha256)
        for name, dataset in found.items()
    }


def _folder_of(run_dir: str | Path) -> Path:
    path = Path(run_dir)
    return path.parent if path.is_file() else path


def _image(dataset: xr.Dataset) -> bytes:
    """The bytes of a netCDF file; where HDF5 itself meets a full disk, it ends the process."""
    import h5netcdf
    import xarray as xr

    stream = io.BytesIO()
    with h5netcdf.File(stream, "w") as file:
        dataset.dump_to_store(xr.backends.H5NetCDFStore(file))
    return stream.getvalue()


def _redacted(dataset: xr.Dataset, redact: Callable[[str], str]) -> xr.Dataset:
    """A copy without secrets in its texts."""
    copy = dataset.copy()
    holders: list[xr.Dataset | xr.Variable] = [copy, *copy.variables.values()]
    for holder in holders:
        holder.attrs = {
            name: redact(value) if isinstance(value, str) else value
            for name, value in holder.attrs.items()
        }
    texts = {
        name: np.vectorize(redact, otypes=[object])(variable.values)
        for name, variable in copy.variables.items()
        if variable.dtype.kind in "UO" and variable.size
        if all(isinstance(value, str) for value in variable.values.flat)
    }
    return copy.assign(
        {name: (copy[name].dims, values, copy[name].attrs) for name, values in texts.items()}
    )
