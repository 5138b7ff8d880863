from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.digests import write_file_digest
from qexp.archive.schema import BACKEND, LOGICAL_CIRCUITS, TABLES
from qexp.archive.verify import schema_problems, verify
from tests.archive_format_page import BLOCK, PAGE, with_current_tables
from tests.archives import sampler_jobs, sampler_pub, started, write_run


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = write_run(tmp_path_factory.mktemp("run"), [*sampler_jobs([1, 2]), None])
    return store.seal("partial", keep_parts=False)


@pytest.fixture
def changed(sealed: Path, tmp_path: Path) -> Callable[[Callable[[h5py.File], None]], list[str]]:
    """Return the problems of a copy that was changed, with a digest as if it had been sealed so."""

    def verified(change: Callable[[h5py.File], None]) -> list[str]:
        path = tmp_path / "run.h5"
        shutil.copy(sealed, path)
        with h5py.File(path, "r+") as file:
            change(file)
        with h5py.File(path, "r") as file:
            start = file["file_sha256"].id.get_offset()
        with path.open("r+b") as stream:
            stream.seek(start)
            stream.write(b"0" * 64)
        write_file_digest(path)
        return verify(path)

    return verified


@pytest.mark.parametrize(
    "gone",
    [
        "config/resolved_yaml",
        "environment",
        "batch/final_json",
        "partitions",
        "partitions/closed_by",
        "jobs/usage_s",
        "jobs/attempt",
        "spans/size",
        "batches/follows",
        "circuits/main/logical",
        "circuits/main/isa/qpy",
        "circuits/main/isa/final_layout_json",
        "pubs/main/shots",
        "backend/snapshots/s0/properties_json",
    ],
)
def test_a_missing_group_or_column_is_named(changed, gone: str) -> None:
    found = changed(lambda file: file.__delitem__(gone))
    assert any(f"{gone} is missing" in line for line in found)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "engine"),
        ("/", "funding_json"),
        ("config", "seed"),
        ("backend/snapshots/s0", "sha256"),
    ],
)
def test_a_missing_attribute_is_named(changed, path: str, name: str) -> None:
    found = changed(lambda file: file[path].attrs.__delitem__(name))
    assert any(f"{path}@{name} is missing" in line for line in found)


def test_a_column_of_another_length_is_named(changed) -> None:
    def shorten(file: h5py.File) -> None:
        values = file["jobs/attempt"][:1]
        del file["jobs/attempt"]
        file["jobs/attempt"] = values

    assert any("jobs/attempt has 1 rows, the table has 3" in line for line in changed(shorten))


def test_another_number_of_circuits_than_of_pubs_is_named(changed) -> None:
    def shorten(file: h5py.File) -> None:
        table = file["circuits/main/isa"]
        for name in list(table):
            if table[name].shape[:1] == (5,):
                values = table[name][:4]
                del table[name]
                table[name] = values

    found = changed(shorten)
    assert any("circuits/main/isa has another number of rows than pubs/main" in x for x in found)


def test_every_kind_of_run_fulfils_its_schema(sealed: Path, tmp_path: Path) -> None:
    store = started(tmp_path, sampler_pub(), backend={"name": "aer", "num_qubits": 0})
    planned = store.seal("planned", keep_parts=True)
    for path in (sealed, planned):
        with ArchiveFile(path) as file:
            assert list(schema_problems(file)) == []
        assert verify(path) == []


def test_an_older_schema_requires_less(sealed: Path, tmp_path: Path) -> None:
    shutil.copy(sealed, tmp_path / "run.h5")
    path = tmp_path / "run.h5"

    def problems(minor: int) -> list[str]:
        with h5py.File(path, "r+") as root:
            root.attrs["qexp_schema"] = f"1.{minor}"
        with ArchiveFile(path) as file:
            return list(schema_problems(file))

    with h5py.File(path, "r+") as file:
        del file.attrs["funding_json"]
    assert problems(1) == []
    with h5py.File(path, "r+") as file:
        del file["jobs/attempt"]
    assert problems(0) == []
    assert len(problems(2)) == 2


def test_every_written_column_and_attribute_is_declared(two_workloads: Path) -> None:
    with ArchiveFile(two_workloads) as file:
        root = file.group("/")
        groups = ["/"]
        root.visititems(
            lambda name, item: groups.append(name) if isinstance(item, h5py.Group) else None
        )
        for path in groups:
            declared = [table for table in TABLES if table.matches(path.removeprefix("/"))]
            columns = file.columns(path)
            if not declared:
                # A group of groups.
                assert columns == []
                continue
            (table,) = declared
            assert set(root[path].attrs) - {"_NCProperties"} == set(table.attributes)
            free = {"results/*/*": {"alpha", "beta", "evs", "stds"}}.get(table.path, set())
            free |= {"target_json", "configuration_json"} if table is BACKEND else set()
            assert set(columns) <= set(table.columns) | free
            order = [name for name in table.columns if name in columns]
            assert [name for name in columns if name in order] == order


def test_the_page_has_the_tables_of_the_schema() -> None:
    page = PAGE.read_text("utf-8")
    assert with_current_tables(page) == page, "run python -m tests.archive_format_page"
    named = {match[2] for match in BLOCK.finditer(page)}
    assert named == {table.path or "/" for table in TABLES if table is not LOGICAL_CIRCUITS}
