from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from qexp.sweeps import index as module
from qexp.sweeps.index import INDEX_NAME, read_records
from qexp.sweeps.records import RecordReader, share_overheads

NAMES = ["0000", "0001", "0002", "0003"]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the points that were read."""
    names = []

    class Counting(RecordReader):
        def read(self, folder: Path):
            names.append(folder.name)
            return super().read(folder)

    monkeypatch.setattr(module, "RecordReader", Counting)
    return names


def test_what_was_read_is_read_from_the_index(grid, reads: list[str]) -> None:
    first = read_records(grid.path, NAMES)
    assert reads == NAMES
    assert read_records(grid.path, NAMES) == first
    assert reads == NAMES


def test_only_a_point_that_changed_is_read_again(grid, reads: list[str]) -> None:
    read_records(grid.path, NAMES)
    reads.clear()
    (grid.points[1] / "analysis" / "fit.nc").unlink()
    archive = grid.points[2] / "run.h5"
    before = archive.stat()
    raw = bytearray(archive.read_bytes())
    raw[-1] ^= 1
    archive.write_bytes(raw)
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))
    records, _ = read_records(grid.path, NAMES)
    assert reads == ["0001", "0002"]
    assert records[1]["values"] == {}
    assert records[2]["status"] == "damaged"


def test_points_that_were_copied_are_not_read_again_but_those_that_changed_meanwhile(
    grid, reads: list[str], tmp_path: Path
) -> None:
    archive = grid.points[3] / "run.h5"
    archive.write_bytes(archive.read_bytes()[:-1])
    first, _ = read_records(grid.path, NAMES)
    reads.clear()
    copy = tmp_path / "copy"
    shutil.copytree(grid.path, copy, copy_function=shutil.copyfile)
    swapped = copy / "0001" / "analysis" / "fit.nc", copy / "0002" / "analysis" / "fit.nc"
    raws = [path.read_bytes() for path in swapped]
    assert raws[0] != raws[1]
    for path, raw in zip(swapped, reversed(raws), strict=True):
        path.write_bytes(raw)
    (copy / "0000" / "analysis" / "fit.nc").rename(copy / "0000" / "analysis" / "other.nc")
    records, _ = read_records(copy, NAMES)
    assert reads == ["0000", "0001", "0002", "0003"]
    assert str(copy) in records[3]["reason"]
    assert str(grid.path) in first[3]["reason"]
    reads.clear()
    again = tmp_path / "again"
    shutil.copytree(copy, again, copy_function=shutil.copyfile)
    assert read_records(again, NAMES)[0][:3] == records[:3]
    assert reads == ["0003"]


def test_a_large_archive_is_read_again_rather_than_hashed(
    grid, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMPARED_BYTES", 1000)
    for times in (0, 1):
        first = read_records(grid.path, NAMES)
        os.utime(grid.points[0] / "run.h5", ns=(times, times))
    assert read_records(grid.path, NAMES) == first
    assert reads == [*NAMES, "0000", "0000"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw.replace(b"complete", b"partial_"),
        lambda raw: b"",
        lambda raw: b"\xff\x00",
    ],
    ids=["cut", "changed", "empty", "binary"],
)
def test_a_damaged_index_changes_nothing(grid, reads: list[str], damage) -> None:
    first = read_records(grid.path, NAMES)
    path = grid.path / INDEX_NAME
    path.write_bytes(damage(path.read_bytes()))
    assert read_records(grid.path, NAMES) == first
    assert reads == NAMES * 2
    assert read_records(grid.path, NAMES) == first
    assert reads == NAMES * 2


def test_an_index_of_another_version_is_made_again(
    grid, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_records(grid.path, NAMES)
    monkeypatch.setattr(module, "_FORMAT", "another")
    read_records(grid.path, NAMES)
    assert reads == NAMES * 2


def test_an_index_that_cannot_be_written_changes_nothing(
    grid, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise PermissionError

    monkeypatch.setattr(module, "write_with_digest", refuse)
    first = read_records(grid.path, NAMES)
    assert read_records(grid.path, NAMES) == first
    assert not (grid.path / INDEX_NAME).exists()


def test_it_has_numbers_only_and_no_path(grid) -> None:
    read_records(grid.path, NAMES)
    raw = (grid.path / INDEX_NAME).read_bytes()[:-64]
    assert str(grid.path).encode() not in raw
    assert set(json.loads(raw)["points"]) == set(NAMES)


def test_a_job_that_points_share_has_one_overhead() -> None:
    shared = [
        {"predicted_qpu_s": 10.0, "jobs": ["a", "b"], "job_overhead_s": 2.0},
        {"predicted_qpu_s": 5.0, "jobs": ["a", "a"], "job_overhead_s": 2.0},
        {"predicted_qpu_s": None, "jobs": ["a"], "job_overhead_s": 2.0},
        {"status": "declared"},
    ]
    assert share_overheads(shared) == [
        {"predicted_qpu_s": 10.0 - 2.0 * 3 / 4},
        {"predicted_qpu_s": 5.0 - 2 * 2.0 * 3 / 4},
        {"predicted_qpu_s": None},
        {"status": "declared"},
    ]
    assert shared[0]["predicted_qpu_s"] == 10.0
