from __future__ import annotations

import os
from pathlib import Path

from qexp.listing.find import find_runs


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(root: Path) -> list[str]:
    return sorted(str(run.path.relative_to(root)) for run in find_runs(root))


def test_runs_are_found_at_any_depth_but_not_inside_other_runs(tmp_path: Path) -> None:
    touch(
        tmp_path / "a" / "run.h5",
        tmp_path / "a" / "crate" / "run.h5",
        tmp_path / "s" / "sweep" / "b" / "journal.jsonl",
        tmp_path / "c" / "parts" / "header.json",
        tmp_path / ".trash" / "d" / "run.h5",
        tmp_path / "notes" / "text.md",
    )
    assert names(tmp_path) == ["a/run.h5", "c", "s/sweep/b"]
    assert [run.path for run in find_runs(tmp_path / "a")] == [tmp_path / "a" / "run.h5"]
    folders = sorted(run.folder for run in find_runs(tmp_path))
    assert folders == [tmp_path / "a", tmp_path / "c", tmp_path / "s" / "sweep" / "b"]


def test_a_loop_of_links_is_not_followed(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "run.h5")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert names(tmp_path) == ["a/run.h5"]


def test_a_file_that_was_changed_in_place_with_its_time_restored_has_another_signature(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.h5"
    touch(path)
    (before,) = find_runs(tmp_path)
    status = path.stat()
    path.write_bytes(b"y")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (after,) = find_runs(tmp_path)
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert after.signature != before.signature


def test_a_line_in_the_journal_is_another_signature(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    touch(path)
    (before,) = find_runs(tmp_path)
    path.write_bytes(b"xx")
    (after,) = find_runs(tmp_path)
    assert before.path == after.path == tmp_path
    assert after.signature != before.signature
