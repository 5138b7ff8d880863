from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qexp.circuits.qpy import qpy_circuits
from qexp.errors import ConfigError


def dumped(*circuits: QuantumCircuit, version: int | None = None) -> bytes:
    buffer = io.BytesIO()
    if version is None:
        qpy.dump(list(circuits), buffer)
    else:
        qpy.dump(list(circuits), buffer, version=version)
    return buffer.getvalue()


def bell(name: str) -> QuantumCircuit:
    circuit = QuantumCircuit(2, name=name, metadata={"own": name})
    circuit.h(0)
    circuit.cx(0, 1)
    return circuit


def load(folder: Path, seed_sequence: np.random.SeedSequence) -> list[QuantumCircuit]:
    return list(qpy_circuits(files=f"{folder}/*.qpy", seed_sequence=seed_sequence))


def refusal(folder: Path, seed_sequence: np.random.SeedSequence, content: bytes) -> str:
    (folder / "bad.qpy").write_bytes(content)
    with pytest.raises(ConfigError) as info:
        load(folder, seed_sequence)
    message = str(info.value)
    assert message.startswith(f"circuits.files: '{folder / 'bad.qpy'}' ")
    assert "\n" not in message
    return message


def test_all_circuits_of_all_files_load(
    tmp_path: Path, seed_sequence: np.random.SeedSequence
) -> None:
    (tmp_path / "b.qpy").write_bytes(dumped(bell("three"), version=13))
    (tmp_path / "a.qpy").write_bytes(dumped(bell("one"), bell("one")))
    circuits = load(tmp_path, seed_sequence)
    assert [circuit.name for circuit in circuits] == ["one_0000", "one_0001", "three_0002"]
    assert [circuit.metadata["own"] for circuit in circuits] == ["one", "one", "three"]
    for circuit in circuits:
        pub = SamplerPub.coerce(circuit, shots=10)
        assert [register.name for register in pub.circuit.cregs] == ["meas"]


@pytest.mark.parametrize("version", [1, 10, 12])
def test_an_old_format_is_refused_before_anything_is_loaded(
    version: int,
    tmp_path: Path,
    seed_sequence: np.random.SeedSequence,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load_anyway(*_: object, **__: object) -> None:
        pytest.fail("qpy.load was called")

    monkeypatch.setattr(qpy, "load", load_anyway)
    content = b"QISKIT" + bytes([version, 1, 0, 0]) + bytes(8) + b"p"
    message = refusal(tmp_path, seed_sequence, content)
    assert f"QPY format {version}" in message
    assert "CVE-2025-2000" in message


def test_a_newer_format_is_refused(tmp_path: Path, seed_sequence: np.random.SeedSequence) -> None:
    content = dumped(bell("x"))
    newer = content[:6] + b"\xff" + content[7:]
    assert "QPY format 255" in refusal(tmp_path, seed_sequence, newer)


def test_a_truncated_file_is_refused_wherever_it_ends(
    tmp_path: Path, seed_sequence: np.random.SeedSequence
) -> None:
    content = dumped(bell("x"))
    for end in range(7, len(content), 5):
        assert "truncated or damaged" in refusal(tmp_path, seed_sequence, content[:end])


@pytest.mark.parametrize("content", [b"", b"QIS", b"QISKIT", b"OPENQASM 2.0;"])
def test_what_is_no_qpy_is_refused(
    content: bytes, tmp_path: Path, seed_sequence: np.random.SeedSequence
) -> None:
    assert "is not a QPY file" in refusal(tmp_path, seed_sequence, content)


def test_a_glob_without_match_is_refused(
    tmp_path: Path, seed_sequence: np.random.SeedSequence
) -> None:
    with pytest.raises(ConfigError, match="matches no file"):
        load(tmp_path, seed_sequence)
