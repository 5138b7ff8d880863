"""Qiskit's own functions load what the archive holds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.primitives import PrimitiveResult
from qiskit_ibm_runtime import RuntimeDecoder

import qexp
from qexp.archive.circuits import write_circuits
from qexp.archive.identity import circuit_sha256
from qexp.export.formats import export
from tests.unit.archive.samples import assert_same_result


def load(path: Path) -> PrimitiveResult:
    with path.open() as stream:
        return json.load(stream, cls=RuntimeDecoder)


@pytest.mark.parametrize("workload", ["energy", "states"])
def test_results_and_circuits_come_back(workload: str, complete: Path) -> None:
    folder = export(complete, "qiskit").path
    with qexp.open_archive(complete) as run:
        expected, result = run.primitive_result(workload), load(folder / f"{workload}.json")
        assert type(result) is PrimitiveResult
        assert result.metadata == expected.metadata
        for actual, each in zip(result, expected, strict=True):
            assert_same_result(actual, each)
        for isa, name in ((False, f"{workload}.qpy"), (True, f"{workload}-isa.qpy")):
            with (folder / name).open("rb") as stream:
                circuits = qpy.load(stream)
            identities = [circuit_sha256(circuit) for circuit in circuits]
            assert identities == [circuit_sha256(c) for c in run.circuits(workload, isa=isa)]


def test_results_and_circuits_of_a_partial_run_belong_together(partial: Path) -> None:
    folder = export(partial, "qiskit").path
    result = load(folder / "states.json")
    assert (len(result), result.metadata["qexp"]["pub"]) == (1, [0])
    with (folder / "states.qpy").open("rb") as stream:
        assert len(qpy.load(stream)) == 1


def test_delays_keep_their_unit_in_their_name() -> None:
    circuit = QuantumCircuit(1)
    circuit.delay(20.0, 0, "ns")
    stream = io.BytesIO()
    assert write_circuits([circuit, QuantumCircuit(1)], stream)
    stream.seek(0)
    assert [dict(loaded.count_ops()) for loaded in qpy.load(stream)] == [{"delay_ns": 1}, {}]
