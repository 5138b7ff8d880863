"""Make the page of a run or of a sweep, and put it beside what it is about."""

from __future__ import annotations

from pathlib import Path

from qexp.archive.archive_file import beside
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME
from qexp.errors import ArchiveError, ConfigError
from qexp.report import PAGE_NAME


def write_report(given: Path, output: Path | None = None) -> Path:
    """Write one self-contained page.

    Args:
        given: A run's folder or archive, or a folder with the runs of a sweep.
        output: The page; by default `report.html` beside the archive (`mine.report.html` beside
            `mine.h5`), or in the sweep's folder.

    Returns:
        Path of the page.

    Raises:
        ArchiveError: There is no run, its archive is damaged, or the page cannot be written.
        ConfigError: `output` is not a place for a page.
    """
    from qexp.archive.read import open_archive
    from qexp.archive.verify import require_intact
    from qexp.report.render import render

    if given.is_file() or any((given / name).exists() for name in (ARCHIVE_NAME, JOURNAL_NAME)):
        from qexp.report.run_page import run_page

        with open_archive(require_intact(given)) as archive:
            place = beside(archive.path, PAGE_NAME)
            text = render("run.html", page=run_page(archive))
    else:
        from qexp.report.sweep_page import sweep_page

        place = given / PAGE_NAME
        text = render("sweep.html", page=sweep_page(given, output or place))
    path = output or place
    _write(path, text)
    return path


def _write(path: Path, text: str) -> None:
    from qexp.archive.atomic_files import replacing

    if path.is_dir():
        raise ConfigError(f"--output {path} is a folder; name the page, such as {path / PAGE_NAME}")
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--output {path} is no page; let its name end in .html")
    if not path.parent.is_dir():
        raise ArchiveError(f"Cannot write {path}: there is no folder {path.parent}; create it.")
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
