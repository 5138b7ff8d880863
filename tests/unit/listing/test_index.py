"""A listing is the same whatever happens to the index."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from qexp.listing.find import RunPath
from qexp.listing.index import Index, index_path

ROOT = Path("/data/runs")


def found(name: str, signature: str = "1:2:3") -> RunPath:
    return RunPath(ROOT / name / "run.h5", signature, 1)


def entry(name: str) -> dict[str, Any]:
    return {"status": "complete", "run_id": name, "config": {"text": "ä" * 50}}


RUNS = [found(f"r{k}") for k in range(40)]
ENTRIES = {run: entry(run.path.parent.name) for run in RUNS}


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index(tmp_path / "cache" / "runs.sqlite")
    index.write(ROOT, RUNS, ENTRIES)
    return index


def test_written_entries_are_read_back(index: Index) -> None:
    assert index.read(ROOT, RUNS) == ENTRIES
    assert index.read(ROOT / "r3", RUNS[3:4]) == {RUNS[3]: ENTRIES[RUNS[3]]}


def test_nothing_is_there_at_first_and_nothing_is_created_by_reading(tmp_path: Path) -> None:
    assert Index(tmp_path / "cache" / "runs.sqlite").read(ROOT, RUNS) == {}
    assert list(tmp_path.iterdir()) == []


def test_an_entry_of_a_changed_file_does_not_count(index: Index) -> None:
    assert index.read(ROOT, [found("r0", "1:2:4"), found("r1")]) == {RUNS[1]: ENTRIES[RUNS[1]]}


def test_runs_that_are_gone_are_forgotten_and_those_elsewhere_are_not(index: Index) -> None:
    elsewhere = RunPath(Path("/data/runs2/r/run.h5"), "1:2:3", 1)
    index.write(Path("/data/runs2"), [elsewhere], {elsewhere: entry("r")})
    index.write(ROOT / "r1", [], {})
    index.write(ROOT, RUNS[2:], {})
    assert set(index.read(ROOT, RUNS)) == set(RUNS[2:])
    assert index.read(Path("/data/runs2"), [elsewhere]) == {elsewhere: entry("r")}


@pytest.mark.parametrize("name", ["runs-old", "runs.bak", "runs old", "runs+", "run", "runs0"])
def test_neighbours_whose_names_begin_alike_are_left_alone(index: Index, name: str) -> None:
    neighbour = RunPath(Path("/data") / name / "r" / "run.h5", "1:2:3", 1)
    index.write(neighbour.path.parent.parent, [neighbour], {neighbour: entry("r")})
    index.write(ROOT, [], {})
    assert index.read(ROOT, RUNS) == {}
    assert index.read(Path("/data"), [neighbour]) == {neighbour: entry("r")}


def test_the_root_of_all_paths_and_an_archive_itself_have_entries(index: Index) -> None:
    assert index.read(Path("/"), RUNS) == ENTRIES
    assert index.read(RUNS[3].path, [RUNS[3]]) == {RUNS[3]: ENTRIES[RUNS[3]]}
    index.write(Path("/"), [], {})
    assert index.read(ROOT, RUNS) == {}


def test_no_damage_to_the_index_makes_a_wrong_entry_or_an_error(index: Index) -> None:
    path, rng = index._path, random.Random(0)
    raw = path.read_bytes()
    for k in range(150):
        damaged = bytearray(raw)
        if k % 5 == 0:
            damaged = damaged[: rng.randrange(len(raw))]
        else:
            for _ in range(rng.choice((1, 20))):
                damaged[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        known = index.read(ROOT, RUNS)
        assert all(ENTRIES[run] == fields for run, fields in known.items())
        missing = {run: fields for run, fields in ENTRIES.items() if run not in known}
        index.write(ROOT, RUNS, missing)
        again = index.read(ROOT, RUNS)
        assert all(ENTRIES[run] == fields for run, fields in again.items())


@pytest.mark.parametrize("content", [b"", b"no database at all\n" * 50, b"SQLite format 3\0"])
def test_a_file_that_is_no_index_is_replaced(index: Index, content: bytes) -> None:
    index._path.write_bytes(content)
    assert index.read(ROOT, RUNS) == {}
    index.write(ROOT, RUNS, ENTRIES)
    assert index.read(ROOT, RUNS) == ENTRIES


def test_a_table_of_another_form_is_replaced(index: Index) -> None:
    with sqlite3.connect(index._path) as database:
        database.execute("DROP TABLE runs")
        database.execute("CREATE TABLE runs (path TEXT)")
    database.close()
    assert index.read(ROOT, RUNS) == {}
    index.write(ROOT, RUNS, ENTRIES)
    assert index.read(ROOT, RUNS) == ENTRIES


def test_an_index_that_cannot_be_written_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    index = Index(tmp_path / "file" / "runs.sqlite")
    index.write(ROOT, RUNS, ENTRIES)
    assert index.read(ROOT, RUNS) == {}


def test_a_locked_index_is_left_as_it_is(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexp.listing.index._WAIT_S", 0.0)
    database = sqlite3.connect(index._path)
    database.execute("BEGIN EXCLUSIVE")
    assert index.read(ROOT, RUNS) == {}
    index.write(ROOT, RUNS, {RUNS[0]: entry("other")})
    database.rollback()
    database.close()
    assert index.read(ROOT, RUNS) == ENTRIES


def test_many_at_once_leave_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"

    def work(k: int) -> None:
        for step in range(10):
            mine = RUNS[(k + step) % 40 :: 4]
            Index(path).write(ROOT, RUNS, {run: ENTRIES[run] for run in mine})
            known = Index(path).read(ROOT, RUNS)
            assert all(ENTRIES[run] == fields for run, fields in known.items())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Index(path).read(ROOT, RUNS) == ENTRIES


def test_names_that_are_no_utf_8_have_entries_too(tmp_path: Path) -> None:
    run = RunPath(Path(os.fsdecode(b"/data/runs/\xff\xfe/run.h5")), "1:2:3", 1)
    index = Index(tmp_path / "runs.sqlite")
    index.write(ROOT, [run], {run: entry("r")})
    assert index.read(ROOT, [run]) == {run: entry("r")}


def test_it_is_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert index_path().suffix == ".sqlite"
    assert "qexp" in index_path().parts
