"""A page as a browser's parser takes it apart."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Elements, attributes and texts of a page.

    Attributes:
        tags: Names of its elements, in order.
        attributes: Every `(element, attribute, value)`.
        texts: Its texts outside the style sheet.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.style = ""
        self._is_style = False
        self.feed(source)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._is_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._is_style = False

    def handle_data(self, data: str) -> None:
        if self._is_style:
            self.style += data
        else:
            self.texts.append(data)

    @property
    def policy(self) -> str:
        """The Content-Security-Policy."""
        (found,) = (
            v for t, n, v in self.attributes if (t, n) == ("meta", "content") and "-src" in v
        )
        return found


def assert_inert(page: Page) -> None:
    """The page runs nothing and loads nothing."""
    known = {"html", "head", "meta", "title", "link", "style", "body", "header", "main", "footer"}
    known |= {"section", "nav", "div", "span", "p", "a", "h1", "h2", "h3", "b", "strong", "small"}
    known |= {"code", "pre", "dl", "dt", "dd", "ul", "li", "table", "thead", "tbody", "tr", "th"}
    known |= {"td", "details", "summary", "figure", "figcaption"}
    known |= {"svg", "desc", "line", "path", "rect", "circle", "polygon", "text"}
    assert set(page.tags) <= known
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in {"src", "style", "srcset", "action", "xlink:href"}, (tag, name)
        if name == "href":
            assert value.startswith(("#", "./", "data:,")), (tag, value)
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert page.policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}';" in page.policy
    assert "url(" not in page.style
    assert "@import" not in page.style


def has_hidden_characters(source: str) -> bool:
    """Whether it has control characters, or such as change the direction of writing."""
    return bool(
        re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", source)
    )
