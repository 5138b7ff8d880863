"""Verbs that are given the folder of a sweep."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import xarray as xr

import qexp
from qexp.archive.sweep_file import SWEEP_NAME, read_sweep
from qexp.errors import ExitCode
from tests.archives import started
from tests.damage import flip
from tests.sweeps import declare
from tests.unit.cli.conftest import Command
from tests.unit.sweeps.conftest import make_grid


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Of four points two are complete, 1 is not sealed, 2 was never planned."""
    points = make_grid(tmp_path / "runs" / "sweep")
    for point in points[1:3]:
        shutil.rmtree(point)
    started(points[1])
    return tmp_path / "runs" / "sweep"


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    make_grid(tmp_path / "whole")
    return tmp_path / "whole"


def test_ls_lists_points_as_runs_below_their_sweep(command: Command, sweep: Path) -> None:
    # The journal and the parts of the sweep are of no run.
    (sweep / "journal.jsonl").write_bytes(b"")
    (sweep / "parts").mkdir()
    done = command("ls", sweep.parent, "--json")
    listed = {entry["path"]: entry["status"] for entry in json.loads(done.out)}
    assert listed == {
        str(sweep / "0000" / "run.h5"): "complete",
        str(sweep / "0001"): "unfinished",
        str(sweep / "0003" / "run.h5"): "complete",
    }
    assert "sweep/0003" in command("ls", sweep.parent).out
    assert "2 complete, 1 unfinished" in command("ls", sweep).out


def test_show_is_a_page_of_the_points(command: Command, sweep: Path) -> None:
    done = command("show", sweep)
    assert done.code == 0
    flat = " ".join(done.out.split())
    for said in (
        "sweep sweep partial",
        "swept field: 0.5, 1.0",
        "points 4: 2 complete, 1 planned, 1 declared",
        "3 true 1.0 complete 1 3.5s",
        "1 planned: it is not sealed 2 declared: it was not run",
        f"to go on: python -m qexp resume {sweep}",
    ):
        assert said in flat, said
    assert max(map(len, done.out.splitlines()[:12])) <= 100


def test_show_as_json(command: Command, sweep: Path) -> None:
    shown = json.loads(command("show", sweep, "--json").out)
    assert shown["swept"] == ["twirled", "field"]
    assert [point["status"] for point in shown["points"]] == [
        "complete", "planned", "declared", "complete",
    ]  # fmt: skip
    last = shown["points"][3]
    assert last["draws"] == {"twirled": True, "field": 1.0}
    assert last["values"]["fit_decay"] == 1.875
    assert "evs" not in last


def test_show_of_a_point_that_is_not_sealed(command: Command, sweep: Path) -> None:
    done = command("show", sweep / "0001")
    assert done.code == 0
    assert "its jobs are those of the sweep" in " ".join(done.out.split())


def test_verify_names_points_without_an_archive(command: Command, sweep: Path) -> None:
    done = command("verify", sweep)
    assert done.code == 0
    assert done.out.splitlines() == [
        f"intact   {sweep}",
        f"intact   {sweep / '0000' / 'run.h5'}",
        f"intact   {sweep / '0001'}",
        f"intact   {sweep / '0003' / 'run.h5'}",
        f"absent   {sweep / '0001'}",
        f"absent   {sweep / '0002'}",
        "4 runs and sweeps: 4 intact, 0 damaged, 2 absent",
    ]
    checked = json.loads(command("verify", sweep, "--json").out)
    assert [one["is_intact"] for one in checked] == [True] * 4 + [None] * 2


