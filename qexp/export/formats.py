"""Export an archive to another format: verify the archive, write the output completely or not.

An output never replaces anything but an earlier export.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Final

from qexp.archive import atomic_files
from qexp.archive.sweep_file import SWEEP_NAME, is_sweep
from qexp.errors import ArchiveError, ConfigError

if TYPE_CHECKING:
    from qexp.archive.read import Archive


@dataclass(frozen=True)
class Format:
    """A form of output.

    Its writer is called with the open archive and a path that does not exist yet or is an empty
    folder, and with the metadata given at export if it takes any; it returns what the user should
    know, one line each.
    """

    content: str  # content of the output, for `--help`
    writer: str  # function of this package, as `module:name`
    suffix: str  # appended to the archive's name without `.h5` for the default output beside it
    file_ending: str | None = None  # of outputs that are a file: `""` if all are, None: all folders
    takes_metadata: bool = False  # True if keys of the config's `metadata` may be given at export


FORMATS: Final = {
    "rocrate": Format(
        "RO-Crate (Process Run Crate 0.5), a folder or a .zip file",
        "rocrate:write",
        "-rocrate",
        ".zip",
        takes_metadata=True,
    ),
    "netcdf": Format(
        "one netCDF-4 file: bits, counts and expectation values, unpacked, with coordinates",
        "netcdf:write",
        ".nc",
        "",
    ),
    "csv": Format(
        "a folder of tidy tables: counts, expectation values, parameters",
        "tables:write_csv",
        "-csv",
    ),
    "parquet": Format(
        "the same tables as Parquet; needs pyarrow", "tables:write_parquet", "-parquet"
    ),
    "qiskit": Format(
        "Qiskit's PrimitiveResult as JSON and circuits as QPY, for each workload",
        "qiskit:write",
        "-qiskit",
    ),
}
"""Format by name."""


@dataclass(frozen=True)
class Exported:
    """Result of an export: the file or folder written, and notes for the user, one line each."""

    path: Path
    notes: tuple[str, ...]


def export(
    path: str | Path,
    name: str,
    output: str | Path | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Exported:
    """Write what an archive holds in another form; the archive is verified first.

    Example:
        `export("outputs/ghz/RUN", "csv").path` is the folder `outputs/ghz/RUN/run-csv`.

    Args:
        path: The archive, the run's folder, or that of a sweep, of which netCDF is written.
        name: Name of the format, a key of `FORMATS`.
        output: File or folder to write; None: beside the archive, named after it.
        metadata: Keys of the config's `metadata` that replace those of the archive.
        force: Replace an earlier export.

    Raises:
        ConfigError: The format is unknown or takes no metadata, the metadata are wrong, the output
            exists, or the run was only planned.
        ArchiveError: The archive is damaged, or the output cannot be written.
    """
    from qexp.archive.archive_file import locate
    from qexp.archive.read import open_archive
    from qexp.archive.verify import verify

    if name not in FORMATS:
        raise ConfigError(f"{name!r} is no format; allowed: {', '.join(FORMATS)}")
    form = FORMATS[name]
    if metadata and not form.takes_metadata:
        takers = ", ".join(known for known, each in FORMATS.items() if each.takes_metadata)
        raise ConfigError(f"{name} takes no metadata at export; this does: {takers}")
    if is_sweep(Path(path)):
        return _export_sweep(Path(path), name, output, force=force)
    archive = locate(Path(path))
    target = Path(output) if output else archive.with_name(f"{archive.stem}{form.suffix}")
    ending = form.file_ending
    is_file = ending is not None and target.name.lower().endswith(ending)
    _refuse_existing(target, archive, is_file=is_file, force=force)
    if problems := verify(archive):
        more = f" {len(problems) - 1} more: python -m qexp verify {archive}"
        raise ArchiveError(f"{problems[0]}{more if len(problems) > 1 else ''}")
    write = resolve_name(f"qexp.export.{form.writer}")
    replacing = atomic_files.replacing if is_file else _replacing_folder
    with open_archive(archive) as run:
        notes = _gaps(run)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArchiveError(
                f"cannot create {target.parent}: {error.strerror}; choose another --output"
            ) from error
        with replacing(target) as temporary:
            given = (metadata or {},) if form.takes_metadata else ()
            notes += write(run, temporary, *given)
    return Exported(target, tuple(notes))


def _export_sweep(folder: Path, name: str, output: str | Path | None, *, force: bool) -> Exported:
    """Write `Sweep.to_dataset(counts=True)`, by default as `sweep.nc` in the sweep's folder."""
    from qexp.sweeps.opened import open_sweep

    if name != "netcdf":
        raise ConfigError(
            f"--to {name}: of a sweep, netcdf is written (its dataset); for {name}, name a point's "
            f"folder in {folder}"
        )
    target = Path(output) if output else folder / f"sweep{FORMATS[name].suffix}"
    _refuse_existing(target, folder / SWEEP_NAME, is_file=True, force=force)
    with open_sweep(folder) as sweep:
        data = sweep.to_dataset(counts=True)
        lacking = [point for point in sweep.points if point.status != "complete"]
    with atomic_files.replacing(target) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf")
    notes = [f"/: {len(sweep)} points, {', '.join(map(str, data.sizes))}"]
    if lacking:
        notes.append(f"{len(lacking)} points are not complete: python -m qexp show {folder}")
    return Exported(target, tuple(notes))


def _gaps(run: Archive) -> list[str]:
    """Return a line for each workload that lacks results; refuse a run that was only planned."""
    if run.status == "planned":
        raise ConfigError(f"{run.path} holds only a plan: there are no results to export")
    return [
        f"the run is {run.status}: {len(results.available)} of {len(results)} PUBs of {name!r} "
        "have a result; the others are left out"
        for name, results in run.results.items()
        if len(results.available) < len(results)
    ]


def _refuse_existing(path: Path, archive: Path, *, is_file: bool, force: bool) -> None:
    """Refuse an output that exists, unless it may be replaced; the archive never is."""
    if not os.path.lexists(path):
        return
    if archive.resolve().is_relative_to(path.resolve()):
        raise ConfigError(f"{path} is or holds the archive itself: choose another --output")
    if path.is_symlink() or path.is_dir() == is_file:
        kind = "file" if is_file else "folder"
        raise ConfigError(f"{path} exists and is no {kind}: choose another --output")
    if not force:
        raise ConfigError(
            f"{path} exists already: choose another --output, or replace it with --force"
        )


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a folder beside `path` to write to; on success it becomes `path`.

    On an exception nothing is left behind and an existing `path` stays as it was. It is not
    replaced if it holds files that the new one does not have.
    """
    temporary, old = (path.with_name(f".{path.name}.{name}") for name in ("tmp", "old"))
    try:
        # A process that was killed may have left one.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        if path.is_dir():
            for item in sorted(path.rglob("*")):
                if not os.path.lexists(temporary / item.relative_to(path)):
                    raise ConfigError(
                        f"{item} would be lost: {path} holds more than this export writes; remove "
                        "it yourself, or choose another --output"
                    )
            os.replace(path, old)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise ArchiveError(
            f"cannot write {path}: {reason}; check free space and permissions"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
