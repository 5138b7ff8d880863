from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from qexp.engines.ibm.select import least_busy, named
from qexp.errors import ConfigError, EngineError
from tests.emulator import (
    INSTANCE,
    INSTANCE_NAME,
    JAKARTA,
    LEAST_BUSY,
    LEAST_BUSY_100Q,
    MANILA,
    OTHER_INSTANCE,
    OTHER_INSTANCE_NAME,
    PAUSED,
    TOKEN,
    IBMEmulator,
    Response,
)

EVERY_NAME = "ibm_manila (5 qubits), ibm_jakarta (7 qubits), ibm_torino (133 qubits)"


def message(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert TOKEN not in text
    assert INSTANCE not in text
    return text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, LEAST_BUSY),
        ({"min_num_qubits": 100}, LEAST_BUSY_100Q),
        ({"operational": None, "simulator": None}, LEAST_BUSY),
        ({"instance": INSTANCE}, LEAST_BUSY),
        ({"filters": {"processor_type.family": "Heron"}}, LEAST_BUSY_100Q),
        ({"filters": {"processor_type": {"family": "Heron"}}}, LEAST_BUSY_100Q),
        ({"filters": {"n_qubits": 5, "name": MANILA}}, MANILA),
    ],
)
def test_least_busy(ibm_emulator: IBMEmulator, arguments: dict[str, Any], expected: str) -> None:
    assert least_busy(**arguments).name == expected


def test_by_name(ibm_emulator: IBMEmulator) -> None:
    backend = named(name=MANILA)
    assert backend.name == MANILA
    assert backend.options.use_fractional_gates is False


@pytest.mark.parametrize(
    ("instance", "crn"), [(INSTANCE_NAME, INSTANCE), (OTHER_INSTANCE_NAME, OTHER_INSTANCE)]
)
def test_instance_by_name(
    ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch, instance: str, crn: str
) -> None:
    for name, value in ibm_emulator.proxy_env.items():
        monkeypatch.setenv(name, value)
    assert least_busy(instance=instance).name == LEAST_BUSY
    assert {record.instance for record in ibm_emulator.journal.find("GET", "/backends")} == {crn}
    with pytest.raises(ConfigError) as error:
        least_busy(instance="mine")
    assert message(error).startswith("backend.instance='mine': ")


def test_a_wrong_name_lists_the_available_backends(ibm_emulator: IBMEmulator) -> None:
    with pytest.raises(ConfigError) as error:
        named(name="ibm_torin")
    text = message(error)
    assert text.startswith("backend.name='ibm_torin' is not available to this account; available: ")
    assert EVERY_NAME in text


def test_nothing_matches(ibm_emulator: IBMEmulator) -> None:
    with pytest.raises(ConfigError) as error:
        least_busy(min_num_qubits=1000, filters={"processor_type.family": "Falcon"})
    text = message(error)
    assert (
        "min_num_qubits=1000, operational=True, simulator=False, processor_type.family=Falc" in text
    )
    assert EVERY_NAME in text


def test_unknown_attribute(ibm_emulator: IBMEmulator) -> None:
    with pytest.raises(ConfigError) as error:
        least_busy(filters={"processor_typ.family": "Heron", "n_qubits": 5})
    text = message(error)
    assert text.startswith(
        "backend.filters: no backend has the attribute processor_typ.family; known"
    )
    assert "processor_type" in text
    assert not any(record.path.endswith("/properties") for record in ibm_emulator.journal)


def test_no_fractional_gates(ibm_emulator: IBMEmulator) -> None:
    with pytest.raises(ConfigError, match=r"^backend\.use_fractional_gates: "):
        named(name=MANILA, use_fractional_gates=True)


def test_no_account(ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    with pytest.raises(ConfigError) as error:
        least_busy()
    text = message(error)
    assert "save_account(" in text
    assert "backend=local needs none" in text
    with pytest.raises(ConfigError, match="'work' is not a saved IBM account; saved: none"):
        least_busy(account="work")


def test_saved_account(ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from qiskit_ibm_runtime import QiskitRuntimeService

    url = ibm_emulator.env["QISKIT_IBM_URL"]
    QiskitRuntimeService.save_account(token=TOKEN, instance=INSTANCE, url=url, name="work")
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    assert named(name=MANILA, account="work").name == MANILA
    with pytest.raises(ConfigError, match="'home' is not a saved IBM account; saved: work"):
        named(name=MANILA, account="home")


def test_wrong_key_fails_at_once(
    ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "a-wrong-api-key")
    with pytest.raises(EngineError) as error:
        least_busy()
    text = message(error)
    assert "a-wrong-api-key" not in text
    assert "gave no access token: Provided API key could not be found" in text
    assert len(ibm_emulator.journal.find("POST", "/identity/token")) == 1


def test_instance_without_access(
    ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", INSTANCE.replace("0c9d5c1e", "ffffffff"))
    with pytest.raises(EngineError) as error:
        least_busy()
    text = message(error)
    assert "No access to instance [redacted] (code 1200)" in text
    assert "ffffffff" not in text


def test_an_outage_is_not_a_wrong_name(ibm_emulator: IBMEmulator) -> None:
    def no_backends(method: str, path: str) -> Response | None:
        return Response(body={"devices": []}) if path == "/backends" else None

    ibm_emulator.faults.append(no_backends)
    with pytest.raises(EngineError, match="lists no backend for this account"):
        named(name=MANILA)
    with pytest.raises(EngineError, match="lists no backend for this account"):
        least_busy()
    for select in (least_busy, partial(named, name=MANILA)):
        with pytest.raises(EngineError, match="lists no backend for this account"):
            select(pinned=MANILA)


@pytest.mark.parametrize("name", [MANILA, LEAST_BUSY_100Q, PAUSED])
def test_a_pinned_backend_prevails_over_all_conditions(
    ibm_emulator: IBMEmulator, name: str
) -> None:
    assert least_busy(pinned=name, min_num_qubits=1000, filters={"no": "such"}).name == name
    assert named(name=JAKARTA, pinned=name).name == name


def test_a_pinned_backend_that_is_gone(ibm_emulator: IBMEmulator) -> None:
    from qiskit_ibm_runtime.ibm_backend import IBMRetiredBackend

    for select in (least_busy, partial(named, name=MANILA)):
        backend = select(pinned="ibm_gone")
        assert isinstance(backend, IBMRetiredBackend)
        assert backend.name == "ibm_gone"
        assert isinstance(backend.num_qubits, int)
        assert backend.service.active_instance() == INSTANCE
