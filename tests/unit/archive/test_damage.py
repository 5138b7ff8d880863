"""Damage in a file that is known to be damaged is located."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import pytest
from qiskit import QuantumCircuit

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.verify import find_damage
from qexp.archive.writer import RunStore
from qexp.journal.events import Started
from qexp.journal.file import Journal
from tests.archives import (
    header,
    outcome,
    sampler_jobs,
    sampler_pub,
    started,
    write_batch,
    write_partition,
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("run")
    store = RunStore(folder)
    environment: dict[str, Any] = {"distributions": [f"qiskit=={version('qiskit')}"]}
    store.write_header(header(environment=environment))
    write_batch(store)
    write_partition(store, 0, 0, [sampler_pub()])
    store.write_job(outcome(0, *sampler_jobs([1])))
    with Journal(folder) as journal:
        journal.append(Started("host", 1, "0.1"))
    return store.seal("complete", keep_parts=False).read_bytes()


@pytest.fixture
def found(raw: bytes, tmp_path: Path) -> Callable[[str, int], list[str]]:
    """Return the damage of a copy with a flipped bit in the middle of a dataset."""

    def scanned(name: str, shift: int) -> list[str]:
        path = tmp_path / "run.h5"
        path.write_bytes(raw)
        with h5py.File(path) as file:
            dataset = file[name]
            if dataset.chunks:
                start = dataset.id.get_chunk_info(0).byte_offset
            else:
                start = dataset.id.get_offset()
        changed = bytearray(raw)
        changed[start + shift] ^= 1
        path.write_bytes(changed)
        with ArchiveFile(path) as file:
            return list(find_damage(file))

    return scanned


def test_an_intact_file_has_no_damage(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    path.write_bytes(raw)
    with ArchiveFile(path) as file:
        assert list(find_damage(file)) == []


@pytest.mark.parametrize(
    ("name", "shift", "expected"),
    [
        ("journal/text", 20, "line 1 of journal/text does not have its checksum"),
        ("circuits/main/isa/qpy", 2, "circuit 0 of circuits/main/isa does not have its digest"),
        ("backend/snapshots/s0/properties_json", 25, "s0 does not have its digest"),
        ("jobs/first", 0, "row 0 of jobs/first is not that of partitions/first"),
        ("jobs/predicted_qpu_s", 3, "row 0 of jobs/predicted_qpu_s is not that of partitions"),
    ],
)
def test_data_that_contradict_a_digest_or_another_column_are_named(
    found, name: str, shift: int, expected: str
) -> None:
    assert any(expected in line for line in found(name, shift))


def test_compressed_circuits_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    store = started(tmp_path)
    circuits = []
    for k in range(400):
        circuit = QuantumCircuit(2, name=f"c{k}")
        circuit.rx(k / 7, 0)
        circuit.measure_all()
        circuits.append((circuit,))
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    pubs = [SamplerPub.coerce(pub) for pub in circuits]
    write_partition(store, 0, 0, pubs)
    path = store.seal("planned", keep_parts=True)
    with h5py.File(path) as file:
        qpy = file["circuits/main/isa/qpy"]
        assert qpy.id.get_num_chunks() > 1
        chunk = qpy.id.get_chunk_info(0)
    changed = bytearray(path.read_bytes())
    changed[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(changed)
    with ArchiveFile(path) as file:
        clauses = list(find_damage(file))
    assert clauses[0].startswith("circuits/main/isa/qpy is damaged")
    assert clauses[1].startswith("circuits 0-")
    assert clauses[1].endswith("of circuits/main/isa cannot be read")
