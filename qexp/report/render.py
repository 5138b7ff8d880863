"""Templates to pages: everything is escaped, and a page may load and run nothing."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from qexp.report.text import visible

#: No source of anything but the one style sheet in the page, by its digest, and an empty icon.
_POLICY: Final = (
    "default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


@dataclass(frozen=True)
class _StyleSheet:
    """The package's own, which is not to be escaped."""

    text: str

    def __html__(self) -> str:
        return self.text


def render(template: str, **values: Any) -> str:
    """A page.

    Args:
        template: Name of a template of this package.
        values: What it shows. Texts are escaped; `Drawing` puts itself into the page.
    """
    import jinja2

    from qexp import __version__

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("qexp.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = files("qexp.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return environment.get_template(template).render(
        style=_StyleSheet(style),
        policy=_POLICY.format(digest=digest),
        version=__version__,
        made=datetime.now(UTC).strftime("%-d %B %Y"),
        **values,
    )


def _shown(value: Any) -> Any:
    """What an expression of a template becomes before it is escaped."""
    if hasattr(value, "__html__"):
        return value
    return visible(str(value))
