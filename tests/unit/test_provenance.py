from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from qexp import __version__, provenance
from qexp.core.jsonable import dumps
from qexp.provenance import describe_backend, describe_environment

NOTHING = {"git_commit": "", "git_dirty": False, "git_diff": ""}


@pytest.fixture(autouse=True)
def _no_git_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit hook that runs the tests sets these for its own repository."""
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one committed file, untouched by the machine's own git settings."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    folder = tmp_path / "repository"
    (folder / "below").mkdir(parents=True)
    (folder / "circuits.py").write_text("depth = 3\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


def described(folder: Path) -> dict[str, object]:
    found = describe_environment(folder)
    return {name: found[name] for name in NOTHING}


def test_a_clean_repository(repository: Path):
    commit = git(repository, "rev-parse", "HEAD").strip()
    assert len(commit) == 40
    assert described(repository) == {**NOTHING, "git_commit": commit}


def test_the_diff_of_a_dirty_repository_can_be_applied(repository: Path):
    # Settings that are for eyes.
    git(repository, "config", "color.ui", "always")
    git(repository, "config", "diff.external", "echo")
    (repository / "circuits.py").write_text("depth = 4  # µ\n")
    git(repository, "add", ".")
    found = described(repository / "below")
    assert found["git_dirty"] is True
    git(repository, "reset", "--hard", "--quiet")
    (repository / "change.diff").write_text(str(found["git_diff"]))
    git(repository, "apply", "change.diff")
    assert (repository / "circuits.py").read_text() == "depth = 4  # µ\n"


def test_a_diff_of_many_bytes_is_cut_and_named(repository: Path):
    (repository / "a_table.csv").write_text("".join(f"{k}\n" for k in range(300_000)))
    git(repository, "add", ".")
    git(repository, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "2")
    (repository / "a_table.csv").write_text("".join(f"{k}\n" for k in range(10**6, 1_300_000)))
    (repository / "circuits.py").write_text("depth = 4\n")
    whole = git(repository, "diff", "--full-index", "HEAD").encode()
    found = str(described(repository)["git_diff"])
    head, _, rest = found.partition("\n")
    digest = hashlib.sha256(whole).hexdigest()
    assert head == f"[cut: the whole diff has {len(whole)} bytes, SHA-256 {digest}]"
    # The large file's content is named by git's digest; the change of the other is whole.
    assert git(repository, "hash-object", "a_table.csv").strip() in rest
    assert len(rest) < 1000
    git(repository, "reset", "--hard", "--quiet")
    (repository / "change.diff").write_text(found)
    git(repository, "apply", "--include=circuits.py", "change.diff")
    assert (repository / "circuits.py").read_text() == "depth = 4\n"


def test_a_diff_of_many_files_is_cut_between_two(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qexp.provenance._MOST_DIFF_BYTES", 3000)
    for k in range(100):
        (repository / f"f{k:03}.py").write_text(f"x = {k}\n")
    git(repository, "add", ".")
    found = str(described(repository)["git_diff"])
    assert found.startswith("[cut: the whole diff has ")
    assert len(found) < 3200
    (repository / "change.diff").write_text(found)
    git(repository, "apply", "--check", "--reverse", "change.diff")


def test_a_diff_that_takes_too_long_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qexp.provenance._DIFF_TIMEOUT_S", 0)
    (repository / "circuits.py").write_text("depth = 4\n")
    # It never ends by itself.
    slow, git_itself = repository / "bin" / "git", shutil.which("git")
    slow.parent.mkdir()
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *" diff "*) exec sleep 10000;; esac\nexec {git_itself} "$@"\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    assert str(described(repository)["git_diff"]).startswith("[cut: the whole diff has more than ")


def test_a_file_that_is_not_tracked_makes_it_dirty(repository: Path):
    (repository / "new.py").write_text("")
    found = described(repository)
    assert found["git_dirty"] is True
    assert found["git_diff"] == ""


def test_a_repository_without_a_commit(tmp_path: Path):
    git(tmp_path, "init", "--quiet")
    assert described(tmp_path) == NOTHING


def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert described(tmp_path) == NOTHING


def test_no_git(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(repository))
    assert shutil.which("git") is None
    assert described(repository) == NOTHING


def test_the_software(tmp_path: Path):
    found = describe_environment(tmp_path)
    assert found["python"] == platform.python_version()
    listed = found["distributions"]
    assert listed == sorted(listed, key=str.lower)
    assert {"qiskit", "qiskit-aer", "qiskit-ibm-runtime", "h5py", "hydra-core"} <= {
        item.partition("==")[0] for item in listed
    }
    assert all(item.partition("==")[2] for item in listed)


@pytest.mark.parametrize(
    ("direct_url", "expected"),
    [
        (None, {}),
        (
            {"url": "https://host/x", "vcs_info": {"vcs": "git", "commit_id": "4f1a"}},
            {"commit": "4f1a"},
        ),
        (
            {"url": "file:///secret/q.whl", "archive_info": {"hashes": {"sha256": "ab12"}}},
            {"wheel_sha256": "ab12"},
        ),
    ],
)
def test_the_source_of_qexp_itself(
    monkeypatch: pytest.MonkeyPatch, direct_url: Any, expected: dict[str, str]
):
    class Installed:
        def read_text(self, _name: str) -> str | None:
            return direct_url and json.dumps(direct_url)

    monkeypatch.setattr("importlib.metadata.distribution", lambda _name: Installed())
    provenance._own_source.cache_clear()
    assert dict(provenance._own_source()) == {"version": __version__, **expected}
    provenance._own_source.cache_clear()


def test_a_device_is_described_with_its_calibration():
    backend = FakeManilaV2()
    found = describe_backend(backend)
    assert (found["name"], found["num_qubits"]) == ("fake_manila", 5)
    assert found["properties"] == backend.properties().to_dict()
    assert found["configuration"]["backend_name"] == "fake_manila"
    (cx,) = (
        item
        for item in found["target"]["instructions"]
        if item["name"] == "cx" and item["qubits"] == [0, 1]
    )
    assert cx["error"] == backend.target["cx"][(0, 1)].error
    assert cx["duration_s"] == backend.target["cx"][(0, 1)].duration
    assert found["target"]["dt_s"] == backend.dt


@pytest.mark.parametrize(
    "make", [lambda: GenericBackendV2(2, seed=1), lambda: AerSimulator(n_qubits=2)]
)
def test_a_backend_without_properties(make):
    found = describe_backend(make())
    assert found["properties"] is None
    assert found["num_qubits"] == 2
    assert found["target"]["instructions"]
    assert '"properties":null' in dumps(found).replace(" ", "")
