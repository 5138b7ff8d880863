"""A process may die anywhere while it seals: sealing again gives the same archive."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qexp
from qexp.archive import merge as merge_module
from qexp.archive.verify import verify
from qexp.archive.writer import RunStore
from qexp.errors import ArchiveError
from tests.archives import outcome, sampler_jobs, write_run


class Killed(BaseException):
    """Stands for SIGKILL."""


STEPS = [
    (os, "fsync"),
    (os, "replace"),
    (Path, "rename"),
    (shutil, "rmtree"),
    (merge_module, "copy_rows"),
    (merge_module, "write_file_digest"),
    (merge_module, "netcdf_file"),
    (merge_module, "result_problems"),
]


def kill_at(monkeypatch: pytest.MonkeyPatch, fatal: int) -> list[str]:
    """Let the process die before its n-th step, from 0; nothing is tidied up then.

    Returns:
        Grows by the name of each step.
    """
    steps: list[str] = []

    def dying(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            steps.append(name)
            if len(steps) == fatal + 1:
                monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
                raise Killed
            return original(*args, **kwargs)

        return step

    for owner, name in STEPS:
        monkeypatch.setattr(owner, name, dying(name, getattr(owner, name)))
    return steps


@pytest.mark.parametrize(("was_sealed_before", "keep_parts"), [(False, False), (True, True)])
def test_a_seal_killed_at_any_step_is_completed_by_the_next(
    tmp_path: Path, keep_parts: bool, was_sealed_before: bool
) -> None:
    original, whole = tmp_path / "run", tmp_path / "whole"
    store = write_run(original, sampler_jobs([1]))
    (original / "journal.jsonl").write_text('{"event":"Started"}\n')
    if was_sealed_before:
        store.seal("partial", keep_parts=True)
    shutil.copytree(original, whole)
    with pytest.MonkeyPatch.context() as patch:
        steps = kill_at(patch, -1)
        expected = RunStore(whole).seal("complete", keep_parts=keep_parts).read_bytes()
    assert {"fsync", "replace", "write_file_digest", "copy_rows"} <= set(steps)
    # Columns are copied one after the other: the first and the last stand for all.
    last_copy = len(steps) - 1 - steps[::-1].index("copy_rows")
    first_copy = steps.index("copy_rows")
    for fatal in (k for k in range(len(steps)) if not first_copy < k < last_copy):
        run_dir = tmp_path / f"killed-{fatal}"
        shutil.copytree(original, run_dir)
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, fatal)
            with pytest.raises(Killed):
                RunStore(run_dir).seal("complete", keep_parts=keep_parts)
        if (run_dir / "run.h5").exists():
            assert verify(run_dir) == []
        again = RunStore(run_dir)
        assert again.has_header or (run_dir / "run.h5").read_bytes() == expected
        assert again.seal("complete", keep_parts=keep_parts).read_bytes() == expected
        left = {path.name for path in run_dir.iterdir()}
        assert left == {"run.h5", "journal.jsonl"} | ({"parts"} if keep_parts else set())


def test_parts_stay_until_the_run_is_complete(tmp_path: Path) -> None:
    jobs = sampler_jobs([1, 2])
    store = write_run(tmp_path, [jobs[0], None])
    store.seal("partial", keep_parts=True)
    with qexp.open_archive(tmp_path) as run:
        assert (run.status, run.results["main"].available) == ("partial", (0,))
    resumed = RunStore(tmp_path)
    assert resumed.has_header
    resumed.write_job(outcome(1, jobs[1], attempt=2))
    resumed.seal("complete", keep_parts=False)
    assert not resumed.has_header
    with qexp.open_archive(tmp_path) as run:
        assert (run.status, run.results["main"].available) == ("complete", (0, 1, 2))
        assert [job.attempt for job in run.jobs] == [1, 1, 2]
    assert not (tmp_path / "parts").exists()


def test_sealing_a_sealed_run_changes_nothing(tmp_path: Path) -> None:
    path = write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False)
    before = path.read_bytes()
    for keep_parts in (True, False):
        RunStore(tmp_path).seal("failed", keep_parts=keep_parts)
        assert path.read_bytes() == before


def test_leftovers_of_a_killed_process_are_no_obstacle(tmp_path: Path) -> None:
    store = write_run(tmp_path, sampler_jobs([1]))
    (tmp_path / ".run.h5.tmp").write_bytes(b"\x89HDF\r\n\x1a\n half a file")
    (tmp_path / "parts" / ".job-000000-02.h5.tmp").write_bytes(b"half a part")
    (tmp_path / ".parts-sealed").mkdir()
    (tmp_path / ".parts-sealed" / "job-000009-01.h5").write_bytes(b"of an earlier seal")
    store.seal("complete", keep_parts=False)
    assert [path.name for path in tmp_path.iterdir()] == ["run.h5"]
    assert verify(tmp_path) == []


def test_a_damaged_part_leaves_the_earlier_archive_alone(tmp_path: Path) -> None:
    store = write_run(tmp_path, sampler_jobs([1]))
    before = store.seal("partial", keep_parts=True).read_bytes()
    part = tmp_path / "parts" / "job-000000-01.h5"
    part.write_bytes(part.read_bytes().replace(b"DONE", b"DONF"))
    with pytest.raises(ArchiveError, match=r"job-000000-01\.h5 is damaged"):
        store.seal("complete", keep_parts=False)
    assert (tmp_path / "run.h5").read_bytes() == before
    assert store.has_header
