"""`show`: the summary of one run or of a sweep, for people or as JSON."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qexp.cli.output import print_json
from qexp.cli.verbs import add_json, add_run
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    import argparse

_EPILOG = """
RUN is the folder of a run or its run.h5. A run that is not sealed yet is shown as far as it is
known. What can still be read of a damaged file is shown, with exit code 5; 'verify' names what is
damaged. Of a sweep's folder, its points are shown.

examples:
  python -m qexp show outputs/random_sampling/20261122T094439Z-d16302
  python -m qexp show run.h5 --json
  python -m qexp show outputs/ising/sweep-20261129T194723Z-3f9a2c
"""

#: Number of columns where the output is no terminal.
_WIDTH: Final = 100
_TIME_LIMIT_S: Final = 30.0
#: Slowest disk for which the time limit is long enough.
_BYTES_PER_S: Final = 5e6
#: For each point of a sweep.
_POINT_S: Final = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    add_run(parser)
    add_json(parser)


def run(given: argparse.Namespace) -> int:
    """Print the summary; it is made in a process of its own, where the file may be damaged."""
    from qexp.archive.archive_file import locate
    from qexp.archive.isolated import read_isolated
    from qexp.archive.schema import ARCHIVE_NAME
    from qexp.archive.sweep_file import is_sweep

    path, time_limit_s, function = given.run, _TIME_LIMIT_S, "render"
    if is_sweep(path):
        function = "render_sweep"
        time_limit_s += _POINT_S * sum(1 for _ in path.iterdir())
    elif not path.is_dir() or (path / ARCHIVE_NAME).exists() or not _is_unfinished(path):
        path = locate(path)
        time_limit_s += path.stat().st_size / _BYTES_PER_S
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else _WIDTH
    form = "json" if given.json else "terminal" if is_terminal else "text"
    shown = read_isolated(f"{__name__}:{function}", str(path), time_limit_s, form, str(width))
    if given.json:
        print_json(shown["summary"])
    else:
        sys.stdout.write(shown["page"])
    return ArchiveError.exit_code if shown["is_damaged"] else 0


def _is_unfinished(folder: Path) -> bool:
    """Return True for the folder of a run, or of a point of a sweep, that has no archive yet."""
    from qexp.archive.schema import JOURNAL_NAME, PARTS_NAME
    from qexp.archive.sweep_file import is_sweep

    is_point = is_sweep(folder.parent) and (folder / PARTS_NAME).is_dir()
    return is_point or (folder / JOURNAL_NAME).is_file()


def render(path: str, form: str, width: str) -> Iterator[dict[str, Any]]:
    """Yield the summary of a run; called in a process of its own, see `qexp.archive.isolated`.

    `path` is that of the archive, or of the folder of a run that has none yet. The form is `"json"`
    for a `summary`, `"text"` for a `page` of some columns, `"terminal"` for one with colours;
    `is_damaged` says that the file is not what was sealed.

    Raises:
        ArchiveError: The run cannot be read.
    """
    from qexp.listing.read import summarise_sealed, summarise_unfinished

    place = Path(path)
    run = summarise_unfinished(place) if place.is_dir() else summarise_sealed(place)
    is_damaged = run.is_intact is False
    if form == "json":
        yield {"summary": run.to_json(), "is_damaged": is_damaged}
        return

    from qexp.cli.show_page import format_page

    page = format_page(run, int(width), is_terminal=form == "terminal")
    yield {"page": page, "is_damaged": is_damaged}


def render_sweep(path: str, form: str, width: str) -> Iterator[dict[str, Any]]:
    """Yield the summary of a sweep; arguments and what it yields are those of `render`."""
    from qexp.cli.sweep_page import format_sweep, sweep_json
    from qexp.sweeps.opened import open_sweep

    with open_sweep(path) as sweep:
        is_damaged = any(record["status"] == "damaged" for record in sweep.records)
        if form == "json":
            yield {"summary": sweep_json(sweep), "is_damaged": is_damaged}
        else:
            page = format_sweep(sweep, int(width), is_terminal=form == "terminal")
            yield {"page": page, "is_damaged": is_damaged}
