from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.text import (
    format_bytes,
    format_duration,
    format_ranges,
    parse_duration_s,
    printable,
    short_path,
    shortened,
    typed_reason,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("25m", 1500),
        ("2h 30m 40s", 9040),
        ("1h30m", 5400),
        ("90s", 90),
        (" 90 s ", 90),
        ("1h 5s", 3605),
        ("90m", 5400),
        (90, 90),
        (90.0, 90),
    ],
)
def test_reads_what_people_write(value: str | float | None, seconds: int | None) -> None:
    assert parse_duration_s(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "  ",
        "25 minutes",
        "25M",
        "90",
        "-5m",
        "0m",
        "0h 0m 0s",
        "5m 1h",
        "1m 1m",
        "1.5h",
        "9" * 5000 + "s",
        "٣m",
        0,
        -1,
        0.0,
        90.5,
        math.nan,
        math.inf,
        True,
        False,
    ],
)
def test_refuses_the_rest_in_one_line_that_says_what_is_allowed(value: str | float) -> None:
    with pytest.raises(ValueError, match='allowed are "25m", "2h 30m 40s"') as caught:
        parse_duration_s(value)
    assert "\n" not in str(caught.value)


@given(st.integers(min_value=10, max_value=10**7))
def test_reads_back_what_it_formats(seconds: int) -> None:
    assert parse_duration_s(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (4.14, "4.1s"),
        (9.96, "10s"),
        (45.2, "45s"),
        (59.7, "1m 0s"),
        (1500, "25m 0s"),
        (9040, "2h 30m 40s"),
        (3599.6, "1h 0m 0s"),
    ],
)
def test_formats_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_plain_text_of_any_script_is_unchanged() -> None:
    assert printable("fake_manila, größe 5 µs, 量子") == "fake_manila, größe 5 µs, 量子"


def test_characters_that_steer_a_terminal_are_escaped() -> None:
    assert printable("\x1b[2Ja\x07\x9b31m") == "\\x1b[2Ja\\x07\\x9b31m"
    assert printable("gnp\u202e.exe") == "gnp\\u202e.exe"
    assert printable("two\nlines\tand\rmore") == "two lines and more"


@given(st.text(st.characters(codec=None)))
def test_the_result_is_one_line_that_any_terminal_takes(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert printable(shown) == shown


def test_the_type_and_reason_of_an_error_are_one_line_of_bounded_length() -> None:
    assert typed_reason(ValueError("a\n  b")) == "ValueError: a b"
    assert typed_reason(KeyError()) == "KeyError"
    assert len(typed_reason(ValueError("x" * 5000))) < 350


def test_a_path_is_short_where_it_is_below_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "outputs" / "ghz") == "outputs/ghz"
    assert short_path(tmp_path.parent) == str(tmp_path.parent)


@pytest.mark.parametrize(
    ("indices", "text"),
    [
        ([], ""),
        ([3], "3"),
        ([4, 1, 2, 0, 7], "0-2, 4, 7"),
        (range(0, 40, 2), "0, 2, 4, 6, 8, 10, 12, 14, ... (20 in all)"),
    ],
)
def test_ranges(indices: list[int], text: str) -> None:
    assert format_ranges(indices) == text


@given(st.sets(st.integers(0, 60)))
def test_ranges_contain_all_indices_and_no_others(indices: set[int]) -> None:
    parts = [part.partition("-") for part in format_ranges(indices, most=99).split(", ") if part]
    assert {k for a, _, b in parts for k in range(int(a), int(b or a) + 1)} == indices


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (48_200_000, "48.2 MB"), (10**15, "1000.0 TB")],
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert format_bytes(size) == text


def test_a_long_text_is_shortened_to_what_may_be_shown() -> None:
    assert [shortened("abcdef", most) for most in (6, 5, 1)] == ["abcdef", "abcd…", "…"]
