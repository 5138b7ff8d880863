"""The verifier of one file, which an export carries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from qexp.archive import verify_run
from qexp.archive.verify import verify
from tests.golden.runs import SEALED, keys, unpack


def check(*paths: Path) -> tuple[int, str]:
    """Run it as a stranger does: on its own, without qexp."""
    command = [sys.executable, "-I", str(Path(verify_run.__file__)), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize("key", keys(sealed=True))
def test_archives_of_every_schema_are_intact(tmp_path: Path, key: str) -> None:
    archive = unpack(key, tmp_path) / SEALED
    assert verify(archive) == []
    lines = list(verify_run.problems(str(archive)))
    if key.startswith("1.0"):
        # It states no digest of the file.
        assert [line.partition(" (")[0] for line in lines] == [
            "the file states no SHA-256 of its own"
        ]
    else:
        assert lines == []


def test_it_runs_alone_and_finds_changed_data(tmp_path: Path) -> None:
    archive = unpack("1.2/estimator", tmp_path) / SEALED
    assert check(archive) == (0, f"{archive}: intact\n")
    with h5py.File(archive, "r+") as file:
        (workload, *_) = file["results"]
        (group, *_) = file["results"][workload]
        evs = file["results"][workload][group]["evs"]
        evs[...] = evs[...] + 1e-9
    code, out = check(archive)
    assert code == 1
    assert "the file does not have the SHA-256 that it states" in out
    assert f"PUB 0 of workload '{workload}' does not have its digest" in out


def test_it_imports_nothing_but_h5py_and_numpy() -> None:
    source = Path(verify_run.__file__).read_text()
    imported = {
        line.split()[1] for line in source.splitlines() if line.startswith(("import", "from"))
    }
    allowed = {"__future__", "hashlib", "json", "sys", "collections.abc", "pathlib", "typing"}
    assert imported - allowed == {"h5py", "numpy"}
