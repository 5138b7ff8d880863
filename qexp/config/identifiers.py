"""Checks of identifiers that others issue: ORCID iDs, licences, web addresses."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

_ORCID: Final = re.compile(r"(\d{4}-){3}\d{3}[\dX]")


def check_orcid(orcid: str) -> str:
    """Return an ORCID iD if its check digit is right (ISO 7064 MOD 11-2).

    https://support.orcid.org/hc/en-us/articles/360006897674 has the algorithm.

    Raises:
        PydanticCustomError: It is no ORCID iD.
    """
    if not _ORCID.fullmatch(orcid):
        raise _wrong("it must be an ORCID iD such as 0000-0002-1825-0097, without a web address")
    total = 0
    for digit in orcid.replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    check = "0123456789X"[(12 - total % 11) % 11]
    if orcid[-1] != check:
        raise _wrong(f"a digit is wrong: an ORCID iD {orcid[:-1]}... ends in {check}")
    return orcid


def check_license(text: str) -> str:
    """Return a licence if it is an SPDX expression, as `packaging` knows them, or a web address.

    Raises:
        PydanticCustomError: It is neither.
    """
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    if _is_url(text):
        return text
    known = ""
    with suppress(InvalidLicenseExpression):
        known = str(canonicalize_license_expression(text))
    if known != text:
        meant = f"did you mean {known}? " if known else ""
        raise _wrong(
            f"{meant}it must be an SPDX identifier such as CC-BY-4.0, CC0-1.0 or LicenseRef-NAME "
            "(https://spdx.org/licenses lists them), or the web address of a licence"
        )
    return text


def check_url(text: str) -> str:
    """Return a text if it is a web address.

    Raises:
        PydanticCustomError: It is no web address.
    """
    if not _is_url(text):
        raise _wrong("it must be a web address such as https://ror.org/02mhbdp94")
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not re.search(r"\s", text)


def _wrong(message: str) -> Exception:
    from pydantic_core import PydanticCustomError

    # As a field, because braces in the message itself would be fields.
    return PydanticCustomError("identifier", "{text}", {"text": message})
