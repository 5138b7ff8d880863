"""QPY that cannot be trusted or is damaged is refused before Qiskit sees it, in one line."""

from __future__ import annotations

import io

import pytest
from qiskit import QuantumCircuit, qpy

from qexp.archive.circuits import MIN_QPY_VERSION, load_circuit
from qexp.errors import ArchiveError


def as_qpy() -> bytes:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    stream = io.BytesIO()
    qpy.dump(circuit, stream)
    return stream.getvalue()


def test_qpy_below_version_13_never_reaches_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qpy, "load", lambda *_, **__: pytest.fail("an old QPY was loaded"))
    for version in range(MIN_QPY_VERSION):
        raw = bytearray(as_qpy())
        raw[6] = version
        with pytest.raises(ArchiveError, match=f"QPY version {version}; only version 13") as caught:
            load_circuit(bytes(raw), "here")
        assert "\n" not in str(caught.value)
        assert "CVE-2025-2000" in str(caught.value)


def test_qpy_of_a_future_version_gives_one_line() -> None:
    raw = bytearray(as_qpy())
    raw[6] = 255
    with pytest.raises(ArchiveError, match="cannot be loaded") as caught:
        load_circuit(bytes(raw), "here")
    assert "\n" not in str(caught.value)


def test_truncated_qpy_gives_one_line() -> None:
    raw = as_qpy()
    assert load_circuit(raw, "here").count_ops() == {"h": 1, "cx": 1}
    for length in [*range(12), *range(12, len(raw), 7), len(raw) - 1]:
        with pytest.raises(ArchiveError, match="circuit here") as caught:
            load_circuit(raw[:length], "here")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"QISKIT", b"\x80\x04K\x01.", b"OPENQASM 3.0;"])
def test_bytes_that_are_not_qpy_give_one_line(raw: bytes) -> None:
    with pytest.raises(ArchiveError, match="is not QPY"):
        load_circuit(raw, "here")
