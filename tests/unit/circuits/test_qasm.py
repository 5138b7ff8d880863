from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm2, qasm3
from qiskit.circuit.library import UGate
from qiskit.circuit.random import random_circuit
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import Operator

from qexp.circuits.qasm import qasm_circuits
from qexp.errors import ConfigError

HEAD_2 = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\n'
HEAD_3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\n'


def load(
    folder: Path, seed_sequence: np.random.SeedSequence, **files: str | bytes
) -> list[QuantumCircuit]:
    for stem, text in files.items():
        content = text if isinstance(text, bytes) else text.encode()
        (folder / f"{stem}.qasm").write_bytes(content)
    return list(qasm_circuits(files=f"{folder}/*.qasm", seed_sequence=seed_sequence))


def test_both_versions_load_in_the_order_of_paths(
    tmp_path: Path, seed_sequence: np.random.SeedSequence
) -> None:
    circuits = load(
        tmp_path,
        seed_sequence,
        b_three=HEAD_3 + "bit[2] c;\nh q[0];\nc = measure q;\n",
        a_two="// OPENQASM 3.0;\n" + HEAD_2 + "creg c[1];\nh q[0];\nmeasure q[0] -> c[0];\n",
        c_bare="include 'stdgates.inc';\nqubit q;\nx q;\n",
    )
    assert [circuit.name for circuit in circuits] == ["a_two_0000", "b_three_0001", "c_bare_0002"]
    assert [circuit.num_clbits for circuit in circuits] == [1, 2, 1]
    assert circuits[2].cregs[0].name == "meas"
    assert circuits[0].metadata["file"].endswith("a_two.qasm")
    for circuit in circuits:
        SamplerPub.coerce(circuit, shots=10)


@pytest.mark.parametrize("before", ["", "\ufeff", "// OPENQASM 3.0;\n", "  \n"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("version", ["OPENQASM 2.0;\n", ""])
def test_the_head_of_a_file_may_be_of_many_forms(
    tmp_path: Path,
    seed_sequence: np.random.SeedSequence,
    before: str,
    version: str,
    line_end: str,
) -> None:
    # The second gate is in the include file of Qiskit's OpenQASM 2 only.
    body = 'include "qelib1.inc";\nqreg a[2];\ncreg b[2];\nh a[0];\nrzz(0.5) a[0],a[1];\n'
    text = (before + version + body + "measure a -> b;\n").replace("\n", line_end)
    (circuit,) = load(tmp_path, seed_sequence, file=text)
    assert [item.name for item in circuit.data] == ["h", "rzz", "measure", "measure"]


def test_without_a_version_or_anything_old_it_is_openqasm_3(
    tmp_path: Path, seed_sequence: np.random.SeedSequence
) -> None:
    # OpenQASM 3 takes these words of OpenQASM 2 as well.
    text = 'include "stdgates.inc";\nqreg q[1];\nbit[1] c;\nx q[0];\nc[0] = measure q[0];\n'
    (circuit,) = load(tmp_path, seed_sequence, file=text)
    assert circuit.count_ops() == {"x": 1, "measure": 1}


@pytest.mark.parametrize("dialect", [qasm2, qasm3])
def test_what_qiskit_writes_loads(
    dialect: object, tmp_path: Path, seed_sequence: np.random.SeedSequence
) -> None:
    written = random_circuit(4, 6, seed=3)
    (loaded,) = load(tmp_path, seed_sequence, file=dialect.dumps(written))  # type: ignore[attr-defined]
    loaded.remove_final_measurements()
    assert Operator(loaded).equiv(Operator(written))


OWN = "gate sx a { U(1.0,0,0) a; }\ngate rz(t) a { U(t,0,0) a; }\n"


def test_a_files_own_gates_are_its_own(
    tmp_path: Path, seed_sequence: np.random.SeedSequence
) -> None:
    uses = "sx q[0];\nrz(2.0) q[1];\n"
    circuits = load(
        tmp_path,
        seed_sequence,
        a="OPENQASM 2.0;\n" + OWN + "qreg q[2];\n" + uses,
        b="OPENQASM 3.0;\n" + OWN + "qubit[2] q;\n" + uses,
    )
    for circuit in circuits:
        circuit.remove_final_measurements()
        meant = Operator(UGate(2.0, 0, 0)).tensor(Operator(UGate(1.0, 0, 0)))
        assert Operator(circuit) == meant


def test_single_bits_of_openqasm_3_are_registers_of_their_names(
    tmp_path: Path, seed_sequence: np.random.SeedSequence
) -> None:
    text = HEAD_3 + "bit flag;\nbit[2] c;\nbit fin = measure q[0];\nflag = measure q[1];\n"
    (circuit,) = load(tmp_path, seed_sequence, file=text)
    assert {register.name: register.size for register in circuit.cregs} == {
        "c": 2,
        "flag": 1,
        "fin": 1,
    }
    bits = [circuit.find_bit(item.clbits[0]).registers[0][0].name for item in circuit.data]
    assert bits == ["fin", "flag"]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (HEAD_2 + "foo q[0];\n", 4, "'foo' is not defined"),
        (HEAD_2 + "h q[0]\ncx q[0], q[1];\n", 5, "';'"),
        (HEAD_3 + "foo q[0];\n", 4, "'foo' is not defined"),
        (HEAD_3 + "h q[0]\ncx q[0], q[1];\n", 5, "syntax error at 'cx'"),
        (HEAD_3 + "$$$;\n", 4, "token recognition error"),
        ("OPENQASM 4.0;\n", 1, "OpenQASM 4 is not supported"),
        ("garbage\n", 2, "syntax error at '<EOF>'"),
        (" \n", 1, "the file is empty"),
        (b"OPENQASM 2.0;\n// caf\xe9\n", 2, "not UTF-8 text"),
    ],
)
def test_a_parse_failure_names_file_and_line(
    text: str | bytes,
    line: int,
    reason: str,
    tmp_path: Path,
    seed_sequence: np.random.SeedSequence,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError) as info:
        load(tmp_path, seed_sequence, bad=text)
    message = str(info.value)
    assert message.startswith(f"circuits.files: {tmp_path / 'bad.qasm'}:{line}: ")
    assert reason in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_files_before_a_bad_one_are_yielded(
    tmp_path: Path, seed_sequence: np.random.SeedSequence
) -> None:
    (tmp_path / "a.qasm").write_text(HEAD_3 + "h q[0];\n", encoding="utf-8")
    (tmp_path / "b.qasm").write_text("garbage", encoding="utf-8")
    circuits = qasm_circuits(files=f"{tmp_path}/*.qasm", seed_sequence=seed_sequence)
    assert next(circuits).name == "a_0000"
    with pytest.raises(ConfigError, match=r"b\.qasm:1"):
        next(circuits)


def test_an_unset_input_is_refused(tmp_path: Path, seed_sequence: np.random.SeedSequence) -> None:
    text = 'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput float[64] a;\nqubit q;\nrx(a) q;\n'
    with pytest.raises(ConfigError, match="unbound parameters a"):
        load(tmp_path, seed_sequence, ansatz=text)
