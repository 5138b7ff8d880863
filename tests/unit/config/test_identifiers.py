from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from qexp.config.identifiers import check_license, check_orcid, check_url

KNOWN = ["0000-0002-1825-0097", "0000-0001-5109-3700", "0000-0002-1694-233X"]
"""From ORCID's own documentation."""


@pytest.mark.parametrize("orcid", KNOWN)
def test_known_orcids_are_taken_as_they_are(orcid: str) -> None:
    assert check_orcid(orcid) == orcid


@given(st.sampled_from(KNOWN), st.integers(0, 14), st.integers(1, 9))
def test_any_single_wrong_digit_is_noticed(orcid: str, position: int, shift: int) -> None:
    places = [k for k, letter in enumerate(orcid) if letter != "-"]
    changed = list(orcid)
    changed[places[position]] = str((int(changed[places[position]]) + shift) % 10)
    with pytest.raises(PydanticCustomError, match="a digit is wrong"):
        check_orcid("".join(changed))


@given(st.text())
def test_any_text_is_taken_as_it_is_or_refused(text: str) -> None:
    for check in (check_orcid, check_license, check_url):
        with suppress(PydanticCustomError):
            assert check(text) == text


@pytest.mark.parametrize(
    "text", ["CC-BY-4.0", "CC0-1.0", "MIT OR Apache-2.0", "LicenseRef-lab", "https://lab.org/terms"]
)
def test_licences(text: str) -> None:
    assert check_license(text) == text
