"""The real command line in a subprocess, in a folder of its own, with no account."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import qexp
from qexp.archive.read import Archive


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str
    folder: Path

    def archives(self) -> list[Path]:
        return sorted((self.folder / "outputs").rglob("run.h5"))

    def archive(self) -> Archive:
        (path,) = self.archives()
        return qexp.open_archive(path)


Cli = Callable[..., Finished]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `python -m qexp ...`; `env` is added to an environment without any account."""
    return _command(tmp_path)


@pytest.fixture
def resume(tmp_path: Path) -> Cli:
    """Run `python -m qexp resume ...` as `cli` runs the other, by default in the same folder."""
    return _command(tmp_path, "resume")


@pytest.fixture
def reproduce(tmp_path: Path) -> Cli:
    """Run `python -m qexp reproduce ...` as `cli` runs the other."""
    return _command(tmp_path, "reproduce")


def _command(tmp_path: Path, *verb: str) -> Cli:
    def run(
        *arguments: str, env: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> Finished:
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("QISKIT_", "HYDRA_", "IAM_"))
        }
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        folder = folder or tmp_path / "work"
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "qexp", *verb, *arguments],
            cwd=folder,
            env={**clean, "HOME": str(home), "OMP_NUM_THREADS": "1", **(env or {})},
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr, folder)

    return run
