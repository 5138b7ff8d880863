from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexp.redact import redactor
from qexp.report.figures.svg import Drawing
from qexp.report.text import date, duration, number, percent, plural, visible
from tests.unit.report.pages import has_hidden_characters


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308])
def test_a_duration_that_is_not_finite_counts_as_unknown(value: float):
    assert duration(value) == "not known"


@given(st.text(alphabet=st.characters()))
def test_visible_text_hides_nothing_and_can_be_encoded(text: str):
    shown = visible(text, str)
    assert not has_hidden_characters(shown)
    shown.encode("utf-8")
    assert len(shown) == len(text)


def test_control_characters_become_pictures_and_changes_of_direction_are_marked():
    assert visible("a\x1b[31m\tb\nc", str) == "a␛[31m\tb\nc"
    assert visible("exe.\u202egnp", str) == "exe.\N{REPLACEMENT CHARACTER}gnp"
    assert visible("θ ∘ 量子 é", str) == "θ ∘ 量子 é"


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "a-very-secret-token")
    assert visible("token a-very-secret-token", redactor()) == "token [redacted]"


@given(st.text())
def test_a_drawing_is_well_formed_with_any_text(text: str):
    draw = Drawing(10, 10, text)
    draw.text(1, 2, text, "tick", tip=text)
    draw.rect(0, 0, 1, 1, "measured", text)
    root = ET.fromstring(draw.to_html(str))
    assert [child.tag for child in root] == ["desc", "text", "rect"]
    # XML's parser makes one line end of another; two characters are none of XML's.
    expected = visible(text, str).replace("\n", " ")
    if not any(character in expected for character in "\ufffe\uffff"):
        assert (root[1].text or "") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (0.98123, "0.981"),
        (1240.2, "1,240"),
        (-0.5, "−0.500"),
        (3.21e-5, "3.21e-05"),
        (math.nan, "not a number"),
        (-math.inf, "−∞"),
    ],
)
def test_numbers(value: float, expected: str):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0s"),
        (0.00042, "420µs"),
        (0.42, "420ms"),
        (4.1, "4.1s"),
        (117, "1m 57s"),
        (120, "2m 0s"),
        (10_920, "3h 2m 0s"),
        (59.99, "1m 0s"),
    ],
)
def test_durations(value: float, expected: str):
    assert duration(value) == expected


def test_shares_counts_and_dates():
    assert percent(0.0082) == "0.820 %"
    assert (plural(1, "job"), plural(2000, "job")) == ("1 job", "2,000 jobs")
    assert date("2026-01-02T03:04:05+01:00") == "2 January 2026, 02:04 UTC"
    assert date("whenever") == "whenever"
