"""Every command gives the recorded facts about archives of every schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden import facts
from tests.golden.commands import apart, here
from tests.golden.compare import assert_same
from tests.golden.conftest import Unpacked
from tests.golden.resuming import RUNS as UNFINISHED
from tests.golden.runs import EXPECTED, expected, keys, members, unpack

SEALED = keys(sealed=True)
PAIRS = (("1.0", "1.1", "compatible"), ("1.0", "1.2", "compatible"), ("1.1", "1.2", "identical"))
COMMON = {"sampler": 6, "estimator": 2, "partial": 2}
"""Number of PUBs with a result in the runs of all schemas, by the name of the run."""

each = pytest.mark.parametrize("key", SEALED)


def test_facts_about_every_run_are_recorded():
    recorded = {path.relative_to(EXPECTED).with_suffix("") for path in EXPECTED.rglob("*.json")}
    resumed = {Path("resumed", key) for key in UNFINISHED}
    assert recorded == {Path(key) for key in SEALED} | resumed
    assert set(keys(sealed=False)) <= set(UNFINISHED)


@each
def test_it_opens_and_is_shown_and_listed(unpacked: Unpacked, key: str):
    run, recorded = unpacked(key), expected(key)
    for kind, found in (
        ("opened", facts.opened(run)),
        ("shown", facts.shown(run)),
        ("listed", facts.listed(run)),
    ):
        assert_same(recorded[kind], found, may_grow=lambda _: True)


@pytest.mark.parametrize("key", ["1.0/partial", "1.1/sampler", "1.2/planned", "1.2/ibm-partial"])
def test_it_is_shown_to_people(unpacked: Unpacked, key: str):
    run, recorded = unpacked(key), expected(key)["opened"]
    told = here("show", run.name, folder=run.parent)
    assert told.code == 0
    jobs = [job_id for job_id, *_ in recorded["jobs"]]
    for fact in (recorded["run_id"], recorded["status"], recorded["backend"][0], *jobs):
        assert fact in told.out


@each
def test_it_is_exported_to_every_format(unpacked: Unpacked, key: str):
    assert_same(expected(key)["exported"], facts.exported(unpacked(key)))


@each
def test_analyses_give_the_recorded_and_the_stored_values(unpacked: Unpacked, key: str):
    run, recorded = unpacked(key), expected(key)["analysed"]
    declared = sorted(path.stem for path in (run / "analysis").glob("*.nc"))
    stored = {name: facts.stored(run, name) for name in declared}
    if declared:
        # By the config that the archive recorded.
        assert here("analyse", run.name, folder=run.parent).code == 0
        again = {name: facts.stored(run, name) for name in declared}
        assert_same(stored, again, tolerance=1e-9)
    assert_same(recorded, facts.analysed(run, tuple(recorded)), tolerance=1e-9)


@pytest.mark.parametrize(
    ("key", "name"),
    [("1.0/sampler", "exact_evs"), ("1.1/estimator", "ideal"), ("1.2/planned", "ideal")],
)
def test_an_unsuitable_analysis_is_refused(unpacked: Unpacked, key: str, name: str):
    run = unpacked(key)
    assert here("analyse", run.name, name, folder=run.parent).code == facts.NOT_SUITED
    assert not (run / "analysis" / f"{name}.nc").exists()


@each
def test_its_report_has_the_facts(unpacked: Unpacked, key: str):
    text = facts.page_text(unpacked(key))
    assert [fact for fact in expected(key)["reported"] if fact not in text] == []


@each
def test_a_run_does_not_differ_from_itself(unpacked: Unpacked, key: str):
    run = unpacked(key)
    ended = here("diff", run.name, run.name, "--exit-code", "--json", folder=run.parent)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    results = expected(key)["listed"]["results"]
    assert found["data"]["num_common"] == results
    assert found["data"]["verdict"] == ("identical" if results else "untested")


@pytest.mark.parametrize("name", COMMON)
@pytest.mark.parametrize(("old", "new", "verdict"), PAIRS)
def test_runs_of_different_schemas_are_compared(
    unpacked: Unpacked, name: str, old: str, new: str, verdict: str
):
    runs = [unpacked(f"{schema}/{name}") for schema in (old, new)]
    folder = runs[0].parents[1]
    ended = here("diff", *runs, "--json", folder=folder)
    assert ended.code == 0, ended.err
    data = json.loads(ended.out)["data"]
    common = 4 if (old, name) == ("1.1", "partial") else COMMON[name]
    assert (data["verdict"], data["num_common"]) == (verdict, common)
    # Their configs differ, at least in keys that were added later.
    assert here("diff", *runs, "--exit-code", folder=folder).code == 1


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all runs, which the tests leave as they are."""
    root = tmp_path_factory.mktemp("golden")
    for key in members():
        unpack(key, root / "all")
    return root


def told(everything: Path, verb: str) -> list[dict[str, Any]]:
    ended = apart(verb, "all", "--json", folder=everything)
    assert (ended.code, ended.err) == (0, "")
    found: list[dict[str, Any]] = json.loads(ended.out)
    return found


def test_all_of_them_are_listed(everything: Path):
    found = {entry["run_id"]: entry["status"] for entry in told(everything, "ls")}
    recorded = [expected(key)["listed"] for key in SEALED]
    recorded += [expected(f"resumed/{key}")["before"]["listed"] for key in UNFINISHED]
    assert found == {entry["run_id"]: entry["status"] for entry in recorded}
    printed = apart("ls", "all", "--where", "status==complete", folder=everything).out
    complete = [entry for entry in recorded if entry["status"] == "complete"]
    assert printed.count("\ncomplete ") == len(complete)


def test_all_of_them_are_intact(everything: Path):
    found = told(everything, "verify")
    assert len(found) == len(keys())
    assert [entry for entry in found if not entry["is_intact"]] == []
    assert apart("verify", "all", folder=everything).code == 0


def test_a_sweep_has_a_page(unpacked: Unpacked):
    points = [key for key in SEALED if key.startswith("1.2/sweep/")]
    sweep = unpacked(points[0]).parent
    assert here("report", sweep.name, folder=sweep.parent).code == 0
    page = (sweep / "report.html").read_text(encoding="utf-8")
    for key in points:
        assert expected(key)["opened"]["run_id"] in page
    assert "circuits.num_angles" in page
