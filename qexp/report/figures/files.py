"""Drawings as SVG files of their own, in the light colours of a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files

from qexp.report.figures.svg import Drawing

_BLOCKS = re.compile(r"@[a-z]+[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}|/\*.*?\*/", re.DOTALL)
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_VARIABLE = re.compile(r"var\((--[\w-]+)\)")
_FONT = "svg { font-family: 'DejaVu Sans', Arial, sans-serif; background: #ffffff; }"


def svg_file(drawing: Drawing, redact: Callable[[str], str]) -> str:
    """Return a drawing as the text of a file, with the rules of the style sheet that it uses.

    Variables are replaced by their values, as many programs that draw SVG know none.
    """
    text = drawing.to_html(redact)
    used = {name for names in re.findall(r'class="([^"]*)"', text) for name in names.split()}
    rules = [rule for rule, classes in _rules() if classes <= used]
    style = "\n".join([_FONT, *rules])
    opening, rest = text.split(">", 1)
    return f'{opening} xmlns="http://www.w3.org/2000/svg"><style>\n{style}\n</style>{rest}\n'


@cache
def _rules() -> tuple[tuple[str, frozenset[str]], ...]:
    """Return each rule for shapes with the classes that it needs."""
    sheet = files("qexp.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    parts = [(s.strip(), body.strip()) for s, body in _RULE.findall(_BLOCKS.sub("", sheet))]
    root = dict(re.findall(r"(--[\w-]+):\s*([^;]+)", next(b for s, b in parts if s == ":root")))
    series = {
        name: _VARIABLE.sub(lambda match: root[match[1]], value)
        for selector, body in parts
        for value in re.findall(r"--series:\s*([^;]+);", body)
        for name in selector.split(", ")
    }
    return tuple(
        (f"{selector} {{ {body} }}", frozenset(re.findall(r"\.([\w-]+)", selector)))
        for selectors, declared in parts
        for each in selectors.split(",")
        for selector, body in _resolved(each.strip(), declared, root, series)
    )


def _resolved(
    selector: str, body: str, root: dict[str, str], series: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield a rule for shapes without variables, for each series where it is of any."""
    is_shape = selector.startswith(("svg ", ".")) and ":" not in selector
    if not is_shape or "--series:" in body or "cqi" in body:
        return
    if "var(--series)" not in body:
        yield selector, _VARIABLE.sub(lambda match: root[match[1]], body)
        return
    for name, colour in series.items():
        if name.count(".") == 1:
            text = body.replace("var(--series)", colour)
            yield f"{selector}{name}", _VARIABLE.sub(lambda match: root[match[1]], text)
