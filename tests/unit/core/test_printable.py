from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qexp.core.printable import printable


def test_plain_text_of_any_script_is_unchanged() -> None:
    assert printable("fake_manila, größe 5 µs, 量子") == "fake_manila, größe 5 µs, 量子"


def test_what_steers_a_terminal_is_shown_instead() -> None:
    assert printable("\x1b[2Ja\x07\x9b31m") == "\\x1b[2Ja\\x07\\x9b31m"
    assert printable("gnp\u202e.exe") == "gnp\\u202e.exe"
    assert printable("two\nlines\tand\rmore") == "two lines and more"


@given(st.text(st.characters(codec=None)))
def test_the_result_is_one_line_that_any_terminal_takes(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert printable(shown) == shown
