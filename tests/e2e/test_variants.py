"""Variants as one experiment: the same circuits in all, and what the sweep makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import qexp
from qexp.report.write import write_report
from qexp.sweeps.analyses import read_sweep_analyses
from tests.crash.processes import Subprocesses, environment
from tests.e2e.conftest import Cli
from tests.emulator import IBMEmulator
from tests.emulator.devices import MANILA

MITIGATED = "experiment=error_mitigation"
SMALL = (
    *(MITIGATED, "circuits.num_qubits=3", "circuits.steps=[1,2,3]"),
    "primitive.precision=0.1",
)
NAMES = ["bare", "dd", "trex", "zne"]


def sweep_in(folder: Path) -> Path:
    (path,) = (folder / "outputs").rglob("sweep.json")
    return path.parent


def test_variants_have_the_same_circuits_and_layouts_and_are_compared(
    cli: Cli, reproduce: Cli
) -> None:
    done = cli("-m", *SMALL)
    assert done.code == 0, done.err
    assert "circuits the same in all points" in done.out
    assert "analysis compare: rms error: bare 0." in done.out
    sweep = sweep_in(done.folder)
    with qexp.open_sweep(sweep) as opened:
        runs = list(opened)
        assert [run.config["variant"] for run in runs] == NAMES
        levels = [run.config["primitive"]["options"]["resilience_level"] for run in runs]
        assert levels == [0, 0, 1, 2]
        for run in runs[1:]:
            for index in range(3):
                one, first = (r.circuits("main", isa=True)[index] for r in (run, runs[0]))
                assert one == first
                assert one.layout.final_index_layout() == first.layout.final_index_layout()
        assert all(pair.same_isa for pair in opened.pairs())
        assert len(opened.pairs()) == 3
        assert len({run.data_sha256 for run in runs}) == 4
        assert len({run.details["id"] for run in runs}) == 1
        found = read_sweep_analyses(opened)["compare"]
        data = opened.to_dataset()
    assert found.variant.values.tolist() == NAMES
    assert found.num_pairs.values.tolist() == [3] * 6
    rms = data["exact_evs_rms_error"].values.tolist()
    assert found.rms_error.values.tolist() == pytest.approx(rms)
    assert found.qpu_s.values.tolist() == data["predicted_qpu_s"].values.tolist()
    page = write_report(sweep).read_text(encoding="utf-8")
    assert "Comparison by variant" in page
    assert "Analyses by variant" in page
    again = reproduce(str(opened.points[3].folder), "--into", "outputs/again")
    assert "reproduced: bit-identical" in again.out, again.err
    alone = cli(*opened.points[1].overrides, "hydra.run.dir=outputs/alone/again")
    assert alone.code == 0, alone.err
    with qexp.open_archive(alone.folder / "outputs/alone/again") as run:
        assert run.data_sha256 == data["data_sha256"].values[1]


@pytest.mark.parametrize("place", ["collected@2", "planned@2"])
def test_variants_that_are_killed_go_on_and_have_the_data_of_those_that_were_not(
    cli: Cli, resume: Cli, tmp_path: Path, place: str
) -> None:
    whole = cli("-m", *SMALL)
    assert whole.code == 0, whole.err
    sweep = tmp_path / "killed"
    words = ("qexp", "-m", *SMALL, f"hydra.sweep.dir={sweep}", "engine.workers=1")
    kill = (f"fsync journal.jsonl {place}:after", str(sweep), str(tmp_path / "trace"))
    ended = Subprocesses().run((*kill, *words), tmp_path, environment(tmp_path / "home", {}))
    assert ended.was_killed, ended.err
    again = resume(str(sweep))
    assert again.code == 0, again.err
    assert "analysis compare: rms error" in again.out
    with qexp.open_sweep(sweep) as killed, qexp.open_sweep(sweep_in(whole.folder)) as other:
        digests = [[run.data_sha256 for run in opened] for opened in (killed, other)]
    assert digests[0] == digests[1]
    lines = [*map(json.loads, (sweep / "journal.jsonl").read_text().splitlines())]
    collected = [line["partition"] for line in lines if line["event"] == "collected"]
    assert sorted(collected) == [0, 1, 2, 3]
    assert [line.get("point", 0) for line in lines if line["event"] == "planned"] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            (MITIGATED,),
            "variants: a sweep is declared, but this is a single run; add -m, or choose",
        ),
        (
            ("-m", MITIGATED, "variant=bare,zen"),
            "variant: got 'zen'; did you mean 'zne'? allowed: ",
        ),
        (("-m", MITIGATED, "variants.none={}"), "variants.none: equal to primitive once it is mer"),
        (("-m", "experiment=error_mitigation,ising"), "variants: some are declared that this swee"),
        (("-m", MITIGATED, "hydra/sweeper=basic"), "variants: some are declared that this sweep d"),
        (
            ("-m", "experiment=estimator_and_sampler", "variants={a:{precision:0.1}}"),
            "variants: they change the primitive of the top level, not those of the workloads ",
        ),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(
    cli: Cli, words: tuple[str, ...], problem: str
) -> None:
    done = cli(*words)
    assert done.code == 2
    assert problem in done.err
    assert done.err.count("\n") == 1
    assert not list(done.folder.rglob("journal.jsonl"))


def test_variants_take_turns_in_one_batch_on_ibms_service_and_are_compared_by_what_is_charged(
    cli: Cli, resume: Cli
) -> None:
    with IBMEmulator() as emulator:
        env = {name: value for name, value in emulator.env.items() if name != "HOME"}
        place = ("backend=ibm", f"backend.name={MANILA}", "engine.poll_interval_s=0.1")
        words = ("variant=bare,trex", "sweep.block=2", "sweep.pack=null", "stop_after=submit")
        sent = cli("-m", *SMALL, *place, *words, env=env)
        assert sent.code == 0, sent.err
        sweep = sweep_in(sent.folder)
        done = resume(str(sweep), env=env)
        assert done.code == 0, done.err
        assert len(emulator.journal.find("POST", "/sessions")) == 1
    lines = map(json.loads, (sweep / "journal.jsonl").read_text().splitlines())
    assert [one["partition"] for one in lines if one["event"] == "submitted"] == [0, 2, 1, 3]
    with qexp.open_sweep(sweep) as opened:
        found, data = read_sweep_analyses(opened)["compare"], opened.to_dataset(evs=False)
    assert found.qpu_s.attrs["long_name"] == "QPU time charged"
    assert found.qpu_s.values.tolist() == data["usage_s"].values.tolist()
    assert found.num_pairs.item() == 3
