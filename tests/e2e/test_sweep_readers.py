"""Everything that reads, over a sweep of the real command line.

The folder is put together of runs of their own, as a sweep leaves it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import qexp
from tests.e2e.conftest import Cli
from tests.sweeps import gather

KEYS = ("circuits.num_qubits", "primitive.shots")


@pytest.fixture
def sweep(cli: Cli) -> Path:
    """A grid of two widths and two numbers of shots, of which the last point was never run."""
    done = cli("-m", "experiment=ghz", f"{KEYS[0]}=2,3", f"{KEYS[1]}=100,400")
    assert done.code == 0, done.err
    runs = [path.parent for path in done.archives()]
    folder = gather(runs, done.folder / "outputs" / "ghz" / "sweep-1", KEYS)
    shutil.rmtree(runs[0].parent)
    shutil.rmtree(qexp.open_sweep(folder).points[3].folder)
    return folder


@pytest.fixture
def verb(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def ran(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "qexp", *map(str, arguments)],
            cwd=tmp_path / "work",
            env={**os.environ, "HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return ran


def test_a_sweep_is_read_by_every_verb(sweep: Path, verb) -> None:
    words = {
        ("ls", "outputs"): "3 runs in outputs: 3 complete",
        ("show", sweep): "points 4: 3 complete, 1 declared",
        ("verify", sweep): "4 runs and sweeps: 4 intact, 0 damaged, 1 absent",
        ("diff", sweep): "B minus A: primitive.shots",
        ("analyse", sweep): "1 of 4 points have no results",
        ("report", sweep): "report.html",
        ("export", sweep, "--to", "netcdf"): "sweep.nc",
        ("reproduce", sweep, "--into", "again"): "3 of 3 points reproduced",
    }
    for arguments, said in words.items():
        done = verb(*arguments)
        assert done.returncode == 0, done.stderr
        assert said in " ".join(done.stdout.split()), arguments[0]
    data = qexp.open_sweep(sweep).to_dataset(counts=True)
    assert data["num_results"].dims == KEYS
    for point in qexp.open_sweep(sweep).points[:3]:
        at = data.sel(point.draws)
        with point.open() as run:
            counts = run.counts()[0]
            assert at["data_sha256"] == run.data_sha256
        total = at["meas_counts"].sum().item()
        assert total == sum(counts.values()) == point.draws["primitive.shots"]
        zeros = counts.get("0" * point.draws["circuits.num_qubits"], 0)
        np.testing.assert_allclose(at["ghz_population_zeros"], zeros / total)
