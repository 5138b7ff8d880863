from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Parameter

from qexp.circuits.files import load_circuits
from qexp.errors import ConfigError


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def prepared(circuit: QuantumCircuit) -> QuantumCircuit:
    """The only circuit of the only file."""
    Path("circuits").mkdir()
    Path("circuits/a.qasm").write_bytes(b"text")
    (loaded,) = load_circuits("circuits/*.qasm", "qasm", lambda _path, _content: [circuit])
    assert loaded is circuit
    return circuit


def found(pattern: str) -> Sequence[Path]:
    """The files that a glob matches."""
    paths: list[Path] = []

    def parse(path: Path, content: bytes) -> list[QuantumCircuit]:
        assert content == b""
        paths.append(path)
        return []

    assert list(load_circuits(pattern, "qasm", parse)) == []
    return paths


def test_files_are_sorted_and_folders_left_out(tmp_path: Path) -> None:
    (tmp_path / "deep" / "folder.qasm").mkdir(parents=True)
    for name in ("b.qasm", "deep/a.qasm", "a.qasm", "a.txt"):
        (tmp_path / name).touch()
    assert found("*.qasm") == [Path("a.qasm"), Path("b.qasm")]
    assert found("**/*.qasm") == [Path("a.qasm"), Path("b.qasm"), Path("deep/a.qasm")]
    assert found(str(tmp_path / "b.qasm")) == [tmp_path / "b.qasm"]


@pytest.mark.parametrize("pattern", ["**", "**/*.qasm", "*/**/a.qasm", "deep/**/**/a*", "deep/**"])
def test_globs_match_what_pythons_own_do(tmp_path: Path, pattern: str) -> None:
    for name in ("a.qasm", "deep/a.qasm", "deep/[x]/b/a.qasm", "deep/.hidden/a.qasm", ".b/a.qasm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    matches = set(glob.glob(pattern, recursive=True))
    expected = sorted(map(Path, filter(os.path.isfile, matches)))
    assert found(pattern) == expected


def test_links_between_folders_lead_to_each_file_once(tmp_path: Path) -> None:
    for name in ("data/x", "data/y"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "up").symlink_to("..")
        (tmp_path / name / "a.qasm").touch()
    (tmp_path / "data" / "x" / "same.qasm").symlink_to("a.qasm")
    (tmp_path / "other").symlink_to("data")
    names = ["x/a.qasm", "x/same.qasm", "y/a.qasm"]
    assert found("**/*.qasm") == [Path("data", name) for name in names]
    # A linked folder is entered, where there is no other way.
    assert found("other/**/*.qasm") == [Path("other", name) for name in names]
    assert found("*/y/*.qasm") == [Path("data/y/a.qasm")]


def test_a_glob_without_match_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"circuits\.files: 'no/\*\.qasm' matches no file"
    ) as info:
        found("no/*.qasm")
    assert str(tmp_path) in str(info.value)
    assert "\n" not in str(info.value)


def test_a_file_that_vanished_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.qasm").touch()
    monkeypatch.setattr(Path, "read_bytes", lambda path: (path.parent / "gone").open("rb").read())
    with pytest.raises(ConfigError, match=r"'a\.qasm' cannot be read: No such file"):
        found("*.qasm")


def test_circuits_are_numbered_over_all_files(tmp_path: Path) -> None:
    for name in ("b.qpy", "a.qpy"):
        (tmp_path / name).touch()

    def parse(path: Path, _content: bytes) -> list[QuantumCircuit]:
        return [QuantumCircuit(1, name=path.stem), QuantumCircuit(1, name="x")]

    names = [circuit.name for circuit in load_circuits("*.qpy", "qpy", parse)]
    assert names == ["a_0000", "x_0001", "b_0002", "x_0003"]


def test_a_circuit_without_classical_bits_is_measured() -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    assert [register.name for register in prepared(circuit).cregs] == ["meas"]
    assert circuit.metadata == {
        "family": "qasm",
        "file": "circuits/a.qasm",
        "sha256": "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1",
    }


def test_a_measured_circuit_is_left_alone() -> None:
    circuit = QuantumCircuit(2, 1, metadata={"own": 1})
    circuit.measure(1, 0)
    assert prepared(circuit).count_ops() == {"measure": 1}
    assert circuit.metadata["own"] == 1


def test_a_measurement_within_control_flow_counts() -> None:
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop(range(2)):
        circuit.measure(0, 0)
    assert prepared(circuit).count_ops() == {"for_loop": 1}


def test_unbound_parameters_are_refused() -> None:
    circuit = QuantumCircuit(1, name="ansatz")
    circuit.rx(Parameter("a"), 0)
    with pytest.raises(ConfigError, match=r"'circuits/a\.qasm', circuit 'ansatz_0000': unbound"):
        prepared(circuit)


@pytest.mark.parametrize("classical", [ClassicalRegister(1, "c"), [Clbit()]])
def test_classical_bits_that_hold_no_result_are_refused(classical: object) -> None:
    circuit = QuantumCircuit(QuantumRegister(1), classical)
    with pytest.raises(ConfigError, match="no measurement into a classical register"):
        prepared(circuit)