@pytest.mark.parametrize("name", [SWEEP_NAME, "0000/run.h5"])
def test_verify_finds_damage_in_a_sweep(command: Command, sweep: Path, name: str) -> None:
    raw = bytearray((sweep / name).read_bytes())
    (sweep / name).write_bytes(flip(len(raw) // 2, 0)(raw))
    done = command("verify", sweep)
    assert done.code == 5
    damaged = sweep if name == SWEEP_NAME else sweep / name
    assert f"damaged  {damaged}\n" in done.out


def test_diff_of_a_sweep_tests_its_pairs(command: Command, whole: Path) -> None:
    assert command("diff", whole, "--exit-code").code == 0
    done = command("diff", whole, "--exit-code", "--alpha", 0.5)
    assert done.code == 1
    flat = " ".join(done.out.split())
    # One change, of which the data of the second pair differ by 0.1 with errors of 0.03.
    assert "1 3 same 0.1000" in flat
    assert "B minus A: twirled false -> true" in flat
    assert "2 +0.75 ± 0.4 z 0.061" in flat
    assert "p-values are adjusted for 5 tests, by Holm" in flat
    compared = json.loads(command("diff", whole, "--json").out)
    assert [(one["pair"]["a"], one["pair"]["b"]) for one in compared["pairs"]] == [(0, 2), (1, 3)]
    decay = next(one for one in compared["differences"] if one["name"] == "fit_decay")
    assert (decay["mean"], decay["test"]) == (0.75, "z")


def test_diff_of_two_sweeps_compares_equal_points(
    command: Command, whole: Path, sweep: Path
) -> None:
    done = command("diff", whole, sweep, "--exit-code")
    assert done.code == 0
    assert done.out.count("identical") == 2


def test_diff_refuses_what_cannot_be_compared(command: Command, whole: Path, sweep: Path) -> None:
    for arguments, message in (
        ((whole, whole / "0000"), "is a sweep, the other a run"),
        ((whole / "0000", whole), "is a sweep, the other a run"),
        ((sweep,), "no two points with equal circuits have an archive"),
    ):
        done = command("diff", *arguments)
        assert done.code == 2
        assert message in done.err


def test_export_is_the_dataset(command: Command, whole: Path, sweep: Path) -> None:
    assert command("export", whole, "--to", "netcdf").code == 0
    with xr.open_dataset(whole / "sweep.nc") as data:
        assert float(data["fit_decay"].sel(twirled=True, field=1.0)) == 1.875
    again = command("export", whole, "--to", "netcdf")
    assert (again.code, "exists already" in again.err) == (2, True)
    assert "2 points are not complete" in command("export", sweep, "--to", "netcdf").out
    refused = command("export", whole, "--to", "csv")
    assert (refused.code, "name a point's folder" in refused.err) == (2, True)


def test_analyse_makes_those_of_each_point(command: Command, sweep: Path) -> None:
    # The circuits are no GHZ states, and one point's problem stops no other.
    done = command("analyse", sweep, "exact_evs")
    assert done.code == 0
    assert (sweep / "0000" / "analysis" / "exact_evs.nc").is_file()
    assert (sweep / "0003" / "analysis" / "exact_evs.nc").is_file()
    assert "2 of 4 points have no results" in done.out
    done = command("analyse", sweep, "ghz")
    assert done.code != 0
    assert done.err.count("\n") == 2


def test_analyse_and_reproduce_refuse_a_sweep_without_results(
    command: Command, tmp_path: Path
) -> None:
    folder = declare(tmp_path / "sweep", [{"n": 1}])
    for verb in ("analyse", "reproduce"):
        done = command(verb, folder)
        assert done.code != 0
        assert "has no point with results" in done.err


def test_report_has_all_points_and_the_declared_values(
    command: Command, sweep: Path, tmp_path: Path
) -> None:
    assert command("report", sweep).code == 0
    page = (sweep / "report.html").read_text(encoding="utf-8")
    assert "twirled over false, true" in " ".join(page.split())
    assert "python -m qexp resume sweep goes on with it" in page
    assert command("report", declare(tmp_path / "none", [{"n": 1}, {"n": 2}])).code == 0


def test_analyse_makes_one_of_the_whole_sweep(command: Command, whole: Path) -> None:
    done = command("analyse", whole, "decay", "value=fit_decay", "over=field", "floor=0")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("decay: twirled false: p = ")
    assert (whole / "analysis" / "decay.nc").is_file()
    assert not (whole / "0000" / "analysis" / "decay.nc").exists()


def test_analyse_makes_what_a_sweep_declares_again(command: Command, whole: Path) -> None:
    node = "{_target_: qexp.analysis.decay.decay, value: fit_decay, over: field, floor: 0.0}"
    draws = [point.draws for point in read_sweep(whole).points]
    declare(whole, draws, f"sweep: {{analysis: {{mine: {node}}}}}")
    done = command("analyse", whole, "--json")
    assert done.code == 0
    assert [each["name"] for each in json.loads(done.out)] == ["mine"]
    declare(whole, draws, "sweep: {analysis: {mine: {_target_: os.getcwd}}}")
    refused = command("analyse", whole)
    assert refused.code != 0
    assert "sweep.analysis.mine._target_: " in refused.err


def test_analyse_names_the_choices_of_both_kinds(command: Command, whole: Path) -> None:
    done = command("analyse", whole, "decai")
    assert done.code == ExitCode.REFUSED
    assert "allowed for each point: exact_evs, ghz" in done.err
    assert "for the sweep: compare, crossing, decay" in done.err


def test_remitigate_leaves_out_the_points_without_data_for_it(
    command: Command, tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep"
    for level in (0, 1):
        qexp.run(
            *("ising", "circuits.num_qubits=2", "circuits.steps=[1]", "primitive.precision=0.1"),
            *("analysis=[]", "engine.workers=1", f"primitive.options.resilience_level={level}"),
            f"hydra.run.dir={sweep / f'{level:04d}'}",
        )
    declare(sweep, [{"level": 0}, {"level": 1}])
    done = command("remitigate", sweep, "--json")
    assert done.code == 0
    assert [one["summary"] for one in json.loads(done.out)] == ["2 values: equal to the archived"]
    assert done.err.startswith("qexp: 0000: left out: analysis 'remitigated': the run has no raw")
    assert done.err.count("\n") == 1
    bad = command("remitigate", sweep, "workload=x")
    assert bad.code == ExitCode.REFUSED
    assert [line[:12] for line in bad.err.splitlines()] == ["qexp: 0000: ", "qexp: 0001: "]
    none = command("remitigate", sweep, "extrapolator=linear")
    assert none.code == ExitCode.REFUSED
    *left_out, last = none.err.splitlines()
    assert [line[:21] for line in left_out] == ["qexp: 0000: left out:", "qexp: 0001: left out:"]
    assert "the run has no amplified noise" in left_out[1]
    assert last == f"qexp: {sweep} has no point with data for it; each line above says why"
    alone = command("remitigate", sweep / "0000")
    assert alone.code == ExitCode.REFUSED
    assert alone.err.startswith("qexp: analysis 'remitigated': the run has no raw data")
