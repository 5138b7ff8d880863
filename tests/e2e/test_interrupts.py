"""Ctrl-C and SIGTERM with the real command line: while Aer computes, and at the last moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import qexp
from tests.e2e.conftest import Cli
from tests.emulator import IBMEmulator, faults

GENERATOR = '''
from qiskit import QuantumCircuit


def deep(width: int = 23, layers: int = 2000):
    """Take Aer longer than any test may."""
    circuit = QuantumCircuit(width)
    for layer in range(layers):
        for qubit in range(width):
            circuit.ry(0.1 * (layer + 1), qubit)
        for qubit in range(width - 1):
            circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    yield circuit
'''
ARGUMENTS = ("circuits._target_=heavy.deep", "primitive=sampler", "backend=aer")
TRANSPILED = ("transpile.optimization_level=0", "primitive.shots=10")


def is_submitted(folder: Path) -> bool:
    return any('"submitted"' in path.read_text() for path in folder.rglob("journal.jsonl"))


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]],
    ids=["int", "term", "twice"],
)
def test_a_run_that_is_interrupted_does_not_wait_for_aer(
    tmp_path: Path, signals: list[signal.Signals]
) -> None:
    (tmp_path / "heavy.py").write_text(GENERATOR)
    with subprocess.Popen(
        [sys.executable, "-m", "qexp", *ARGUMENTS, *TRANSPILED],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    ) as process:
        assert process.stderr is not None
        try:
            while not is_submitted(tmp_path):
                assert process.poll() is None, process.stderr.read()
            for number in signals:
                process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "stopping, what is measured is kept" in errors
    if len(signals) == 1:
        (archive,) = tmp_path.rglob("run.h5")
        with qexp.open_archive(archive) as run:
            assert run.status == "partial"


SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
JOBS = 2
SMALL = (
    "experiment=random_sampling",
    f"circuits.num_circuits={2 * JOBS}",
    "circuits.depth=2",
    "partition.max_circuits=2",
    "primitive.shots=50",
    "backend=least_busy",
    "engine.poll_interval_s=0.1",
)


@pytest.fixture
def emulator() -> Iterator[IBMEmulator]:
    with IBMEmulator() as running:
        yield running


def environment(emulator: IBMEmulator) -> dict[str, str]:
    return {name: value for name, value in emulator.env.items() if name != "HOME"}


def interrupting(folder: Path, number: signal.Signals) -> Callable[[], None]:
    """Send a signal to the process that works on the run below a folder."""

    def send() -> None:
        (holder,) = folder.rglob(".holder.json")
        os.kill(json.loads(holder.read_text())["pid"], number)

    return send


@SIGNALS
@pytest.mark.parametrize(
    ("more", "num_points"), [((), 1), (("-m", "seed=1,2"), 2)], ids=["single", "sweep"]
)
def test_a_stop_during_the_last_collection_is_answered(
    cli: Cli,
    tmp_path: Path,
    emulator: IBMEmulator,
    number: signal.Signals,
    more: tuple[str, ...],
    num_points: int,
) -> None:
    jobs = JOBS * num_points
    emulator.faults.append(faults.then(faults.RESULTS, interrupting(tmp_path, number), nth=jobs))
    done = cli(*SMALL, *more, env=environment(emulator))
    assert done.code == 130
    archives = done.archives()
    assert len(archives) == num_points
    kept = ", ".join(map(str, archives))
    assert done.err.splitlines()[-1] == f"qexp: interrupted; all {jobs} jobs are kept: {kept}"
    for archive in archives:
        with qexp.open_archive(archive) as run:
            assert run.status == "complete"
    assert len(emulator.journal.find("POST", "/jobs")) == jobs
    assert len(emulator.session_ids) == 1


@SIGNALS
def test_a_stop_after_the_last_submission_is_answered(
    cli: Cli, tmp_path: Path, emulator: IBMEmulator, number: signal.Signals
) -> None:
    emulator.hold()
    emulator.faults.append(faults.then(faults.CLOSE_SESSION, interrupting(tmp_path, number)))
    done = cli("-m", *SMALL, "seed=1,2", "stop_after=submit", env=environment(emulator))
    assert done.code == 130
    assert f"interrupted; 0 of {2 * JOBS} jobs are kept; go on with: python -m qexp" in done.err
    assert len(emulator.journal.find("POST", "/jobs")) == 2 * JOBS


DROPPING = """
import signal, weakref
from qiskit import QuantumCircuit


class Thing:
    pass


def circuits(number: int, num_circuits: int = 2):
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(number))
    del thing
    for _ in range(num_circuits):
        circuit = QuantumCircuit(1)
        circuit.measure_all()
        yield circuit
"""


@SIGNALS
@pytest.mark.parametrize(
    "more",
    [(), ("-m", "seed=1,2"), ("-m", "seed=1,2", "stop_after=plan")],
    ids=["single", "sweep", "plan"],
)
def test_a_stop_that_python_drops_while_planning_is_answered(
    cli: Cli, tmp_path: Path, number: signal.Signals, more: tuple[str, ...]
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "dropping.py").write_text(DROPPING)
    target = ("circuits._target_=dropping.circuits", f"circuits.number={number.value}")
    done = cli(*target, "primitive=sampler", "primitive.shots=10", *more)
    assert done.code == 130
    assert done.err == "qexp: interrupted before anything was submitted\n"
    assert done.archives() == []
