"""Parts are written atomically, in any order, and become the same archive."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import CouplingMap, generate_preset_pass_manager

import qexp
from qexp.archive import merge as merge_module
from qexp.archive.pubs import pub_rows
from qexp.archive.tables import TableData
from qexp.archive.writer import RunStore
from qexp.core.model import Partition, PlannedPub
from qexp.errors import ArchiveError
from tests.archives import (
    estimator_pub,
    header,
    outcome,
    sampler_circuit,
    sampler_jobs,
    sampler_pub,
    sampler_result,
    started,
    write_partition,
    write_run,
)


def mask(text: str) -> str:
    return text.replace("s3cret", "***")


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_another_run_of_the_process_may_write_a_part_of_the_same_name(tmp_path: Path) -> None:
    name = started(tmp_path / "other", sampler_pub()).path("partition", 0).name
    with h5py.File(name, "w", driver="core", backing_store=False):
        store = started(tmp_path / "run", sampler_pub())
    assert store.path("partition", 0).name == name
    assert store.path("partition", 0).is_file()


def test_equal_parts_give_equal_bytes(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [*sampler_jobs([2, 1]), None])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    sealed = [
        RunStore(tmp_path / name).seal("partial", keep_parts=False).read_bytes() for name in "ab"
    ]
    assert sealed[0] == sealed[1]


def test_order_of_completion_does_not_change_the_data(tmp_path: Path) -> None:
    jobs, digests = sampler_jobs([2, 3, 1]), set()
    for name, order in {"a": [0, 1, 2], "b": [2, 0, 1]}.items():
        path = write_run(tmp_path / name, jobs, order).seal("complete", keep_parts=False)
        with qexp.open_archive(path) as run:
            digests.add(run.data_sha256)
            assert [job.partition for job in run.jobs] == [0, 1, 2]
    assert len(digests) == 1


def test_other_data_have_another_digest(tmp_path: Path) -> None:
    digests = set()
    for seed in (1, 2):
        with qexp.open_archive(
            write_run(tmp_path / str(seed), sampler_jobs([2], seed)).seal(
                "complete", keep_parts=False
            )
        ) as run:
            digests.add(run.data_sha256)
    assert len(digests) == 2


def test_writing_a_job_again_replaces_it(tmp_path: Path) -> None:
    store = write_run(tmp_path, [None])
    (results,) = sampler_jobs([2])
    store.write_job(outcome(0, results))
    with qexp.open_archive(store.seal("complete", keep_parts=False)) as run:
        assert len(run.jobs) == 1
        assert run.results["main"].available == (0, 1)


def test_isa_pubs_are_loaded_as_written(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    pubs = [sampler_pub(k, points=1 + k % 2, shots=None if k else 10) for k in range(4)]
    circuit = sampler_circuit(3)
    pubs.insert(2, type(pubs[0]).coerce(circuit))
    partition = write_partition(store, 3, 5, pubs)
    for loaded, written in zip(store.load_isa_pubs(partition), pubs, strict=True):
        assert loaded.circuit == written.circuit
        assert loaded.shots == written.shots
        assert loaded.shape == written.shape
        names = written.circuit.parameters
        found = loaded.parameter_values.as_array(names)
        assert np.array_equal(found, written.parameter_values.as_array(names))


def test_laid_out_observables_are_loaded_term_by_term(tmp_path: Path) -> None:
    store, logical = RunStore(tmp_path), estimator_pub()
    manager = generate_preset_pass_manager(
        1, coupling_map=CouplingMap.from_line(5), initial_layout=[3, 1], seed_transpiler=1
    )
    circuit = manager.run(logical.circuit)
    observables = logical.observables.apply_layout(circuit.layout)
    isa = type(logical)(circuit, observables, logical.parameter_values, logical.precision)
    partition = Partition(0, "main", 0, 1, None, 0.01, 1, 1, 1.0, "end")
    store.write_partition(partition, pub_rows("main", [PlannedPub("main", 0, logical, isa)], str))
    (loaded,) = store.load_isa_pubs(partition)
    assert loaded.precision == 0.01
    assert loaded.observables.tolist() == observables.tolist()
    assert np.array_equal(
        loaded.observables.sparse_observables_array(), observables.sparse_observables_array()
    )
    store.write_header(header())
    with qexp.open_archive(store.seal("planned", keep_parts=False)) as run:
        assert run.pubs("main")[0].observables.tolist() == logical.observables.tolist()
        assert run.pubs("main", isa=True)[0].observables.tolist() == observables.tolist()
        with h5py.File(run.path) as file:
            layouts = file["circuits/main/isa/initial_layout_json"].asstr()[:]
            assert list(layouts) == ["[3,1]"]


def test_no_temporary_file_is_left_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_run(tmp_path, sampler_jobs([1, 2]))
    before = contents(tmp_path)
    monkeypatch.setattr(merge_module, "copy_rows", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.seal("complete", keep_parts=False)
    assert contents(tmp_path) == before
    monkeypatch.undo()
    broken = sampler_result(np.random.default_rng(0), {"c": 1}, 1)
    monkeypatch.setattr("qexp.archive.writer.write_tables", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.write_job(outcome(0, [broken]))
    assert contents(tmp_path) == before
    monkeypatch.undo()
    with qexp.open_archive(store.seal("complete", keep_parts=False)) as run:
        assert len(run.results["main"]) == 3


def test_data_changed_while_merging_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_run(tmp_path, sampler_jobs([1]))

    def copy_zeros(source, target, start, shift=0):  # type: ignore[no-untyped-def]
        copy_rows(source, target, start, shift)
        if target.name.endswith("reg0"):
            target[:] = 0

    copy_rows = merge_module.copy_rows
    monkeypatch.setattr(merge_module, "copy_rows", copy_zeros)
    with pytest.raises(ArchiveError, match="not what was returned"):
        store.seal("complete", keep_parts=False)
    assert not (tmp_path / "run.h5").exists()


def test_a_full_disk_gives_one_line_and_existing_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_run(tmp_path, sampler_jobs([1]))
    before = contents(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("qexp.archive.atomic_files.os.replace", full)
    with pytest.raises(ArchiveError, match=r"No space left on device; check free space") as caught:
        store.write_batch(0, None, None, batch_id="b", follows=None)
    assert "\n" not in str(caught.value)
    with pytest.raises(ArchiveError, match="No space left"):
        store.seal("complete", keep_parts=False)
    assert contents(tmp_path) == before


def test_a_bit_flip_in_a_part_stops_the_merge(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    store = write_run(tmp_path, [[sampler_result(rng, {"c": 8}, 5000)]])
    part = tmp_path / "parts" / "job-000000-01.h5"
    with h5py.File(part) as file:
        chunk = file["results/main/c-8b-5000/c"].id.get_chunk_info(0)
    raw = bytearray(part.read_bytes())
    raw[chunk.byte_offset + chunk.size // 2] ^= 1
    part.write_bytes(raw)
    with pytest.raises(ArchiveError, match="damaged"):
        store.seal("complete", keep_parts=False)
    assert part.exists()


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    store = write_run(tmp_path, sampler_jobs([1]))
    part = tmp_path / "parts" / "job-000000-01.h5"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(ArchiveError, match=r"job-000000-01\.h5"):
        store.seal("complete", keep_parts=False)


def test_a_missing_partition_is_noticed(tmp_path: Path) -> None:
    store = write_run(tmp_path, sampler_jobs([1, 1]))
    (tmp_path / "parts" / "partition-000000.h5").unlink()
    with pytest.raises(ArchiveError, match="PUB 0 of 'main'"):
        store.seal("complete", keep_parts=False)


def test_a_job_needs_its_partition(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"partition-000004\.h5 is missing"):
        RunStore(tmp_path).write_job(outcome(4, None))


def test_too_many_results_are_refused_and_too_few_are_kept(tmp_path: Path) -> None:
    store = write_run(tmp_path, [None])
    (results,) = sampler_jobs([3])
    with pytest.raises(ArchiveError, match="3 results for 2 PUBs"):
        store.write_job(outcome(0, results))
    store.write_job(outcome(0, results[:1]))
    with qexp.open_archive(store.seal("partial", keep_parts=False)) as run:
        assert run.results["main"].available == (0,)
        with pytest.raises(ArchiveError, match="job-0"):
            run.results["main"][1]


def test_pubs_must_be_those_of_the_partition(tmp_path: Path) -> None:
    partition = Partition(0, "main", 0, 2, 1, None, 1, 1, 1.0, "end")
    pub = sampler_pub()
    rows = pub_rows("main", [PlannedPub("main", 0, pub, pub)], str)
    with pytest.raises(ArchiveError, match="PUBs 0 to 1"):
        RunStore(tmp_path).write_partition(partition, rows)


def test_workload_names_that_are_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="'a/b'"):
        write_partition(RunStore(tmp_path), 0, 0, [sampler_pub()], "a/b")


def test_a_run_without_header_is_not_sealed(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"header\.json"):
        RunStore(tmp_path).seal("failed", keep_parts=False)


def test_a_folder_that_cannot_be_created_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="cannot create") as caught:
        RunStore(tmp_path / "file" / "run").write_header(header())
    assert "\n" not in str(caught.value)


def test_no_text_escapes_redaction(tmp_path: Path) -> None:
    store = RunStore(tmp_path, redact=mask)
    store.write_header(
        header(
            config_yaml="token: s3cret\n",
            overrides=("x=s3cret",),
            environment={"git_diff": "s3cret", "s3cret": 1},
            metadata={"title": "s3cret"},
            backend={"name": "s3cret", "target": {"a": ["s3cret"]}},
        )
    )
    store.write_batch(0, {"id": "s3cret"}, None, batch_id="s3cret", follows="s3cret")
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    write_partition(store, 0, 0, [type(sampler_pub()).coerce(circuit)])
    result = sampler_result(np.random.default_rng(0), {"c": 1}, 5)
    result.metadata["who"] = "s3cret"
    store.write_job(
        outcome(
            0,
            [result],
            error="s3cret",
            job_id="s3cret",
            info={"logs": "s3cret"},
            backend_properties={"s3cret": "s3cret"},
        )
    )
    for path in (tmp_path / "parts").iterdir():
        assert b"s3cret" not in path.read_bytes()
    path = store.seal("complete", keep_parts=False)
    with h5py.File(path) as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        for name in names:
            values = file[name][()]
            assert "s3cret" not in str(values.tolist() if hasattr(values, "tolist") else values)
            assert b"s3cret" not in (values.tobytes() if hasattr(values, "tobytes") else b"")


def test_seal_reads_one_job_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write_run(tmp_path, sampler_jobs([1] * 6))
    opened, most = set(), [0]
    original = merge_module.open_part

    @contextmanager
    def watched(path: Path, *only: str) -> Iterator[dict[str, TableData]]:
        opened.add(path)
        most[0] = max(most[0], len(opened))
        with original(path, *only) as tables:
            yield tables
        opened.discard(path)

    monkeypatch.setattr(merge_module, "open_part", watched)
    store.seal("complete", keep_parts=False)
    assert most == [2]
    assert not opened


def test_large_rows_are_copied_without_decoding(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    jobs = [[sampler_result(rng, {"c": 8}, 5000) for _ in range(2)] for _ in range(2)]
    store = write_run(tmp_path, jobs)
    raw = []
    for index in range(2):
        with h5py.File(tmp_path / "parts" / f"job-{index:06d}-01.h5") as part:
            dataset = part["results/main/c-8b-5000/c"]
            raw += [dataset.id.read_direct_chunk((row, 0, 0)) for row in range(2)]
    with h5py.File(store.seal("complete", keep_parts=False)) as file:
        dataset = file["results/main/c-8b-5000/c"]
        assert dataset.chunks == (1, 5000, 1)
        assert dataset.compression == "gzip"
        assert dataset.fletcher32
        assert [dataset.id.read_direct_chunk((row, 0, 0)) for row in range(4)] == raw


LIMITED = """
import os, resource, sys
from pathlib import Path
import numpy as np
from qiskit.primitives import BitArray, DataBin, SamplerPubResult
from qexp.errors import ArchiveError
from tests.archives import header, outcome, sampler_pub, write_partition
from qexp.archive.writer import RunStore
store = RunStore(Path(sys.argv[1]))
store.write_header(header())
for k in range(2):
    write_partition(store, k, k, [sampler_pub(k)])
