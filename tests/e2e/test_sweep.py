"""Multirun: pairs, seeds, and launchers and sweepers that the user chooses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import qexp
from qexp.archive.circuit_digest import circuit_sha256
from qexp.sweeps.analyses import read_sweep_analyses
from tests.e2e.conftest import Cli, Finished

PLUGINS = {"PYTHONPATH": str(Path(__file__).parent / "plugins")}

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


@dataclass(frozen=True)
class Point:
    """What a point has in common with others: its circuits as generated, as run, its data."""

    logical: tuple[str, ...]
    isa: tuple[str, ...]
    layouts: tuple[tuple[int, ...], ...]
    data: str
    overrides: tuple[str, ...]


def read(path: Path) -> Point:
    with qexp.open_archive(path) as run:
        assert run.status == "complete"
        pubs = run.pubs(isa=True)
        layouts = [tuple(pub.circuit.layout.final_index_layout()) for pub in pubs]
        return Point(
            logical=tuple(map(circuit_sha256, run.circuits())),
            isa=tuple(circuit_sha256(pub.circuit) for pub in pubs),
            layouts=tuple(layouts),
            data=run.data_sha256,
            overrides=run.overrides,
        )


def points_of(done: Finished) -> list[Point]:
    assert done.code == 0, done.err
    return [read(path) for path in done.archives()]


def test_points_that_differ_in_options_or_shots_have_equal_circuits(cli: Cli, reproduce: Cli):
    done = cli(
        *SMALL[:-1],
        "primitive.options.dynamical_decoupling.enable=false,true",
        "primitive.shots=64,100",
    )
    points = points_of(done)
    archive = done.archives()[2]
    assert len(points) == 4
    assert len({point.isa for point in points}) == 1
    assert len({point.layouts for point in points}) == 1
    assert len({point.logical for point in points}) == 1
    assert len({point.data for point in points}) == 4
    assert done.out.count("circuits the same in all points") == 1
    alone = cli(*points[1].overrides, "hydra.run.dir=outputs/alone/again")
    assert alone.code == 0, alone.err
    assert "in all points" not in alone.out
    assert read(alone.folder / "outputs/alone/again/run.h5").data == points[1].data
    again = reproduce(str(archive), "--into", "outputs/again")
    assert again.code == 0, again.err
    assert "reproduced: bit-identical" in again.out


def test_points_that_differ_in_transpilation_have_equal_logical_circuits(cli: Cli):
    points = points_of(cli(*SMALL, "transpile.optimization_level=0,3", "circuits.depth=2,4"))
    assert len({point.logical for point in points}) == 2
    assert len({point.isa for point in points}) == 4
    assert len({point.data for point in points}) == 4


def test_a_point_can_be_repeated_alone(cli: Cli):
    first, second = points_of(cli(*SMALL, "circuits.depth=2,3"))
    assert set(first.logical).isdisjoint(second.logical)
    alone = cli(*first.overrides, "hydra.run.dir=outputs/alone/again")
    assert alone.code == 0, alone.err
    assert read(alone.folder / "outputs/alone/again/run.h5").data == first.data


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
    assert "1 of 3 points cannot run" in lines[-1]


def test_points_in_other_processes_keep_their_errors_and_exit_codes(cli: Cli):
    done = cli(*SMALL, "circuits.num_qubits=2,9,3", "hydra/launcher=apart", env=PLUGINS)
    assert done.code == 2
    assert len(done.archives()) == 2
    assert len({path.parents[1] for path in done.archives()}) == 1
    first, last = done.err.strip().splitlines()
    assert "circuits.num_qubits=9" in first
    assert "has 9 qubits, but backend fake_manila has 5" in first
    assert "1 of 3 points failed" in last
    logs = {path.read_text() for path in (done.folder / "outputs").rglob("*.log")}
    assert sum("archive  outputs/" in log for log in logs) == 2


def test_a_process_that_is_killed_is_no_bug(cli: Cli, tmp_path: Path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "import os, signal\nfrom qiskit import QuantumCircuit\n\n\n"
        "def circuits(num_qubits: int):\n"
        "    if num_qubits == 3:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    circuit = QuantumCircuit(num_qubits)\n    circuit.measure_all()\n"
        "    yield circuit\n"
    )
    done = cli(
        *("-m", "+circuits._target_=mine.circuits", "primitive=sampler", "primitive.shots=10"),
        *("circuits.num_qubits=2,3", "hydra/launcher=apart"),
        env=PLUGINS,
    )
    assert done.code == 3
    (line,) = done.err.splitlines()
    assert "hydra/launcher=apart: the launcher failed" in line
    assert "the process of point 1 was killed" in line
    assert "python -m qexp resume outputs/adhoc/sweep-" in line
    assert len(done.archives()) == 1


@pytest.mark.parametrize("launcher", ["basic", "apart"])
def test_hydras_own_sweeper_keeps_exit_codes(cli: Cli, launcher: str):
    done = cli(
        *SMALL,
        "circuits.num_qubits=2,9",
        *("hydra/sweeper=basic", f"hydra/launcher={launcher}"),
        env=PLUGINS,
    )
    assert done.code == 2
    assert len(done.archives()) == 1
    assert done.err.count("\n") == 2
    assert "1 of 2 points failed" in done.err


@pytest.mark.parametrize(
    ("choice", "package"),
    [
        ("hydra/launcher=joblib", "hydra_joblib_launcher"),
        ("hydra/launcher=submitit_local", "hydra_submitit_launcher"),
    ],
)
def test_launchers_that_are_installed(cli: Cli, choice: str, package: str):
    pytest.importorskip(f"hydra_plugins.{package}")
    done = cli(*SMALL, "circuits.num_qubits=2,9", "engine.workers=1", choice)
    assert done.code == 2
    assert len(done.archives()) == 1
    assert done.err.count("has 9 qubits") == 1


def test_an_optimiser_that_is_installed(cli: Cli):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    given = (
        *("-m", "experiment=ising", "circuits.num_qubits=3", "circuits.steps=[1]"),
        *("circuits.dt=interval(0.1,0.5)", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2"),
    )
    assert cli(*given).code == 2
    done = cli(*given, "sweep.value=exact_evs.rms_error")
    assert done.code == 0, done.err
    assert len(done.archives()) == 2


def test_checking_many_points_takes_no_more_memory_than_a_few(tmp_path: Path):
    code = """
