"""Ctrl-C and SIGTERM while Aer computes, with the real command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import qexp

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
