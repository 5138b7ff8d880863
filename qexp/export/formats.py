"""Export an archive: find the format, verify the archive, write the output, say what is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from qexp.archive.archive_file import locate
from qexp.archive.read import Archive
from qexp.archive.verify import verify
from qexp.errors import ArchiveError, ConfigError
from qexp.export.output import refuse_existing, replacing

FORMATS: Final = {
    "rocrate": "RO-Crate (Process Run Crate 0.5), a folder or a .zip file",
    "netcdf": "one netCDF-4 file: bits, counts and expectation values, unpacked, with coordinates",
    "csv": "a folder of tidy tables: counts, expectation values, parameters",
    "parquet": "the same tables as Parquet; needs pyarrow",
    "qiskit": "Qiskit's PrimitiveResult as JSON and circuits as QPY, for each workload",
}
"""Each is a module of this package with a `FORMAT`."""


def always(_path: Path) -> bool:
    """The output is a file."""
    return True


def never(_path: Path) -> bool:
    """The output is a folder."""
    return False


@dataclass(frozen=True)
class Format:
    """One form of output.

    Attributes:
        suffix: Appended to the archive's name, without `.h5`, for the default output beside it.
        write: Writes the output to a path that does not exist yet, given the archive and the
            metadata that were declared at export; returns what the user should know, in lines.
        is_file: Whether an output of this name is a file rather than a folder.
        takes_metadata: Whether metadata may be declared at export.
    """

    suffix: str
    write: Callable[[Archive, Path, Mapping[str, Any]], Sequence[str]]
    is_file: Callable[[Path], bool]
    takes_metadata: bool = False


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file or folder.
        notes: What the user should know, one line each.
    """

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

    Args:
        path: The archive, or the run's folder.
        name: Name of the format.
        output: Where to; None: beside the archive, named after it.
        metadata: Keys of the config's `metadata` that replace those of the archive.
        force: Whether an earlier export may be replaced.

    Raises:
        ConfigError: There is no such format, it takes no metadata, or the metadata are wrong; the
            output exists already; the run was only planned.
        ArchiveError: The archive is damaged, or the output cannot be written.
    """
    form = find(name)
    if metadata and not form.takes_metadata:
        takers = ", ".join(known for known in FORMATS if find(known).takes_metadata)
        raise ConfigError(f"{name} takes no metadata at export; this does: {takers}")
    archive = locate(Path(path))
    target = Path(output) if output else archive.with_name(f"{archive.stem}{form.suffix}")
    refuse_existing(target, archive, is_file=form.is_file(target), force=force)
    _require_intact(archive)
    with Archive(archive) as run:
        notes = _gaps(run)
        with replacing(target, is_file=form.is_file(target)) as temporary:
            notes += form.write(run, temporary, metadata or {})
    return Exported(target, tuple(notes))


def find(name: str) -> Format:
    """The format of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in FORMATS:
        raise ConfigError(f"{name!r} is no format; allowed: {', '.join(FORMATS)}")
    found: Format = import_module(f"qexp.export.{name}").FORMAT
    return found


def _require_intact(archive: Path) -> None:
    first, *others = verify(archive) or [""]
    if first:
        rest = f" {len(others)} more: python -m qexp verify {archive}" if others else ""
        raise ArchiveError(f"{first}{rest}")


def _gaps(run: Archive) -> list[str]:
    """What of the run is not there.

    Raises:
        ConfigError: The run was only planned.
    """
    if run.status == "planned":
        raise ConfigError(f"{run.path} holds only a plan: there are no results to export.")
    return [
        f"the run is {run.status}: {len(results.available)} of {len(results)} PUBs of {name!r} "
        "have a result; the others are left out"
        for name, results in run.results.items()
        if len(results.available) < len(results)
    ]
