"""Each check of the machine, on this one and with something broken."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

from qexp import doctor
from qexp.core.findings import Finding, examine
from qexp.fork_server import ForkServer

NAMES = {"versions", "clock", "HDF5", "shared memory", "IBM account", "workers"}


def findings(folder: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.check_machine(folder)}


def found_by(check: Callable[[], str]) -> Finding:
    return examine("it", check, "the check's advice")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    """A server of worker processes of the test's own."""
    server = ForkServer()
    monkeypatch.setattr("qexp.workers.SERVER", server)
    yield server
    if server._process is not None:
        server._process.kill()
    server.end()


def test_this_machine_is_fit_and_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "secret-of-the-tests")
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", "crn:v1:bluemix:public:q:us-east:a/0123:4567::")
    found = findings(tmp_path / "outputs")
    assert found.keys() == NAMES
    assert {finding.state for finding in found.values()} == {"ok"}
    assert found["versions"].found.startswith(f"qexp {metadata.version('qexp')}, qiskit ")
    assert found["IBM account"].found == (
        "QISKIT_IBM_TOKEN (channel default, instance given by its CRN)"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_is_too_old_or_missing_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
):
    original = metadata.version

    def version(name: str) -> str:
        if name == "scipy":
            raise metadata.PackageNotFoundError(name)
        return "1.26.4" if name == "numpy" else original(name)

    monkeypatch.setattr(metadata, "version", version)
    finding = found_by(doctor._check_versions)
    assert finding.state == "problem"
    assert finding.found == "numpy is 1.26.4, but >=2.0 is needed; scipy is not installed"
    assert finding.advice == "python -m pip install 'numpy>=2.0' 'scipy>=1.13'"


def test_another_python_is_a_problem(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.10.14")
    assert found_by(doctor._check_versions).state == "problem"


def test_a_clock_from_before_the_installation_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    later = tmp_path / "doctor.py"
    later.touch()
    os.utime(later, (2**33, 2**33))
    monkeypatch.setattr(doctor, "__file__", str(later))
    finding = found_by(doctor._check_clock)
    assert (finding.state, "before qexp was installed" in finding.found) == ("problem", True)


def test_a_folder_that_cannot_be_written_is_a_problem_without_a_traceback(tmp_path: Path):
    # A file in place of the folder: root may write to any folder.
    (tmp_path / "outputs").write_text("")
    found = findings(tmp_path / "outputs")
    assert {name for name, each in found.items() if each.state == "problem"} == {"HDF5"}
    assert "NotADirectoryError" in found["HDF5"].found
    assert found["HDF5"].advice


def test_a_disk_that_loses_what_was_written_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from qexp.archive import probe

    monkeypatch.setattr("qexp.archive.digests.is_as_sealed", lambda path: False)
    monkeypatch.setattr(
        "qexp.archive.isolated.read_isolated", lambda function, name, *_: next(probe.probe(name))
    )
    finding = found_by(lambda: doctor._check_hdf5(tmp_path))
    assert finding.state == "problem"
    assert "does not hold what was written to it" in finding.found


def test_no_shared_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/dev/shm")

    monkeypatch.setattr("multiprocessing.shared_memory.SharedMemory", refused)
    assert found_by(doctor._check_shared_memory).state == "warning"


# Connections to a server that has died are left to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("program", ["/no/such/python", "/bin/false"])
def test_workers_that_cannot_start_are_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: ForkServer, program: str
):
    monkeypatch.setattr(sys, "executable", program)
    finding = findings(tmp_path)["workers"]
    assert finding.state == "problem"
    assert "engine.workers=1" in finding.advice


def test_workers_that_do_not_answer_are_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: ForkServer
):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(doctor, "_ANSWERS_WITHIN_S", 0.0)
    from qexp.workers import Workers

    with Workers(2) as workers:
        finding = found_by(lambda: doctor._check_workers(workers))
    assert finding.state == "problem"
    assert "do not answer" in finding.found


def test_saved_accounts_are_listed_without_their_tokens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from qiskit_ibm_runtime import QiskitRuntimeService
    from qiskit_ibm_runtime.accounts import management

    from qexp.engines.ibm.doctor import check_account

    monkeypatch.delenv("QISKIT_IBM_TOKEN", raising=False)
    path = tmp_path / "qiskit-ibm.json"
    monkeypatch.setattr(management, "_DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(path))
    assert found_by(check_account).state == "warning"
    QiskitRuntimeService.save_account(
        token="s3cr3t-token-of-the-tests",
        instance="my-instance",
        name="lab",
        channel="ibm_quantum_platform",
        filename=str(path),
    )
    finding = found_by(check_account)
    assert finding.state == "ok"
    assert finding.found == "saved: lab (channel ibm_quantum_platform, instance my-instance)"
    path.write_text("{")
    assert found_by(check_account).state == "problem"
