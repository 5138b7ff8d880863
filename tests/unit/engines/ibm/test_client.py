from __future__ import annotations

import logging
import warnings
from datetime import UTC, datetime

import pytest
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError, IBMRuntimeError
from requests import ConnectionError as RequestsConnectionError

from qexp.engines.ibm.client import (
    client_reason,
    quiet_client_log,
    reading,
    redact,
    redact_json,
    service_call,
)
from qexp.errors import ConfigError, EngineError

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:0c9d5c1e::"
ENCODED = CRN.replace(":", "%3A").replace("/", "%2F")
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
KEY = "an-api-key-that-nobody-has"


@pytest.mark.parametrize("secret", [CRN, ENCODED, JWT, KEY])
def test_no_secret_passes(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", KEY)
    text = f"see https://quantum.cloud.ibm.com/instances/{secret} or '{secret}', Bearer {secret}"
    for shown in (
        redact(text),
        client_reason(IBMRuntimeError(text)),
        str(redact_json({"a": [text], text: 1})),
    ):
        assert secret not in shown
        assert "0123456789abcdef" not in shown


def test_redacted_values_are_plain_json() -> None:
    value = {"at": datetime(2026, 1, 2, tzinfo=UTC), "n": (1, None, True)}
    assert redact_json(value) == {"at": "2026-01-02T00:00:00+00:00", "n": [1, None, True]}


def test_a_reason_quotes_the_service() -> None:
    reply = '{"errors": [{"code": 1291, "message": "Job not found.\\n ID: x"}], "trace": "t"}'
    error = RequestsApiError(f"404 Client Error: for url: http://h/jobs/x. {reply}", 404)
    said = "404 Client Error: for url: http://h/jobs/x. Job not found. ID: x (code 1291)"
    assert client_reason(error) == said


def test_a_reason_is_never_empty_nor_long() -> None:
    assert client_reason(RuntimeError()) == "RuntimeError"
    assert len(client_reason(RuntimeError("x\n" * 5000))) == 400


@pytest.mark.parametrize(
    "error",
    [
        IBMRuntimeError(f"Failed\nto run program: {CRN}"),
        RequestsApiError(f"503 {CRN}", 503),
        RequestsConnectionError(f"connection to {CRN} refused"),
        TimeoutError(CRN),
    ],
)
def test_errors_of_the_service_become_one_line(error: Exception) -> None:
    with (
        pytest.raises(EngineError, match=r"^opening the batch: ") as caught,
        service_call("opening the batch"),
    ):
        raise error
    assert "\n" not in str(caught.value)
    assert CRN not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_refused_credentials_say_what_to_do() -> None:
    with pytest.raises(EngineError, match="renew the API key"), service_call("asking"):
        raise IBMNotAuthorizedError("401 Client Error")


@pytest.mark.parametrize(
    "error", [ConfigError("mine"), QiskitBackendNotFoundError("none"), KeyError()]
)
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)), service_call("asking"):
        raise error


@pytest.mark.parametrize(
    "error", [KeyError("id"), TypeError(CRN), AttributeError("get"), IndexError(), ValueError("x")]
)
def test_a_reply_that_cannot_be_read_is_an_error_of_the_service(error: Exception) -> None:
    with (
        pytest.raises(EngineError, match=r"^asking: the reply cannot be read \(") as caught,
        reading("asking"),
    ):
        raise error
    assert CRN not in str(caught.value)


@pytest.mark.parametrize("error", [RequestsApiError("503", 503), RequestsConnectionError("reset")])
def test_other_errors_while_reading_keep_their_message(error: Exception) -> None:
    with pytest.raises(EngineError, match=r"^asking: (503|reset)$"), reading("asking"):
        raise error
    with pytest.raises(ConfigError, match="mine"), reading("asking"):
        raise ConfigError("mine")


def test_warnings_of_the_client_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with service_call("submitting") as warned:
        warnings.warn(f"usage limit, see {ENCODED}", stacklevel=1)
        assert len(warned) == 1
    assert "usage limit" in caplog.text
    assert "0123456789abcdef" not in caplog.text


def test_the_clients_own_log_is_redacted_and_not_on_the_terminal(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    client = logging.getLogger("qiskit_ibm_runtime")
    client.addHandler(logging.StreamHandler())
    quiet_client_log()
    quiet_client_log()
    logging.getLogger("qiskit_ibm_runtime.qiskit_runtime_service").warning("Invalid %s", CRN)
    assert "Invalid [redacted]" in caplog.text
    assert CRN not in caplog.text
    assert capsys.readouterr().err == ""
    assert [type(handler).__name__ for handler in client.handlers].count("_Redactor") == 1
