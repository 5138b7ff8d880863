from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import qexp.listing.runs
from qexp.archive.apart import ApartError
from qexp.errors import ConfigError
from qexp.listing.index import Index
from qexp.listing.read import read_entry
from qexp.listing.runs import RunTable, list_runs, read_runs
from qexp.listing.summary import LISTED, RunEntry
from tests.unit.listing.runs import KINDS, copies


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "cache" / "runs.sqlite")


class Counted:
    """Stands in for the process that reads; counts what it is asked to read."""

    asked: list[str] = []  # noqa: RUF012

    def __init__(self, function: str) -> None:
        assert function == "qexp.listing.read:read_entry"

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def each(self, argument: str, patience_s: float) -> Iterator[Any]:
        self.asked.append(Path(argument).relative_to(Path(argument).anchor).as_posix())
        if "stuck" in argument:
            raise ApartError(f"{argument} cannot be read: reading it took more than 20 s.")
        yield from read_entry(argument)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(Counted, "asked", [])
    monkeypatch.setattr(qexp.listing.runs, "Apart", Counted)
    return Counted.asked


def by_name(entries: list[RunEntry]) -> dict[str, RunEntry]:
    found = {}
    for entry in entries:
        path = Path(entry.path)
        found[(path if entry.size_bytes is None else path.parent).name] = entry
    return found


def test_every_kind_of_run_is_listed_as_such(runs: Path, index: Index) -> None:
    entries = by_name(read_runs(runs, index))
    assert {name: entry.status for name, entry in entries.items()} == KINDS
    partial = entries["r1-partial"]
    assert (partial.results, partial.pubs, partial.jobs_done, partial.jobs) == (3, 5, 2, 3)
    assert partial.is_checked
    assert partial.config["circuits"] == {"depth": 5}
    unfinished = entries["r4-unfinished"]
    assert (unfinished.experiment, unfinished.jobs_done, unfinished.jobs) == (
        "random_sampling",
        1,
        2,
    )
    assert unfinished.problem == "not sealed, 1 jobs may be out"
    assert entries["r5-started"].problem == "its plan is not complete; nothing was submitted"
    for name in ("r6-flipped", "r7-cut", "r8-empty", "r9-text"):
        assert str(runs / "e" / name / "run.h5") in (entries[name].problem or "")
        assert entries[name].experiment is None


def test_nothing_is_read_twice_and_a_change_is_noticed(
    runs: Path, index: Index, tmp_path: Path, asked: list[str]
) -> None:
    root = copies(runs, tmp_path / "outputs")
    first = read_runs(root, index)
    assert len(asked) == len(KINDS)
    asked.clear()
    assert read_runs(root, index) == first
    assert asked == []

    shutil.copy(root / "e/r0-complete/run.h5", root / "e/r6-flipped/run.h5")
    shutil.rmtree(root / "e" / "r7-cut")
    again = by_name(read_runs(root, index))
    assert [name.split("/")[-2] for name in asked] == ["r6-flipped"]
    assert again["r6-flipped"].status == "complete"
    assert "r7-cut" not in again


def test_the_index_loses_nothing_when_it_is_deleted_or_damaged(
    runs: Path, index: Index, asked: list[str]
) -> None:
    first = read_runs(runs, index)
    index._path.unlink()
    assert read_runs(runs, index) == first
    index._path.write_bytes(b"rubbish")
    assert read_runs(runs, index) == first
    assert read_runs(runs, index, fresh=True) == first
    assert len(asked) == 4 * len(KINDS)


def test_one_file_that_hangs_is_one_entry(
    runs: Path, index: Index, tmp_path: Path, asked: list[str]
) -> None:
    root = copies(runs, tmp_path / "outputs")
    (root / "e" / "r0-complete").rename(root / "e" / "stuck")
    entries = by_name(read_runs(root, index))
    assert entries["stuck"].status == "unreadable"
    assert "took more than" in (entries["stuck"].problem or "")
    assert entries["r1-partial"].status == "partial"


def test_no_archive_of_qexp_is_unreadable_not_damaged(index: Index, tmp_path: Path) -> None:
    import h5py

    for name, schema in (("other", None), ("newer", "9.0")):
        (tmp_path / "o" / name).mkdir(parents=True)
        with h5py.File(tmp_path / "o" / name / "run.h5", "w") as file:
            file["data"] = [1]
            if schema:
                file.attrs["qexp_schema"] = schema
    entries = read_runs(tmp_path / "o", index)
    assert [entry.status for entry in entries] == ["unreadable"] * 2
    assert "has schema 9.0" in (entries[0].problem or "")
    assert "not a qexp archive" in (entries[1].problem or "")


def test_one_archive_or_one_runs_folder_can_be_listed(runs: Path, index: Index) -> None:
    folder = runs / "e" / "r0-complete"
    (one,) = read_runs(folder, index)
    assert [one] == read_runs(folder / "run.h5", index)
    assert one.status == "complete"


def test_a_folder_that_does_not_exist_is_refused(index: Index, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent does not exist; name the folder"):
        read_runs(tmp_path / "absent", index)


def test_progress_is_reported(runs: Path, index: Index, asked: list[str]) -> None:
    told: list[tuple[int, int]] = []
    read_runs(runs, index, progress=lambda done, count: told.append((done, count)))
    assert told[-1] == (len(KINDS), len(KINDS))


@pytest.fixture
def table(runs: Path, index: Index) -> RunTable:
    where = ("status in complete,partial,failed,planned", "circuits.depth==5")
    return list_runs(str(runs), *where, sort="results", reverse=True, limit=3, index=index)


def test_a_table_has_the_runs_that_fulfil_the_conditions(table: RunTable) -> None:
    assert [run.results for run in table] == [3, 3, 0]
    assert (len(table), table[0].backend) == (3, "fake_lima")
    assert table.keys == ("status", "circuits.depth", "results")
    assert str(table).endswith("4 of 10 runs in " + str(table.root) + f": {COUNTS}; 3 are listed")


COUNTS = "1 complete, 1 partial, 1 failed, 1 planned"


def test_a_dataframe_has_the_fields_and_the_keys_that_matter(table: RunTable) -> None:
    frame = table.to_dataframe()
    assert list(frame.columns) == [*LISTED, "circuits.depth"]
    assert frame["circuits.depth"].tolist() == [5, 5, 5]
    assert list(table.to_dataframe("seed", "circuits.x").columns) == [*LISTED, "circuits.x"]
    assert "fake_lima" in table._repr_html_()


def test_a_key_that_differs_between_the_runs_is_a_column(runs: Path, index: Index) -> None:
    frame = list_runs(runs, "status in complete,planned", index=index).to_dataframe()
    assert frame["circuits.num_qubits"].tolist() == [[2, 3], None]
    assert "circuits.depth" not in frame.columns
