from __future__ import annotations

import json
import logging

import pytest

from qexp.redact import MASK, RedactingFilter, redact

TOKEN = "s3cr3t-token-of-the-tests"


def test_the_environments_token_is_masked(monkeypatch):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    assert redact(f"apikey={TOKEN}&x=1") == f"apikey={MASK}&x=1"


def test_a_saved_accounts_token_is_masked(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".qiskit").mkdir()
    saved = {"default": {"channel": "ibm_quantum_platform", "token": TOKEN}}
    (tmp_path / ".qiskit" / "qiskit-ibm.json").write_text(json.dumps(saved))
    assert redact(f"x {TOKEN} y") == f"x {MASK} y"


def test_without_a_home_there_is_no_saved_account(no_home: None):
    assert redact("text") == "text"


def test_a_damaged_account_file_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".qiskit").mkdir()
    (tmp_path / ".qiskit" / "qiskit-ibm.json").write_text("{")
    assert redact("text") == "text"


@pytest.mark.parametrize(
    "text",
    [
        "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:1234-5678::",
        "crn%3Av1%3Abluemix%3Apublic%3Aquantum-computing%3Aus-east%3Aa%2F0123%3A456%3A%3A",
        "Authorization: Bearer abcdefgh.ijkl",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    ],
)
def test_secrets_are_known_by_their_form(text):
    assert redact(f"'{text}'").strip("'").endswith(MASK)


def test_log_records_are_redacted_with_their_traceback(monkeypatch):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    try:
        raise ValueError(TOKEN)
    except ValueError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, "f", 1, "failed %s", (TOKEN,), (ValueError, error, None)
        )
    assert RedactingFilter().filter(record)
    text = logging.Formatter("%(message)s").format(record)
    assert TOKEN not in text
    assert MASK in text
