from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pytest

from qexp.cli.named_runs import Runs


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, and two folders that may not be read, of which one holds a journal."""
    for name in ("a", "b/open", "c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b/open/journal.jsonl").touch()
    (tmp_path / "c/journal.jsonl").touch()
    closed = {str(tmp_path / "a"), str(tmp_path / "c")}

    def refusing(function: Any) -> Any:
        def call(path: Any = ".") -> Any:
            if os.fspath(path) in closed:
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return function(path)

        return call

    # Not by chmod, which does not hold for root.
    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    monkeypatch.setattr(os, "listdir", refusing(os.listdir))
    return tmp_path


def test_a_folder_that_cannot_be_read_is_not_silently_no_run(
    root: Path, capsys: pytest.CaptureFixture[str]
):
    given = argparse.Namespace(runs=[], all=str(root), json=True)
    runs = Runs("resume", given, {"status": None})
    code = runs.for_each(runs.outcome, lambda _folder: None)
    assert code == 5
    printed = capsys.readouterr()
    outcomes = json.loads(printed.out)
    assert [(Path(one["path"]).name, one["exit_code"]) for one in outcomes] == [
        ("a", 5),
        ("open", 0),
        ("c", 5),
    ]
    assert all(one["status"] is None for one in outcomes)
    assert printed.err.count("\n") == 2
    for name in ("a", "c"):
        assert f"{root / name} cannot be read: Permission denied; any run in it is" in printed.err
