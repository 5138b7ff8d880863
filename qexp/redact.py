"""Keep secrets out of every file, log and message.

A secret is recognised by its value, if the environment or a saved account has it, or by its form
(an IBM Cloud CRN, a bearer token).
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

MASK = "[redacted]"

_FORMS = re.compile(
    # As it is, and percent-encoded, as the client's warnings link it.
    r"(?i:crn(?::|%3a)v1(?::|%3a))[^\s\"'\\,;)\]}]+"
    r"|(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
)
_PERSONAL_FORMS = re.compile(
    r"[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+"  # e-mail address
    r"|\bIBMid-[\w.-]+|\biam-[\w.-]*\d[\w.-]*"  # user or service id
    r"|\ba(?:/|%2[Ff])[0-9a-f]{32}\b"  # account, as in a CRN
)
_SECRET_VARIABLES = ("QISKIT_IBM_TOKEN", "QISKIT_IBM_RUNTIME_API_TOKEN", "IBMCLOUD_API_KEY")
_SECRET_KEYS = ("token", "apikey", "api_key", "private_endpoint_token")
_SHORTEST = 6


def redact(text: str) -> str:
    """Return `text` with each secret masked."""
    return redactor()(text)


def redactor() -> Callable[[str], str]:
    """Return `redact` for many texts: the secrets are looked up only once, now."""
    secrets = _known_secrets()

    def redacted(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, MASK)
        return _FORMS.sub(MASK, text)

    return redacted


def strict_redactor(secrets: Iterable[str] = ()) -> Callable[[str], str]:
    """Return a function that also masks people and accounts, for what is handed to others.

    Further `secrets` are masked, too, if they have six characters or more.
    """
    redacted = redactor()
    more = sorted((each for each in secrets if len(each) >= _SHORTEST), key=len, reverse=True)

    def strictly_redacted(text: str) -> str:
        text = redacted(text)
        for secret in more:
            text = text.replace(secret, MASK)
        return _PERSONAL_FORMS.sub(MASK, text)

    return strictly_redacted


def _known_secrets() -> list[str]:
    # As IBM's client finds it, also where no home folder is known.
    path = Path(os.path.expanduser("~/.qiskit/qiskit-ibm.json"))
    secrets = {os.environ.get(name, "") for name in _SECRET_VARIABLES}
    with suppress(OSError):
        secrets |= _secrets_in(path, path.stat().st_mtime_ns)
    return sorted((item for item in secrets if len(item) >= _SHORTEST), key=len, reverse=True)


@lru_cache(maxsize=1)
def _secrets_in(path: Path, _modified_ns: int) -> frozenset[str]:
    """Return the tokens in the file of IBM's saved accounts; it is read again when it changes."""
    try:
        accounts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return frozenset()
    return frozenset(
        str(account[key])
        for account in (accounts.values() if isinstance(accounts, dict) else ())
        if isinstance(account, dict)
        for key in _SECRET_KEYS
        if account.get(key)
    )


class RedactingFilter(logging.Filter):
    """Redacts a log record's message and traceback before any handler formats it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; always lets it through."""
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True
