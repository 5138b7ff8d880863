"""Templates to pages: everything is escaped, and a page may load and run nothing."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from inspect import isfunction
from statistics import median
from typing import Any, Final

from qexp.listing.summary import seconds_between
from qexp.report import filters, text
from qexp.report.execution import is_simulated
from qexp.text import one_line

#: No source of anything but the one style sheet in the page, by its digest, and an empty icon.
_POLICY: Final = (
    "default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
#: Functions that templates use as filters: all of these modules, and some others.
_FILTERS: Final = {
    name: function
    for module in (text, filters)
    for name, function in vars(module).items()
    if isfunction(function) and function.__module__ == module.__name__
} | {each.__name__: each for each in (is_simulated, median, one_line, seconds_between)}


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
    style = environment.get_template("style.css").render().encode("utf-8")
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode("ascii")
    return environment.get_template(template).render(
        policy=_POLICY.format(digest=digest),
        version=__version__,
        made=datetime.now(UTC).strftime("%-d %B %Y"),
        **values,
    )


def _finalize(value: Any) -> Any:
    """Make a value visible before Jinja escapes it; markup of ours stays as it is."""
    return value if hasattr(value, "__html__") else text.visible(str(value))