import gc, sys
from qexp.config import load
from qexp.errors import ConfigError
from qexp.cli.main import main

def validated(plain, checked=[], validated=load.validated):
    # Without its seeds and with them.
    checked.append(plain["seed"])
    if len(checked) == 600:
        alive = sum(type(one).__name__ == "DictConfig" for one in gc.get_objects())
        print("ALIVE", alive)
        raise ConfigError("stop")
    return validated(plain)

load.validated = validated
main(["-m", "experiment=ghz", "circuits.num_qubits=range(2,400)"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    alive = int(done.stdout.split()[-1])
    # About 90 for each composed config.
    assert alive < 10_000


OWN = """\
# @package _global_
defaults: [random_sampling]
circuits: {num_circuits: 2, depth: "${variables.x}"}
variables: {x: 2}
sweep:
  zip: {variables.x: [2, 3, 3], primitive.shots: [64, 64, 100]}
"""


def test_an_experiment_declares_its_points_and_each_can_be_repeated_alone(
    cli: Cli, reproduce: Cli, tmp_path: Path
):
    (tmp_path / "work/conf/experiment").mkdir(parents=True)
    (tmp_path / "work/conf/experiment/mine.yaml").write_text(OWN)
    single = cli("experiment=mine")
    assert single.code == 2
    assert single.err == (
        "qexp: sweep.zip: a sweep is declared, but this is a single run; add -m, or set "
        "sweep.zip=null\n"
    )
    done = cli("-m", "experiment=mine")
    points = points_of(done)
    assert len(points) == 3
    assert len({point.logical for point in points}) == 2
    assert len({point.data for point in points}) == 3
    assert all("sweep.keys=[variables.x,primitive.shots]" in point.overrides for point in points)
    alone = cli(*points[1].overrides, "hydra.run.dir=outputs/alone/again")
    assert alone.code == 0, alone.err
    assert read(alone.folder / "outputs/alone/again/run.h5").data == points[1].data
    again = reproduce(str(done.archives()[2]), "--into", "outputs/again")
    assert again.code == 0, again.err
    assert "reproduced: bit-identical" in again.out
    assert cli("experiment=mine", "sweep.zip=null", "stop_after=plan").code == 0
    swept = cli("-m", "experiment=mine,ghz")
    assert swept.code == 2
    assert "sweep point 'experiment=mine': sweep.zip: points are declared that this" in swept.err
    other = cli("-m", "experiment=mine", "hydra/sweeper=basic")
    assert other.code == 2
    assert "sweep.zip: points are declared that this sweep does not read" in other.err


def test_points_of_a_file_and_of_a_sample(cli: Cli, tmp_path: Path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work/points.csv").write_text("circuits.depth,primitive.shots\n2,64\n3,32\n")
    done = cli(*SMALL[:-1], "sweep.points=points.csv")
    points = points_of(done)
    assert ["circuits.depth=3" in point.overrides for point in points] == [False, True]
    sample = "sweep.sample={method:sobol,n:3,keys:{circuits.depth:[2,4],primitive.shots:[1,99]}}"
    sampled = cli(*SMALL[:-1], sample, "name=sampled")
    assert sampled.code == 0
    assert sampled.err == ""
    (tmp_path / "work/points.csv").write_text("circuits.dept\n2\n")
    bad = cli(*SMALL, "sweep.points=points.csv")
    assert bad.code == 2
    assert bad.err.startswith(
        "qexp: sweep point 'circuits.dept=2' (points.csv, line 2): circuits.dept: unknown key"
    )
    assert bad.err.count("\n") == 1


MINE = "def refused(sweep):\n    raise ValueError('not with me')\n"


def test_a_complete_sweep_is_analysed_as_a_whole_and_again_later(cli: Cli, tmp_path: Path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "my_analyses.py").write_text(MINE)
    done = cli(
        *("-m", "experiment=mirror_circuits", "circuits.num_circuits=2", "circuits.num_qubits=2"),
        *("circuits.depths=1,2,4", "primitive.shots=64", "sweep/analysis=decay"),
        *("sweep.analysis.decay.floor=0.25", "+sweep.analysis.x._target_=my_analyses.refused"),
    )
    assert done.code == 0, done.err
    assert "analysis decay: p = " in done.out
    assert "analysis 'x': my_analyses.refused failed: ValueError: not with me" in done.err
    (folder,) = (done.folder / "outputs" / "mirror_circuits").iterdir()
    result = folder / "analysis" / "decay.nc"
    with qexp.open_sweep(folder) as sweep:
        assert read_sweep_analyses(sweep)["decay"].num_points.values.tolist() == [3]
    result.unlink()
    again = cli("analyse", str(folder), "--trust", "my_analyses")
    assert again.code == 2
    assert "ValueError: not with me" in again.err
    assert result.is_file()


def test_a_sweep_is_analysed_after_rounds_with_what_its_points_have(cli: Cli):
    done = cli(
        *("-m", "experiment=mirror_circuits", "circuits.num_circuits=2", "primitive.shots=64"),
        *("circuits.num_qubits=2,9", "circuits.depths=1,2,4", "hydra.sweeper.max_batch_size=3"),
        *("sweep/analysis=decay", "sweep.analysis.decay.over=circuits.depths"),
    )
    assert done.code == 2
    assert "3 of 6 points cannot run" in done.err
    assert done.out.count("analysis decay:") == 1
    (folder,) = (done.folder / "outputs" / "mirror_circuits").iterdir()
    assert (folder / "index.json").is_file()
    with qexp.open_sweep(folder) as sweep:
        assert read_sweep_analyses(sweep)["decay"].num_points.values.tolist() == [3, 0]
