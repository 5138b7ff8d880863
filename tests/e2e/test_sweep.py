"""Multirun with Hydra's basic launcher."""

from __future__ import annotations

import qexp
from tests.e2e.conftest import Cli

SMALL = (
    "-m",
    "experiment=random_sampling",
    "circuits.num_circuits=2",
    "primitive.shots=64",
)


def test_each_point_is_a_run_with_a_seed_of_its_own(cli: Cli):
    done = cli(*SMALL, "circuits.depth=2,4")
    assert done.code == 0, done.err
    paths = done.archives()
    assert len(paths) == 2
    assert len({path.parent for path in paths}) == 2
    runs = {}
    for path in paths:
        with qexp.open_archive(path) as run:
            runs[run.config["circuits"]["depth"]] = run.config["seed"]
    assert set(runs) == {2, 4}
    assert runs[2] != runs[4]


def test_a_point_can_be_repeated_alone(cli: Cli):
    assert cli(*SMALL, "circuits.depth=2,3").code == 0
    first = cli("--help").archives()[0]
    with qexp.open_archive(first) as run:
        digest, overrides = run.data_sha256, list(run.overrides)
    alone = cli(*overrides, "hydra.run.dir=outputs/alone/again")
    assert alone.code == 0, alone.err
    with qexp.open_archive(alone.folder / "outputs" / "alone" / "again") as run:
        assert run.data_sha256 == digest


def test_a_bad_value_is_refused_before_the_first_point_runs(cli: Cli):
    done = cli(*SMALL, "circuits.depth=2,4,-1")
    assert done.code == 2
    assert "sweep point 'circuits.depth=-1': circuits.depth: got -1" in done.err.replace("++", "")
    assert done.err.count("\n") == 1
    assert done.archives() == []


def test_a_failed_point_does_not_stop_the_others_and_the_exit_code_tells(cli: Cli):
    done = cli(*SMALL, "circuits.num_qubits=2,9,3")
    assert done.code == 2
    assert len(done.archives()) == 2
    lines = done.err.strip().splitlines()
    assert "circuits.num_qubits=9" in lines[0]
    assert "has 9 qubits, but backend fake_manila has 5" in lines[0]
    assert "1 of 3 points failed" in lines[-1]
