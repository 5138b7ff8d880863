"""Write the page of a run or a sweep: everything in it is escaped; it loads and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from inspect import isfunction
from pathlib import Path
from statistics import median
from typing import Any, Final

from qexp.archive.archive_file import beside
from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME
from qexp.archive.sweep_file import is_sweep, read_sweep
from qexp.errors import ArchiveError, ConfigError, QexpError
from qexp.listing.summary import seconds_between
from qexp.redact import redactor
from qexp.report import PAGE_NAME, text
from qexp.report.figures.svg import Drawing
from qexp.text import one_line

FIGURES: Final = "figures"
_MAX_PAGES: Final = 100

#: Allows nothing but the style sheet in the page, by its digest, and an empty icon.
_POLICY: Final = (
    "default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
_FILTERS: Final = {
    name: function
    for name, function in vars(text).items()
    if isfunction(function) and function.__module__ == text.__name__
} | {each.__name__: each for each in (median, one_line, seconds_between)}


def write_report(given: Path, output: Path | None = None, *, figures: bool = False) -> Path:
    """Write one self-contained page, of a sweep with those that its points lack; return its path.

    Args:
        given: A run's folder or archive, or a folder with the runs of a sweep.
        output: The page; by default `report.html` beside the archive (`mine.report.html` beside
            `mine.h5`), or in the sweep's folder.
        figures: Also write the figures of a sweep's dataset as `figures/*.svg` beside the page.

    Raises:
        ArchiveError: There is no run, its archive is damaged, or the page cannot be written.
        ConfigError: `output` is not a place for a page.
    """
    from qexp.archive.atomic_files import replacing
    from qexp.archive.read import open_archive
    from qexp.archive.verify import require_intact

    of_run = (ARCHIVE_NAME, JOURNAL_NAME)
    values: dict[str, Any] = {}
    if given.is_file() or (not is_sweep(given) and any((given / name).exists() for name in of_run)):
        from qexp.report.run_page import run_page

        with open_archive(require_intact(given)) as archive:
            path = output or beside(archive.path, PAGE_NAME)
            html = _render("run.html", run_page(archive))
    else:
        from qexp.report.sweep_page import sweep_page

        path = output or given / PAGE_NAME
        if is_sweep(given):
            _write_missing_pages(given)
        values = sweep_page(given, path)
        html = _render("sweep.html", values)
    if path.is_dir():
        raise ConfigError(f"--output {path} is a folder; name the page, such as {path / PAGE_NAME}")
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--output {path} is no page; let its name end in .html")
    if not path.parent.is_dir():
        raise ArchiveError(f"cannot write {path}: there is no folder {path.parent}; create it")
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    if figures and values.get("results"):
        _write_figures(path.parent / FIGURES, values["results"])
    return path


def _write_missing_pages(sweep: Path) -> None:
    """Write the pages of points that have none, or an older one than their archive."""
    folders = [sweep / point.folder for point in read_sweep(sweep).points][:_MAX_PAGES]
    for folder in folders:
        archive, page = folder / ARCHIVE_NAME, folder / PAGE_NAME
        # A point that is damaged has none, and the sweep's page says why.
        with suppress(QexpError, OSError):
            if archive.is_file() and (
                not page.is_file() or page.stat().st_mtime < archive.stat().st_mtime
            ):
                write_report(folder)


def _write_figures(folder: Path, results: dict[str, Any]) -> None:
    """Write the figures of a sweep's dataset; earlier ones of the same names are replaced."""
    from qexp.archive.atomic_files import replacing
    from qexp.report.figures.svg import svg_file

    redact, number_of = redactor(), Counter[str]()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ArchiveError(f"cannot write {folder}: {error.strerror}") from error
    parts = (*results["values"], *results["analyses"])
    for figure in (each for part in parts for each in part.get("figures", ())):
        name = re.sub(r"[^A-Za-z0-9]+", "-", figure.drawing.label).strip("-")
        number_of[name] += 1
        again = f"-{number_of[name]}" if number_of[name] > 1 else ""
        with replacing(folder / f"{name}{again}.svg") as temporary:
            temporary.write_text(svg_file(figure.drawing, redact), encoding="utf-8")


def _render(template: str, page: dict[str, Any]) -> str:
    """Put the values of a page into a template of this package."""
    import jinja2
    from markupsafe import Markup

    from qexp import __version__

    redact = redactor()

    def finalize(value: Any) -> Any:
        """Make a value visible before Jinja escapes it; markup of templates stays as it is."""
        if isinstance(value, Drawing):
            return Markup(value.to_html(redact))  # noqa: S704 - it escapes every text
        return value if hasattr(value, "__html__") else text.visible(str(value), redact)

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("qexp.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    style = environment.get_template("style.css").render().encode("utf-8")
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode("ascii")
    return environment.get_template(template).render(
        page=page,
        policy=_POLICY.format(digest=digest),
        version=__version__,
        made=datetime.now(UTC).strftime("%-d %B %Y"),
    )