def results(shots):
    array = np.frombuffer(os.urandom(shots), "u1").reshape(shots, 1)
    return [SamplerPubResult(DataBin(c=BitArray(array, 8)), {})]
resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))
try:
    store.write_job(outcome(0, results(3 * 10**6)))
except ArchiveError as error:
    print(error)
store.write_job(outcome(1, results(10)))
print(store.seal("partial", keep_parts=False))
"""


def test_a_part_that_cannot_be_written_gives_one_line_and_harms_nothing_else(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stderr == ""
    refused, sealed = done.stdout.splitlines()
    assert "job-000000-01.h5: File too large; check free space" in refused
    with qexp.open_archive(sealed) as run:
        assert run.results["main"].available == (1,)


def test_an_archive_that_does_not_fit_on_the_disk_is_refused_and_its_parts_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_run(tmp_path, sampler_jobs([1]))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
        with pytest.raises(ArchiveError, match=r"0\.0 MB are free"):
            store.seal("complete", keep_parts=False)
    assert store.seal("complete", keep_parts=False).exists()


@pytest.mark.parametrize("seed", [-1, 2**63, 2**70])
def test_a_seed_that_cannot_be_stored_is_refused_before_anything_runs(
    seed: int, tmp_path: Path
) -> None:
    with pytest.raises(ArchiveError, match="cannot be stored"):
        RunStore(tmp_path).write_header(header(seed=seed))


def test_circuits_keep_no_secret_in_qpy(tmp_path: Path) -> None:
    circuit = sampler_circuit(2)
    circuit.name, circuit.metadata = "with s3cret", {"key": ["s3cret", 1], "s3cret": None}
    store = RunStore(tmp_path, redact=mask)
    store.write_header(header())
    write_partition(store, 0, 0, [type(sampler_pub()).coerce(circuit)], redact=mask)
    path = store.seal("planned", keep_parts=False)
    assert b"s3cret" not in path.read_bytes()
    with qexp.open_archive(path) as run:
        assert run.circuits()[0].name == "with ***"
        assert run.circuits()[0].metadata == {"key": ["***", 1], "***": None}
    assert circuit.name == "with s3cret"
