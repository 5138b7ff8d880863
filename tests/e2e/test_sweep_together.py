"""A sweep as one experiment: shared jobs, points that cannot run or are added, rounds, `resume`."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qexp
from qexp.cli.sweep_page import format_sweep
from qexp.report.write import write_report
from qexp.text import format_duration
from tests.e2e.conftest import Cli, Finished

SMALL = (
    *("-m", "experiment=random_sampling", "circuits.num_circuits=4", "primitive.shots=64"),
    "circuits.depth=2,3",
)


def sweep_of(done: Finished) -> Path:
    (path,) = (done.folder / "outputs").rglob("sweep.json")
    return path.parent


def events(sweep: Path, *kinds: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (sweep / "journal.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] in kinds]


def digests(done: Finished) -> list[str]:
    found = []
    for path in done.archives():
        with qexp.open_archive(path) as run:
            assert run.status == "complete"
            found.append(run.data_sha256)
    return found


def test_points_share_a_job_and_have_the_data_that_each_has_in_a_run_of_its_own(
    cli: Cli, tmp_path: Path
):
    together = cli(*SMALL)
    assert together.code == 0, together.err
    sweep = sweep_of(together)
    assert len({line["job"] for line in events(sweep, "submitted")}) == 1
    assert len(events(sweep, "batch_opened")) == 1
    assert not (sweep / "parts").exists()
    alone = cli(*SMALL, "hydra/launcher=basic", folder=tmp_path / "alone")
    assert digests(together) == digests(alone)
    # In rows of two circuits, which take turns in the one job; the jobs change no data.
    blocks = cli(*SMALL, "sweep.block=2", folder=tmp_path / "blocks")
    order = [line["partition"] for line in events(sweep_of(blocks), "submitting")]
    assert order == [0, 2, 1, 3]
    apart = ("sweep.block=2", "sweep.pack=null", "sweep.order=declared")
    declared = cli(*SMALL, *apart, folder=tmp_path / "declared")
    submitted = events(sweep_of(declared), "submitted")
    assert [line["partition"] for line in submitted] == [0, 1, 2, 3]
    assert len({line["job"] for line in submitted}) == 4
    assert digests(declared) == digests(blocks)


def test_a_shared_job_is_predicted_with_one_overhead_wherever_points_are_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with qexp.sweep("ghz", "circuits.num_qubits=2,3", "primitive.shots=1000,2000") as sweep:
        each_s = sweep.to_dataset()["predicted_qpu_s"].values
        alone_s = [[sum(job.predicted_qpu_s for job in run.jobs)] for run in sweep]
    # Two jobs of two points each; a job has 2 s of overhead.
    assert each_s.ravel().tolist() == pytest.approx(np.ravel(alone_s) - 1.0)
    total_s = each_s.sum()
    assert qexp.status(sweep.path).predicted_qpu_s == pytest.approx(total_s)
    shown = format_duration(total_s)
    assert f"(predicted {shown} on a QPU)" in format_sweep(sweep, 120)
    page = write_report(sweep.path).read_text(encoding="utf-8")
    assert f"predicted for a QPU: {shown}" in page
    assert page.count(f'<td class="n">{format_duration(each_s.flat[0])}</td>') == 2


def test_a_point_that_cannot_run_is_named_and_the_others_are_kept(cli: Cli, resume: Cli):
    done = cli("-m", "experiment=ghz", "circuits.num_qubits=2,9,3", "primitive.shots=50")
    assert done.code == 2
    assert len(digests(done)) == 2
    first, last = done.err.splitlines()
    assert first.startswith("qexp: point 0001 (circuits.num_qubits=9) cannot run: PUB 0 of ")
    assert "1 of 3 points cannot run" in last
    sweep = sweep_of(done)
    again = resume(str(sweep))
    assert again.code == 2
    assert len(events(sweep, "submitted")) == 2
    with qexp.open_sweep(sweep) as opened:
        assert [point.status for point in opened.points] == ["complete", "failed", "complete"]
        assert "has 9 qubits" in opened.points[1].reason


def test_only_points_that_are_added_are_run(cli: Cli, resume: Cli, tmp_path: Path):
    done = cli("-m", "experiment=ghz", "circuits.num_qubits=2,3", "primitive.shots=50,60")
    before = digests(done)
    sweep = str(sweep_of(done))
    added = resume(sweep, "--add", "circuits.num_qubits=4")
    assert added.code == 0, added.err
    assert digests(added)[:4] == before
    assert len(digests(added)) == 6
    submitted = Counter(line["partition"] for line in events(Path(sweep), "submitted"))
    assert submitted == dict.fromkeys(range(6), 1)
    with qexp.open_sweep(sweep) as opened:
        assert dict(opened.to_dataset().sizes)["circuits.num_qubits"] == 3
    words = ("-m", "experiment=ghz", "circuits.num_qubits=2,3,4", "primitive.shots=50,60")
    assert sorted(digests(cli(*words, folder=tmp_path / "whole"))) == sorted(digests(added))
    for word, problem in (
        ("circuits.num_qubits=4", "the sweep has all of these points"),
        ("circuits.depth=4", "circuits.depth is not swept by"),
        ("circuits.num_qubits=x", "circuits.num_qubits: got 'x'"),
    ):
        refused = resume(sweep, "--add", word)
        assert refused.code == 2
        assert problem in refused.err
        assert refused.err.count("\n") == 1


def test_points_that_the_budget_does_not_hold_are_added_and_not_submitted(cli: Cli, resume: Cli):
    done = cli(
        *("-m", "experiment=ghz", "circuits.num_qubits=2", "primitive.shots=50,60", "budget.qpu=5")
    )
    sweep = sweep_of(done)
    # One job for each number of shots, of 2 s and a little.
    refused = resume(str(sweep), "--add", "primitive.shots=70")
    assert refused.code == 2
    assert "budget.qpu is 5.0s, of which 4.0s are used, but all other jobs" in refused.err
    assert refused.err.endswith(f" resume {sweep.relative_to(done.folder)} budget.qpu=7\n")
    assert len(events(sweep, "batch_opened")) == 1
    # To go on without a higher one stops before the next job, as after any.
    assert resume(str(sweep)).code == 6
    assert resume(str(sweep), "budget.qpu=7").code == 0
    assert len(digests(done)) == 3
    # That budget is in force from now on.
    refused = resume(str(sweep), "--add", "primitive.shots=80")
    assert refused.code == 2
    assert "budget.qpu is 7.0s, of which 6.0s are used, but all other jobs" in refused.err


def test_rounds_of_a_sweeper_go_to_one_open_batch(cli: Cli):
    done = cli(*SMALL, "hydra.sweeper.max_batch_size=1")
    assert done.code == 0, done.err
    sweep = sweep_of(done)
    steps = [line["event"] for line in events(sweep, "planned", "batch_opened", "batch_closed")]
    assert steps == ["planned", "batch_opened", "planned", "batch_closed"]
    assert len(digests(done)) == 2


def test_points_that_another_launcher_never_began_are_run_by_resume(cli: Cli, resume: Cli):
    done = cli(*SMALL, "hydra/launcher=basic")
    before = digests(done)
    second = done.archives()[1].parent
    shutil.rmtree(second)
    again = resume(str(second.parent))
    assert again.code == 0, again.err
    assert digests(again) == before
    assert "complete, nothing is left to do" in again.out


def test_a_sweep_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with qexp.sweep("ghz", "circuits.num_qubits=2,3", shots=50) as sweep:
        assert sweep.status == "complete"
        assert [point.draws for point in sweep.points] == [
            {"circuits.num_qubits": 2},
            {"circuits.num_qubits": 3},
        ]
        assert sum(sweep[1].counts()[0].values()) == 50
        assert sweep.points[0].folder.name == f"{sweep.id}-0000"
    assert qexp.resume(sweep.path).status == "complete"
    assert qexp.status(sweep.path).state == "complete"


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("execution.retries=0,1", "execution: the points of a sweep share their jobs"),
        ("hydra.job.chdir=true", "hydra.job.chdir=True: has no effect where points are run"),
    ],
)
def test_what_points_cannot_share_is_refused(cli: Cli, word: str, problem: str):
    done = cli(*SMALL, word)
    assert done.code == 2
    assert problem in done.err
    assert done.archives() == []
    assert not list((done.folder / "outputs").rglob("*")) if done.folder.exists() else True
