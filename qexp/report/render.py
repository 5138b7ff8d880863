"""Templates to pages: everything is escaped, and a page may load and run nothing."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from statistics import median
from typing import Any, Final

from qexp.report import provenance, text
from qexp.report.results import left_out
from qexp.text import one_line

#: No source of anything but the one style sheet in the page, by its digest, and an empty icon.
_POLICY: Final = (
    "default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
_FILTERS: Final = {
    function.__name__: function
    for function in (
        text.clock,
        text.commas,
        text.cut_line,
        text.date,
        text.duration,
        text.microseconds,
        text.number,
        text.percent,
        text.plural,
        text.seconds_between,
        text.spread,
        text.upper_first,
        provenance.command,
        provenance.cut,
        provenance.event_details,
        provenance.first_options,
        provenance.json_text,
        provenance.limit,
        provenance.software,
        left_out,
        median,
        one_line,
    )
}


@dataclass(frozen=True)
class _StyleSheet:
    """The package's own, which is not to be escaped."""

    text: str

    def __html__(self) -> str:
        return self.text


def render(template: str, **values: Any) -> str:
    """Make a page.

    Args:
        template: Name of a template of this package.
        values: What it shows. Texts are escaped; a `Drawing` puts itself into the page.
    """
    import jinja2

    from qexp import __version__

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("qexp.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    style = files("qexp.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return environment.get_template(template).render(
        style=_StyleSheet(style),
        policy=_POLICY.format(digest=digest),
        version=__version__,
        made=datetime.now(UTC).strftime("%-d %B %Y"),
        **values,
    )


def _finalize(value: Any) -> Any:
    """Make a value visible before Jinja escapes it; markup of ours stays as it is."""
    return value if hasattr(value, "__html__") else text.visible(str(value))
