"""The pieces a page is made of, as templates take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from qexp.report.svg import Drawing


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    sign: Drawing
    text: str


@dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Attributes:
        span: `""` for one column, `"two"`, or `"all"`.
        narrow: The same drawn for a phone, where it differs.
    """

    drawing: Drawing
    title: str
    caption: str
    span: str = ""
    narrow: Drawing | None = None
    key: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Tile:
    """A figure worth seeing first."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Alert:
    """What a reader has to know before anything else. `kind`: `"partial"` or `"failed"`."""

    kind: str
    title: str
    lines: tuple[str, ...] = ()
    advice: str = ""


@dataclass(frozen=True)
class Head:
    """A column of a table."""

    text: str
    is_number: bool = False


@dataclass(frozen=True)
class Link:
    """A cell that leads to another page beside this one; `href` is percent-encoded."""

    text: str
    href: str

    def __len__(self) -> int:
        return len(self.text)


@dataclass(frozen=True)
class Row:
    """Cells as texts."""

    cells: tuple[str | Link, ...]
    is_bad: bool = False


@dataclass(frozen=True)
class Table:
    """A table."""

    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Fold:
    """Something that is folded: facts, a table, a text, and folds within."""

    title: str
    note: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    table: Table | None = None
    text: str = ""
    is_wrapped: bool = False
    inner: tuple[Fold, ...] = field(default=())


def table(heads: str, rows: Sequence[Sequence[Any]], *, title: str = "", note: str = "") -> Table:
    """A table; `heads` are separated by `|`, those that begin with `#` hold numbers."""
    columns = tuple(
        Head(text.strip().removeprefix("#"), text.strip().startswith("#"))
        for text in heads.split("|")
    )
    return Table(columns, tuple(Row(tuple(map(_cell, row))) for row in rows), title, note)


def _cell(value: Any) -> str | Link:
    return value if isinstance(value, Link) else str(value)


def sign(*shapes: tuple[str, str], width: float = 16) -> Drawing:
    """A legend's sign: shapes on top of each other.

    Args:
        shapes: Each `(kind, CSS class)`; kinds are `bar`, `slim`, `dot`, `pip` and `line`.
        width: Width in pixels.
    """
    draw = Drawing(width, 14, "", "sign")
    for kind, name in shapes:
        if kind == "bar":
            draw.rect(1, 2, width - 2, 10, name)
        elif kind == "slim":
            draw.rect(4, 4, width - 8, 8, name)
        elif kind == "pip":
            draw.circle(width / 2, 7, 3, name)
        elif kind == "dot":
            draw.circle(width / 2, 7, 4, name)
        else:
            draw.line(1, 7, width - 1, 7, name)
    return draw
