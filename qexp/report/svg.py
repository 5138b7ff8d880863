"""Inline SVG: shapes with CSS classes, so that the page's colours are theirs, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Literal

from qexp.report.text import visible

Anchor = Literal["start", "middle", "end"]


class Drawing:
    """One picture. Coordinates are CSS pixels at its natural width, y downwards.

    Jinja puts it into a page as it is (`__html__`): every text in it was escaped when it was added.

    Args:
        width: Natural width.
        height: Natural height.
        label: What it shows, for those who cannot see it.
        name: CSS class.
    """

    def __init__(self, width: float, height: float, label: str, name: str = "") -> None:
        self.width = width
        self.height = height
        self.label = label
        self._name = name
        self._parts: list[str] = []

    def __html__(self) -> str:
        size = f'width="{_n(self.width)}" height="{_n(self.height)}"'
        box = f'viewBox="0 0 {_n(self.width)} {_n(self.height)}"'
        label = _escaped(self.label)
        return (
            f'<svg class="{self._name}" {size} {box} role="img" aria-label="{label}">'
            f"<desc>{label}</desc>{''.join(self._parts)}</svg>"
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, name: str) -> None:
        """A straight line."""
        where = f'x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"'
        self._parts.append(f'<line class="{name}" {where}/>')

    def path(
        self, points: Sequence[tuple[float, float]], name: str, *, closed: bool = False
    ) -> None:
        """Straight lines from point to point."""
        steps = "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        self._parts.append(f'<path class="{name}" d="M{steps}{"Z" if closed else ""}"/>')

    def polygon(self, points: Sequence[tuple[float, float]], name: str, tip: str = "") -> None:
        """A filled shape with straight sides."""
        corners = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self._shape("polygon", f'class="{name}" points="{corners}"', tip)

    def curve(self, commands: str, name: str) -> None:
        """A path by SVG's own commands, which hold numbers only."""
        self._parts.append(f'<path class="{name}" d="{commands}"/>')

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        name: str,
        tip: str = "",
        r: float = 0,
    ) -> None:
        """A rectangle; `tip` is shown when it is pointed at, `r` rounds its corners."""
        where = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
        corners = f' rx="{_n(r)}"' if r else ""
        self._shape("rect", f'class="{name}" {where}{corners}', tip)

    def circle(self, x: float, y: float, radius: float, name: str, tip: str = "") -> None:
        """A disc."""
        where = f'cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"'
        self._shape("circle", f'class="{name}" {where}', tip)

    def text(
        self,
        x: float,
        y: float,
        content: str,
        name: str = "",
        anchor: Anchor = "start",
        turn: float = 0,
        tip: str = "",
    ) -> None:
        """One line of text, `y` at its baseline, turned by so many degrees."""
        turned = f' transform="rotate({_n(turn)} {_n(x)} {_n(y)})"' if turn else ""
        aligned = "" if anchor == "start" else f' text-anchor="{anchor}"'
        named = f' class="{name}"' if name else ""
        said = f"<title>{_escaped(tip)}</title>" if tip else ""
        self._parts.append(
            f'<text{named} x="{_n(x)}" y="{_n(y)}"{aligned}{turned}>'
            f"{_escaped(content)}{said}</text>"
        )

    def _shape(self, tag: str, attributes: str, tip: str) -> None:
        said = f"><title>{_escaped(tip)}</title></{tag}>" if tip else "/>"
        self._parts.append(f"<{tag} {attributes}{said}")


def text_width(text: str, size: float = 11, *, is_mono: bool = False) -> float:
    """About how wide a text is, in pixels, erring on the wide side: fonts differ."""
    if is_mono:
        return len(text) * size * 0.62
    narrow = sum(character in " .,:;'|!iljft()[]" for character in text)
    return size * (0.34 * narrow + 0.6 * (len(text) - narrow))


def _n(value: float) -> str:
    """A coordinate in tenths of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def _escaped(text: str) -> str:
    return escape(visible(text).replace("\n", " "))
