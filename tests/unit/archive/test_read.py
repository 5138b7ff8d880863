"""The public API, for complete, partial, failed and planned runs, and for other files."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

import qexp
from qexp.archive.circuit_digest import circuit_sha256
from qexp.core.model import SourceFile, Span
from qexp.errors import ArchiveError
from tests.archives import (
    assert_same_result,
    bit_array,
    estimator_result,
    header,
    properties,
    sampler_circuit,
    sampler_jobs,
    sampler_pub,
    sampler_result,
    started,
    write_partition,
    write_run,
)

BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{of}'] * 10)}]\n"
    for of, name in itertools.pairwise("abcdefghijkl")
)


@pytest.mark.parametrize(
    ("config_yaml", "reason"),
    [
        (BOMB, "aliases are not allowed"),
        ("a: [\n", "while parsing"),
        ("- a\n", "is not a mapping"),
        ("a: !!python/object/apply:os.system [id]\n", "could not determine a constructor"),
    ],
)
def test_a_config_that_qexp_did_not_write_is_refused(
    tmp_path: Path, config_yaml: str, reason: str
) -> None:
    store = started(tmp_path, sampler_pub(), config_yaml=config_yaml)
    with qexp.open_archive(store.seal("planned", keep_parts=False)) as run:
        assert run.config_yaml == config_yaml
        with pytest.raises(ArchiveError, match=f"run.h5: the recorded config .*{reason}") as error:
            _ = run.config
    assert "\n" not in str(error.value)


def test_identity_config_and_provenance(tmp_path: Path) -> None:
    with qexp.open_archive(
        write_run(tmp_path, sampler_jobs([2])).seal("complete", keep_parts=False)
    ) as run:
        assert (run.status, run.run_id, run.schema) == ("complete", "20260101-abc", "1.3")
        assert (run.experiment, run.engine, run.seed) == ("random_sampling", "local", 7)
        assert run.created == "2026-01-01T00:00:00+00:00"
        assert run.config == {"seed": 7, "circuits": {"depth": 5}}
        assert run.config_yaml.startswith("seed: 7\n")
        assert run.overrides == ("circuits.depth=5", "name=größe")
        assert run.sources == (SourceFile("random_sampling.yaml", "seed: 7\n"),)
        assert run.seeds == {"main": {"circuits": [1, 2]}}
        assert run.limits == {"max_circuits": {"value": 100}}
        assert run.not_honoured == {"main": {"resilience_level": 2}}
        assert run.metadata["creators"] == [{"name": "Ada"}]
        with h5py.File(run.path) as file:
            assert json.loads(file.attrs["publisher_json"]) == {"name": "Lab", "url": None}
            assert json.loads(file.attrs["funding_json"]) == [{"funder": "Agency", "grant": "12a"}]
        assert run.environment == header().environment
        assert run.backend == header().backend
        assert run.details == {"id": "batch-1", "state": "closed"}
        assert run.details_opened == {"id": "batch-1", "state": "open"}
        assert "complete" in repr(run)


def test_jobs_show_prediction_beside_usage(tmp_path: Path) -> None:
    with qexp.open_archive(
        write_run(tmp_path, [*sampler_jobs([2, 1]), None]).seal("partial", keep_parts=False)
    ) as run:
        first, second, failed = run.jobs
        assert (first.job_id, first.state, first.workload) == ("job-0", "DONE", "main")
        assert (first.first, first.stop, second.first, second.num_results) == (0, 2, 2, 1)
        assert (first.usage_s, first.predicted_qpu_s) == (3.5, 12.5)
        assert (first.predicted_executions, first.payload_bytes) == (1000, 2000)
        assert first.closed_by == "max_circuits"
        assert first.options == {"twirling": {"enable_gates": False}}
        assert first.info == {"tags": ["qexp"]}
        assert first.result_metadata == {"version": 2}
        assert first.metrics["usage"]["status"] == "complete"
        assert first.spans == (
            Span("2026-01-01T00:00:02+00:00", "2026-01-01T00:00:03+00:00", 0, 100),
        )
        assert first.running == "2026-01-01T00:00:01+00:00"
        assert (failed.error, failed.error_code) == ("Queue\nwas closed", 1305)
        assert failed.result_metadata is None
        assert [job.index for job in run.jobs[1:]] == [1, 2]


def test_equal_calibrations_are_stored_once(tmp_path: Path) -> None:
    with qexp.open_archive(
        write_run(tmp_path, sampler_jobs([1, 1, 1])).seal("complete", keep_parts=False)
    ) as run:
        assert [job.snapshot for job in run.jobs] == [0, 0, 1]
        assert list(run.snapshots) == [properties(0.0), properties(1.0)]
        with h5py.File(run.path) as file:
            assert np.allclose(file["backend/snapshots/s1/t1_s"][:], [1e-6, 2e-6])
            assert file["backend/snapshots/s1/t1_s"].attrs["units"] == "s"


def test_two_workloads_of_different_kinds(two_workloads: Path) -> None:
    rng = np.random.default_rng(3)
    with qexp.open_archive(two_workloads) as run:
        assert run.workloads == ("evs-of", "counts")
        expected = [sampler_result(rng, {"alpha": 1, "beta": 9}, 8, (3,)) for _ in range(2)]
        for actual, written in zip(run.results["counts"][:2], expected, strict=True):
            assert_same_result(actual, written)
        assert_same_result(run.results["evs-of"][0], estimator_result(rng, (2, 2)))
        assert run.results["evs-of"][-1].data.evs.shape == (3, 2)
        assert run.pubs("evs-of")[1].shape == (3, 2)
        assert [p.closed_by for p in run.partitions] == ["max_circuits"] * 3


def test_a_pub_of_a_failed_job_says_why(two_workloads: Path) -> None:
    with qexp.open_archive(two_workloads) as run:
        assert run.status == "partial"
        assert run.results["counts"].available == (0, 1)
        with pytest.raises(
            ArchiveError, match=r"PUB 3 .*job-2 .*CANCELLED \(code 1305\): Too long"
        ):
            run.results["counts"][3]
        with pytest.raises(IndexError):
            run.results["counts"][4]


def test_a_planned_run_has_circuits_but_no_results(tmp_path: Path) -> None:
    store = started(tmp_path)
    pub = sampler_pub()
    write_partition(store, 0, 0, [pub])
    with qexp.open_archive(store.seal("planned", keep_parts=False)) as run:
        assert len(run.jobs) == 0
        assert run.details is None
        assert run.circuits("main")[0] == pub.circuit
        assert run.partitions[0].qpu_s == 12.5
        with pytest.raises(ArchiveError, match=r"no job has run it \(the run is 'planned'\)"):
            run.results["main"][0]


def test_a_run_that_failed_before_planning_is_readable(tmp_path: Path) -> None:
    store = started(tmp_path, backend={}, environment={}, metadata={}, overrides=(), sources=())
    with qexp.open_archive(store.seal("failed", keep_parts=False)) as run:
        assert (run.status, run.workloads, list(run.jobs)) == ("failed", (), [])
        assert dict(run.results) == {}
        assert run.backend["properties"] is None
        assert run.environment["distributions"] == []
        assert (run.sources, run.overrides) == ((), ())


def test_circuits_load_lazily_and_unknown_workloads_are_named(tmp_path: Path) -> None:
    with qexp.open_archive(
        write_run(tmp_path, sampler_jobs([2, 2])).seal("complete", keep_parts=False)
    ) as run:
        assert run.circuits("main", isa=True)[-1] == run.circuits()[3]
        assert len(run.circuits("main")) == 4
        with pytest.raises(ArchiveError, match="'other'; it has: main"):
            run.circuits("other")


def test_old_qpy_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, sampler_jobs([2])).seal("complete", keep_parts=False)
    with h5py.File(path, "r+") as file:
        blob = file["circuits/main/logical/qpy"]
        values = blob[:]
        values[6] = 12
        values[file["circuits/main/logical/qpy_start"][1] + 20 :] = 255
        blob[:] = values
    with qexp.open_archive(path) as run:
        with pytest.raises(ArchiveError, match="QPY version 12"):
            run.circuits()[0]
        with pytest.raises(ArchiveError, match="cannot be loaded"):
            run.circuits()[1]


def test_any_circuit_has_an_identity(tmp_path: Path) -> None:
    circuit = sampler_circuit(2)
    with circuit.box(label="b"):
        circuit.x(0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    with circuit.switch(circuit.cregs[0]) as case, case(1, 2):
        circuit.h(0)
    store = started(tmp_path)
    write_partition(
        store, 0, 0, [type(sampler_pub()).coerce(c) for c in (circuit, sampler_circuit(2))]
    )
    with h5py.File(store.seal("planned", keep_parts=False)) as file:
        table = file["circuits/main/logical"]
        assert list(table["sha256"].asstr()[:]) == [
            circuit_sha256(circuit),
            circuit_sha256(sampler_circuit(2)),
        ]
        text = table["qasm3"][table["qasm3_start"][1] :].tobytes().decode()
        assert text.startswith("OPENQASM 3")


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_opens_it_without_qexp(two_workloads: Path, engine: str) -> None:
    with xr.open_datatree(two_workloads, engine=engine) as tree:
        data = tree["results/counts/alpha-1b-beta-9b-3x8"].to_dataset()
        assert data["beta"].dims == ("pub", "sweep_0", "shot", "beta_byte")
        assert list(data["pub"].values) == [0, 1]
        assert data["beta"].dtype == np.uint8
        assert list(tree["jobs/state"].values) == ["DONE", "DONE", "CANCELLED"]
        assert tree.attrs["status"] == "partial"
        target = tree["backend/target_json"].item()
        assert (target if isinstance(target, str) else target.decode()) == '{"dt":1e-09}'


def test_netcdf4_opens_it(two_workloads: Path) -> None:
    with netCDF4.Dataset(two_workloads) as file:
        assert file.qexp_schema == "1.3"
        evs = file["results/evs-of/evs-stds-2x2"]["evs"]
        assert evs.dimensions == ("pub", "sweep_0", "sweep_1")
        assert str(file["config"]["resolved_yaml"][...]).startswith("seed: 7")


def test_to_datatree_is_an_xarray_datatree(two_workloads: Path) -> None:
    with qexp.open_archive(two_workloads) as run, run.to_datatree() as tree:
        assert isinstance(tree, xr.DataTree)
        assert tree["pubs/counts/shots"].dtype == np.int64


def test_digests_can_be_recomputed_with_numpy_alone(two_workloads: Path) -> None:
    import hashlib
    import json

    with h5py.File(two_workloads) as file:
        group = file["results/counts/alpha-1b-beta-9b-3x8"]
        sha = hashlib.sha256()
        for name, bits in (("alpha", 1), ("beta", 9)):
            row = group[name][1]
            line = json.dumps([name, "|u1", list(row.shape), bits], separators=(",", ":"))
            sha.update(line.encode() + b"\n" + row.tobytes())
        assert group["sha256"].asstr()[1] == sha.hexdigest()


def test_no_bool_and_no_reference_outside_netcdfs_own(two_workloads: Path) -> None:
    own = {"DIMENSION_LIST", "REFERENCE_LIST"}

    def check(name: str, item: h5py.Dataset | h5py.Group) -> None:
        for key, value in item.attrs.items():
            assert key in own or not isinstance(value, h5py.Reference), (name, key)
            assert np.asarray(value).dtype.kind != "b", (name, key)
        if isinstance(item, h5py.Dataset):
            assert h5py.check_dtype(ref=item.dtype) is None
            assert item.compression in (None, "gzip")

    with h5py.File(two_workloads) as file:
        file.visititems(check)
        assert file.libver[0] in ("earliest", "v108")


def test_reading_a_closed_archive_is_refused(tmp_path: Path) -> None:
    run = qexp.open_archive(
        write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False)
    )
    run.close()
    run.close()
    assert "closed" in repr(run)
    with pytest.raises(ArchiveError, match="closed"):
        _ = run.status


def test_a_run_folder_is_opened_too(tmp_path: Path) -> None:
    store = write_run(tmp_path, sampler_jobs([1]))
    with pytest.raises(ArchiveError, match="not sealed yet"):
        qexp.open_archive(tmp_path)
    store.seal("complete", keep_parts=False)
    with qexp.open_archive(str(tmp_path)) as run:
        assert run.path == tmp_path / "run.h5"


def test_a_file_that_is_no_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with h5py.File(tmp_path / "newer.h5", "w") as file:
        file.attrs["qexp_schema"] = "2.0"
    messages = {
        "text.h5": "is not an HDF5 file",
        "other.h5": "not a qexp archive",
        "newer.h5": "schema 2.0",
        "absent.h5": "no such file",
        ".": r"no run\.h5",
    }
    for name, message in messages.items():
        with pytest.raises(ArchiveError, match=message) as caught:
            qexp.open_archive(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_flipped_data_is_an_archive_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    job = [sampler_result(rng, {"c": 8}, 5000)]
    path = write_run(tmp_path, [job]).seal("complete", keep_parts=False)
    with h5py.File(path) as file:
        chunk = file["results/main/c-8b-5000/c"].id.get_chunk_info(0)
    raw = bytearray(path.read_bytes())
    raw[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(raw)
    with qexp.open_archive(path) as run, pytest.raises(ArchiveError, match="damaged"):
        run.results["main"][0]


def test_importing_qexp_imports_nothing_heavy() -> None:
    code = (
        "import sys, qexp, qexp.archive.writer, qexp.archive.read; qexp.open_archive; "
        "print([m for m in ('h5py', 'h5netcdf', 'xarray', 'qiskit') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_those_announced() -> None:
    assert set(qexp.__all__) <= set(dir(qexp))
    with pytest.raises(AttributeError):
        _ = qexp.nothing
    assert bit_array(np.random.default_rng(0), 3, 2, ()).num_bits == 3


def test_the_documented_snippet_reads_it_without_qexp(
    two_workloads: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[3] / "docs" / "archive-format.md").read_text("utf-8")
    section = text.partition("## Read it without qexp")[2]
    snippet = section.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(two_workloads.parent)
    exec(compile(snippet, "archive-format.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "partial {'id': 'batch-1', 'state': 'closed'}" in printed
    assert "beta (3, 8, 9) shots x bits" in printed
    assert "OPENQASM 3" in printed


def test_every_dataset_and_attribute_is_documented(two_workloads: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "archive-format.md").read_text("utf-8")
    missing = set()

    def check(path: str, item: h5py.Dataset | h5py.Group) -> None:
        names = [path.rpartition("/")[2]] if isinstance(item, h5py.Dataset) else []
        if isinstance(item, h5py.Dataset) and item.attrs.get("NAME", b"").startswith(b"This is"):
            names = []
        own = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "units"}
        names += [name for name in item.attrs if name not in own and not name.startswith("_")]
        data = {"alpha", "beta"}
        missing.update(n for n in names if n not in data and n not in text)

    with h5py.File(two_workloads) as file:
        check("", file)
        file.visititems(check)
    assert not missing


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bits_and_cut_files_give_one_line(seed: int, tmp_path: Path) -> None:
    path = write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False)
    rng, raw = np.random.default_rng(seed), bytearray(path.read_bytes())
    for position in rng.integers(0, len(raw), 20):
        raw[position] ^= 1 << int(rng.integers(8))
    path.write_bytes(raw if seed % 3 else raw[: rng.integers(1, len(raw))])
    with contextlib.suppress(ArchiveError), qexp.open_archive(path) as run:
        repr(run)
        _ = run.config, run.backend, run.partitions, run.environment
        _ = list(run.jobs), list(run.snapshots), list(run.pubs()), list(run.circuits(isa=True))
        _ = list(run.results["main"])
        run.to_datatree().close()


def test_a_result_that_is_not_what_was_stored_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False)
    with h5py.File(path, "r+") as file:
        (group,) = file["results/main"].values()
        group["reg0"][0, 0, 0, 0] ^= 1
    with qexp.open_archive(path) as run, pytest.raises(ArchiveError, match="digest"):
        run.results["main"][0]
