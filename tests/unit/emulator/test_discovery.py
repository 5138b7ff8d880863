"""What the unmodified client finds, and who may enter."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime import QiskitRuntimeService

from tests.emulator import (
    INSTANCE,
    INSTANCE_NAME,
    JAKARTA,
    LEAST_BUSY,
    LEAST_BUSY_100Q,
    MANILA,
    OFFLINE,
    OTHER_INSTANCE,
    OTHER_INSTANCE_NAME,
    PAUSED,
    TOKEN,
    TORINO,
    IBMEmulator,
)


def paths(emulator: IBMEmulator) -> list[str]:
    return [f"{record.method} {record.path}" for record in emulator.journal]


def test_client_finds_all_backends(ibm_emulator: IBMEmulator) -> None:
    service = QiskitRuntimeService()
    found = {backend.name: backend.num_qubits for backend in service.backends()}
    assert found == {MANILA: 5, JAKARTA: 7, TORINO: 133, PAUSED: 156, OFFLINE: 127}
    assert service.active_account()["instance"] == INSTANCE


def test_a_named_backend_costs_these_requests(ibm_emulator: IBMEmulator) -> None:
    backend = QiskitRuntimeService().backend(MANILA)
    assert backend.target.num_qubits == 5
    assert {"cx", "measure"} <= backend.target.keys()
    assert paths(ibm_emulator) == [
        "POST /identity/token",
        "GET /backends",
        "GET /backends",
        f"GET /backends/{MANILA}/configuration",
        f"GET /backends/{MANILA}/properties",
    ]
    assert all(record.status == 200 for record in ibm_emulator.journal)


def test_least_busy_passes_over_paused_and_offline(ibm_emulator: IBMEmulator) -> None:
    service = QiskitRuntimeService()
    assert service.least_busy().name == LEAST_BUSY
    assert service.least_busy(operational=True, simulator=False).name == LEAST_BUSY
    assert service.least_busy(min_num_qubits=100).name == LEAST_BUSY_100Q
    with pytest.raises(QiskitBackendNotFoundError, match="No backend matches"):
        service.least_busy(min_num_qubits=150)


def test_status_tells_operational_paused_and_offline_apart(ibm_emulator: IBMEmulator) -> None:
    service = QiskitRuntimeService()
    seen = {
        name: (status.operational, status.status_msg, status.pending_jobs)
        for name in (JAKARTA, PAUSED, OFFLINE)
        for status in (service.backend(name).status(),)
    }
    assert seen == {
        JAKARTA: (True, "active", 2),
        PAUSED: (True, "internal", 0),
        OFFLINE: (False, "internal", 0),
    }


def test_properties_at_a_date(ibm_emulator: IBMEmulator) -> None:
    backend = QiskitRuntimeService().backend(JAKARTA)
    assert backend.properties(datetime=datetime(2020, 1, 1, tzinfo=UTC)) is None
    assert backend.properties(datetime=datetime.now(UTC)).backend_name == JAKARTA
    asked = ibm_emulator.journal.find("GET", f"/backends/{JAKARTA}/properties")
    assert [list(record.query) for record in asked] == [["updated_before"], ["updated_before"]]


def test_unknown_backend(ibm_emulator: IBMEmulator) -> None:
    with pytest.raises(QiskitBackendNotFoundError):
        QiskitRuntimeService().backend("ibm_nowhere")


def test_usage_of_the_instance(ibm_emulator: IBMEmulator) -> None:
    usage = QiskitRuntimeService().usage()
    assert usage["usage_consumed_seconds"] == 0
    assert usage["usage_remaining_seconds"] == usage["usage_limit_seconds"]


def test_strangers_are_refused(ibm_emulator: IBMEmulator) -> None:
    url = ibm_emulator.url
    granted = requests.post(f"{url}/identity/token", data={"apikey": "another-key"}, timeout=30)
    assert granted.status_code == 400
    headers = {"Authorization": "Bearer x.y.z", "Service-CRN": INSTANCE}
    listed = requests.get(f"{url}/experimental/backends", headers=headers, timeout=30)
    assert listed.status_code == 401
    assert listed.json()["errors"][0]["code"] == 1200
    token = requests.post(f"{url}/identity/token", data={"apikey": TOKEN}, timeout=30).json()
    headers = {"Authorization": f"Bearer {token['access_token']}", "Service-CRN": "crn:v1:other"}
    listed = requests.get(f"{url}/experimental/backends", headers=headers, timeout=30)
    assert listed.status_code == 403


def test_service_of_an_emulator_needs_no_environment() -> None:
    with IBMEmulator() as first, IBMEmulator() as second:
        second.service().backend(MANILA)
        assert not len(first.journal)
        assert len(second.journal)


def test_instances_are_discovered_through_the_proxy(
    ibm_emulator: IBMEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ibm_emulator.proxy_env.items():
        monkeypatch.setenv(name, value)
    service = QiskitRuntimeService(instance=OTHER_INSTANCE_NAME)
    assert [(found["name"], found["crn"], found["plan"]) for found in service.instances()] == [
        (INSTANCE_NAME, INSTANCE, "open"),
        (OTHER_INSTANCE_NAME, OTHER_INSTANCE, "premium"),
    ]
    assert service.least_busy().name == LEAST_BUSY
    assert {record.instance for record in ibm_emulator.journal} == {"", OTHER_INSTANCE}
    assert QiskitRuntimeService().backend(MANILA)._instance == INSTANCE


def test_runs_by_hand() -> None:
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.emulator"],
        cwd=root,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.terminate()
    assert first.startswith("export QISKIT_IBM_TOKEN=")
    assert process.returncode == 0
