"""SVG: inline, with the colours of the page's style sheet, light and dark; or files of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Literal

from qexp.report.text import visible

Anchor = Literal["start", "middle", "end"]
Position = tuple[float, float]

_BLOCKS = re.compile(r"@[a-z]+[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}|/\*.*?\*/", re.DOTALL)
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_VARIABLE = re.compile(r"var\((--[\w-]+)\)")
_FONT = "svg { font-family: 'DejaVu Sans', Arial, sans-serif; background: #ffffff; }"


class Drawing:
    """A picture made of shapes with CSS classes.

    Coordinates are in pixels at the natural width, y downwards. A `tip` is shown where the reader
    points at a shape.
    `label` describes it for readers who cannot see it, and `name` has its CSS classes.
    """

    def __init__(self, width: float, height: float, label: str, name: str = "") -> None:
        self.width = width
        self.height = height
        self.label = label
        self._name = name
        self._shapes: list[tuple[str, str, str, str]] = []

    def to_html(self, redact: Callable[[str], str]) -> str:
        """Return the picture with every text escaped, without secrets and hidden characters."""

        def escaped(text: str) -> str:
            return escape(visible(text, redact).replace("\n", " "))

        def shape(tag: str, attributes: str, content: str, tip: str) -> str:
            inner = escaped(content) + (f"<title>{escaped(tip)}</title>" if tip else "")
            return f"<{tag} {attributes}" + (f">{inner}</{tag}>" if inner else "/>")

        size = f'width="{_n(self.width)}" height="{_n(self.height)}"'
        box = f'viewBox="0 0 {_n(self.width)} {_n(self.height)}"'
        label = escaped(self.label)
        return (
            f'<svg class="{self._name}" {size} {box} role="img" aria-label="{label}">'
            f"<desc>{label}</desc>{''.join(shape(*each) for each in self._shapes)}</svg>"
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, name: str) -> None:
        """Draw a straight line."""
        self._add("line", name, x1=x1, y1=y1, x2=x2, y2=y2)

    def path(
        self, points: Sequence[Position], name: str, *, closed: bool = False, tip: str = ""
    ) -> None:
        """Draw straight lines from point to point."""
        steps = "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        self._add("path", name, tip, d=f"M{steps}{'Z' if closed else ''}")

    def arc(self, start: Position, radius: float, stop: Position, name: str) -> None:
        """Draw an arc of a circle, clockwise."""
        (x1, y1), (x2, y2) = start, stop
        r = _n(radius)
        self._add("path", name, d=f"M{_n(x1)} {_n(y1)}A{r} {r} 0 0 1 {_n(x2)} {_n(y2)}")

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        name: str,
        tip: str = "",
        rounding: float = 0,
    ) -> None:
        """Draw a rectangle from its top left corner; `rounding` is the radius of its corners."""
        more: dict[str, Any] = {"rx": rounding} if rounding else {}
        self._add("rect", name, tip, x=x, y=y, width=width, height=height, **more)

    def circle(self, x: float, y: float, radius: float, name: str, tip: str = "") -> None:
        """Draw a disc."""
        self._add("circle", name, tip, cx=x, cy=y, r=radius)

    def text(
        self,
        x: float,
        y: float,
        content: str,
        name: str,
        anchor: Anchor = "start",
        turn: float = 0,
        tip: str = "",
    ) -> None:
        """Write one line of text with its baseline at `y`, turned by `turn` degrees."""
        more: dict[str, Any] = {}
        if anchor != "start":
            more["text-anchor"] = anchor
        if turn:
            more["transform"] = f"rotate({_n(turn)} {_n(x)} {_n(y)})"
        self._add("text", name, tip, content, x=x, y=y, **more)

    def _add(
        self, tag: str, name: str, tip: str = "", content: str = "", **attributes: Any
    ) -> None:
        placed = "".join(
            f' {key}="{value if isinstance(value, str) else _n(value)}"'
            for key, value in attributes.items()
        )
        self._shapes.append((tag, f'class="{name}"{placed}', content, tip))


@dataclass(frozen=True)
class Figure:
    """A drawing with its title and caption."""

    drawing: Drawing
    title: str
    caption: str = ""


def text_width(text: str, size: float = 11) -> float:
    """Estimate the width of a line of text in pixels, on the wide side since fonts differ."""
    narrow = sum(character in " .,:;'|!iljft()[]" for character in text)
    return size * (0.34 * narrow + 0.6 * (len(text) - narrow))


def _n(value: float) -> str:
    """Format a coordinate in tenths of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def svg_file(drawing: Drawing, redact: Callable[[str], str]) -> str:
    """Return a drawing as the text of a file, with the light rules of the style sheet that it uses.

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
