"""Export an archive to another format: verify the archive, write the output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qexp.errors import ArchiveError, ConfigError

if TYPE_CHECKING:
    from qexp.archive.read import Archive


@dataclass(frozen=True)
class Format:
    """A form of output, written by the module of this package that has its name.

    The module has a function `write(run, path)`, which writes the open archive `run` to `path`,
    which does not exist yet or is an empty folder, and returns what the user should know, one line
    each. With `takes_metadata` it is `write(run, path, metadata)`.

    Attributes:
        content: What the output holds, for `--help`.
        suffix: Appended to the archive's name without `.h5` for the default output beside it.
        file_ending: Ending of the names of outputs that are a file: `""` if all are, None if all
            are folders.
        takes_metadata: True if keys of the config's `metadata` may be given at export.
    """

    content: str
    suffix: str
    file_ending: str | None = None
    takes_metadata: bool = False

    def is_file(self, path: Path) -> bool:
        """Return True if an output of this name is a file, False if it is a folder."""
        return self.file_ending is not None and path.name.lower().endswith(self.file_ending)


FORMATS: Final = {
    "rocrate": Format(
        "RO-Crate (Process Run Crate 0.5), a folder or a .zip file", "-rocrate", ".zip", True
    ),
    "netcdf": Format(
        "one netCDF-4 file: bits, counts and expectation values, unpacked, with coordinates",
        ".nc",
        "",
    ),
    "csv": Format("a folder of tidy tables: counts, expectation values, parameters", "-csv"),
    "parquet": Format("the same tables as Parquet; needs pyarrow", "-parquet"),
    "qiskit": Format(
        "Qiskit's PrimitiveResult as JSON and circuits as QPY, for each workload", "-qiskit"
    ),
}
"""Format by name. To add one, add a line here and the module with its `write`."""


@dataclass(frozen=True)
class Exported:
    """Result of an export.

    Attributes:
        path: The file or folder that was written.
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

    Example:
        `export("outputs/ghz/RUN", "csv").path` is the folder `outputs/ghz/RUN/run-csv`.

    Args:
        path: The archive, or the run's folder.
        name: Name of the format, a key of `FORMATS`.
        output: File or folder to write; None: beside the archive, named after it.
        metadata: Keys of the config's `metadata` that replace those of the archive.
        force: Whether an earlier export may be replaced.

    Raises:
        ConfigError: The format is unknown or takes no metadata, the metadata are wrong, the output
            exists, or the run was only planned.
        ArchiveError: The archive is damaged, or the output cannot be written.
    """
    from qexp.archive.file import locate
    from qexp.archive.read import open_archive
    from qexp.archive.verify import verify
    from qexp.export.output import refuse_existing, replacing

    if name not in FORMATS:
        raise ConfigError(f"{name!r} is no format; allowed: {', '.join(FORMATS)}")
    form = FORMATS[name]
    if metadata and not form.takes_metadata:
        takers = ", ".join(known for known, each in FORMATS.items() if each.takes_metadata)
        raise ConfigError(f"{name} takes no metadata at export; this does: {takers}")
    archive = locate(Path(path))
    target = Path(output) if output else archive.with_name(f"{archive.stem}{form.suffix}")
    is_file = form.is_file(target)
    refuse_existing(target, archive, is_file=is_file, force=force)
    if problems := verify(archive):
        more = f" {len(problems) - 1} more: python -m qexp verify {archive}"
        raise ArchiveError(f"{problems[0]}{more if len(problems) > 1 else ''}")
    write = import_module(f"qexp.export.{name}").write
    with open_archive(archive) as run:
        notes = _gaps(run)
        with replacing(target, is_file=is_file) as temporary:
            given = (metadata or {},) if form.takes_metadata else ()
            notes += write(run, temporary, *given)
    return Exported(target, tuple(notes))


def _gaps(run: Archive) -> list[str]:
    """Return a line for each workload that lacks results.

    Raises:
        ConfigError: The run was only planned.
    """
    if run.status == "planned":
        raise ConfigError(f"{run.path} holds only a plan: there are no results to export")
    return [
        f"the run is {run.status}: {len(results.available)} of {len(results)} PUBs of {name!r} "
        "have a result; the others are left out"
        for name, results in run.results.items()
        if len(results.available) < len(results)
    ]
