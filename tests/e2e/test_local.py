"""What the README says a researcher without an account can type."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from qiskit.quantum_info import Statevector

import qexp
from tests.e2e.conftest import Cli

SMALL = ("experiment=random_sampling", "circuits.num_circuits=6", "partition.max_circuits=4")


def test_random_sampling_leaves_one_complete_archive(cli: Cli):
    done = cli(*SMALL, "circuits.depth=3", "seed=7")
    assert done.code == 0, done.err
    assert done.err == ""
    with done.archive() as run:
        assert run.status == "complete"
        assert run.experiment == "random_sampling"
        assert run.config["circuits"]["depth"] == 3
        assert run.config["seed"] == 7
        assert [job.state for job in run.jobs] == ["DONE", "DONE"]
        assert len(run.results["main"]) == 6
        for index, result in enumerate(run.results["main"]):
            circuit = run.circuits("main")[index]
            (register,) = circuit.cregs
            counts = getattr(result.data, register.name).get_counts()
            assert sum(counts.values()) == 4096
            # The most likely outcome is likely in theory too: noise is small, bits are in order.
            ideal = Statevector(circuit.remove_final_measurements(inplace=False))
            likeliest = max(counts, key=lambda bits: counts[bits])
            active = [
                circuit.find_bit(item.qubits[0]).index
                for item in circuit.data
                if item.operation.name == "measure"
            ]
            expected = ideal.probabilities_dict(active)
            assert expected[likeliest] > 0.5 * max(expected.values())
        assert run.details["mode"] == "local"
        assert run.details["state"] == "closed"
        batch_id, path = run.details["id"], done.archives()[0]
    for shown in (batch_id, "fake_manila", "2 of 2 done", str(path.relative_to(done.folder))):
        assert shown in done.out
    # The parts were merged: beside the archive there is at most the log.
    allowed = {"run.h5", "run.log", "journal.jsonl", ".lock"}
    assert {item.name for item in path.parent.iterdir()} <= allowed


def test_the_same_config_gives_the_same_data_and_another_seed_does_not(cli: Cli):
    for seed in ("1", "1", "2"):
        assert cli(*SMALL, "primitive.shots=100", f"seed={seed}").code == 0
    digests = {}
    for path in sorted(cli("--help").folder.rglob("run.h5")):
        with qexp.open_archive(path) as run:
            digests.setdefault(run.config["seed"], set()).add(run.data_sha256)
    assert len(digests[1]) == 1
    assert digests[1] != digests[2]


@pytest.mark.parametrize("implementation", ["client", "legacy"])
@pytest.mark.parametrize("engine", ["local", "runtime-local"])
def test_estimator_and_sampler_in_one_batch(cli: Cli, engine: str, implementation: str):
    both = [
        f"workloads.{name}.primitive.implementation={implementation}"
        for name in ("estimator", "sampler")
    ]
    done = cli("experiment=estimator_and_sampler", f"engine={engine}", *both)
    assert done.code == 0, done.err
    with done.archive() as run:
        assert run.status == "complete"
        assert len(run.jobs) == 2
        assert run.results["estimator"][0].data.evs.shape == (3, 2)
        sampled = run.results["sampler"][0].data
        assert len(list(sampled)) == 2
        assert all(array.shape == (3, 2) for array in sampled.values())


def test_the_rehearsal_twirls_and_decouples(cli: Cli):
    done = cli(
        "experiment=ghz",
        "engine=runtime-local",
        "primitive.shots=256",
        "primitive.options.twirling.enable_gates=true",
        "primitive.options.dynamical_decoupling.enable=true",
    )
    assert done.code == 0, done.err
    with done.archive() as run:
        assert (run.status, run.verify()) == ("complete", [])
        (job,) = run.jobs
        assert job.options["twirling"]["enable_gates"] is True
        assert job.options["dynamical_decoupling"]["enable"] is True
        result = run.results["main"][0]
        assert result.metadata["num_randomizations"] > 1
        counts = result.data.meas.get_counts()
        assert counts["00000"] + counts["11111"] > 128


EXACT = (
    "experiment=efficient_su2",
    "circuits.num_circuits=2",
    "engine.exact_expectation_values=true",
)


def test_exact_expectation_values(cli: Cli, resume: Cli):
    assert cli(*EXACT, "seed=1", "engine.workers=1").code == 0
    planned = cli(*EXACT, "seed=1", "stop_after=plan").archives()[-1]
    done = resume(str(planned.parent))
    assert done.code == 0, done.err
    digests = set()
    for path in done.archives():
        with qexp.open_archive(path) as run:
            assert run.status == "complete"
            assert run.config["engine"]["exact_expectation_values"] is True
            assert run.jobs[0].options["default_precision"] == 0
            for one in run.results["main"]:
                assert not one.data.stds.any()
                assert one.metadata["target_precision"] == 0
            digests.add(run.data_sha256)
    assert len(done.archives()) == 2
    assert len(digests) == 1


@pytest.mark.parametrize("engine", ["runtime-local", "ibm"])
def test_exact_expectation_values_are_the_local_engines(cli: Cli, engine: str):
    done = cli(*EXACT, f"engine={engine}")
    assert done.code == 2
    assert "engine.exact_expectation_values: unknown key" in done.err


def test_a_circuit_without_exact_expectation_values_is_refused(cli: Cli):
    done = cli(*EXACT, "backend=fake", "backend.name=FakeSherbrooke", "circuits.num_qubits=12")
    assert done.code == 2
    assert "PUB 0 of workload 'main'" in done.err
    assert "at most 11 qubits have exact expectation values" in done.err
    assert done.archives() == []


def test_stop_after_plan_submits_nothing_and_prints_the_plan(cli: Cli):
    done = cli(*SMALL, "stop_after=plan", "batch.max_time=25m")
    assert done.code == 0, done.err
    assert re.search(r"main\s.*\b2\b.*\b6\b", done.out)
    assert "25m" in done.out
    with done.archive() as run:
        assert run.status == "planned"
        assert len(run.circuits("main", isa=True)) == 6


@pytest.mark.parametrize("experiment", ["chsh", "relaxation"])
def test_the_worked_examples(cli: Cli, experiment: str):
    size = {"chsh": "circuits.num_angles=9", "relaxation": "circuits.num_delays=5"}[experiment]
    done = cli(f"experiment={experiment}", size)
    assert done.code == 0, done.err
    with done.archive() as run:
        assert run.status == "complete"
        if experiment == "chsh":
            evs = run.results["main"][0].data.evs
            assert evs.shape == (2, 9)
            assert 2.0 < abs(evs).max() < 3.0
        else:
            alive = [
                result.data.meas.get_counts().get("1", 0) / 4096 for result in run.results["main"]
            ]
            assert alive[0] > 0.9
            assert alive == sorted(alive, reverse=True)


MINE = """
from collections.abc import Iterator

from qiskit import QuantumCircuit


def circuits(num_circuits: int, *, rng) -> Iterator[QuantumCircuit]:
    for _ in range(num_circuits):
        circuit = QuantumCircuit(2)
        circuit.rx(rng.uniform(0, 3), 0)
        circuit.cx(0, 1)
        circuit.measure_all()
        yield circuit
"""

MINE_YAML = """
# @package _global_
defaults:
  - override /primitive: sampler
circuits:
  _target_: experiments.mine.circuits
  num_circuits: 3
"""


def write_mine(cli: Cli, yaml: str = MINE_YAML) -> None:
    folder = cli("--help").folder
    (folder / "conf" / "experiment").mkdir(parents=True)
    (folder / "conf" / "experiment" / "mine.yaml").write_text(yaml)
    (folder / "experiments").mkdir()
    (folder / "experiments" / "mine.py").write_text(MINE)


def test_a_users_own_experiment_in_the_current_folder(cli: Cli):
    write_mine(cli)
    done = cli("experiment=mine", "primitive.shots=50")
    assert done.code == 0, done.err
    with done.archive() as run:
        assert len(run.results["main"]) == 3
    # The shipped examples are still there beside it.
    assert cli("experiment=relaxation", "circuits.num_delays=2", "stop_after=plan").code == 0


def test_a_typo_in_the_users_experiment_file_is_refused(cli: Cli):
    write_mine(cli, MINE_YAML + "  num_circuit: 4\npartitions:\n  max_circuits: 2\n")
    done = cli("experiment=mine")
    assert done.code == 2
    assert "partitions: unknown key; did you mean 'partition'?" in done.err
    assert done.archives() == []


def test_the_console_script_is_the_same_program(cli: Cli):
    write_mine(cli)
    folder = cli("--help").folder
    script = [sys.executable, "-c", "from qexp.__main__ import main; main()"]
    done = subprocess.run(
        [*script, "experiment=mine", "stop_after=plan"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_noise_is_approximated_by_choice_and_said_to_be(cli: Cli):
    done = cli(
        "experiment=mirror_circuits",
        "backend=fake",
        "backend.name=fake_torino",
        "circuits.num_qubits=30",
        "circuits.num_circuits=1",
        "circuits.depths=[30]",
        "primitive.shots=256",
        "engine.approximate_noise=true",
    )
    assert done.code == 0, done.err
    assert re.search(
        r"warning: workload 'main': noise is approximated in 1 circuit, as "
        r"engine\.approximate_noise allows: cz \d+ \d+ by [1-9].*; no probability of a circuit is "
        r"off by more than \d",
        done.err.replace("\n", " "),
    )
    with done.archive() as run:
        stated = run.results["main"][0].metadata["approximated_noise"]
        assert run.jobs[0].info["approximated_noise"] == stated["errors"]
        assert 0 < max(stated["errors"].values()) < stated["deviation"] < 1e-1
        path = run.path
    shown = cli("show", str(path)).out
    assert f"{len(stated['errors'])} errors approximated, by up to" in shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("engine.approximate_nois=true", "engine.approximate_nois: unknown key"),
        ("engine.approximate_noise=yes", "engine.approximate_noise: got 'yes'"),
    ],
)
def test_mistakes_about_approximated_noise_are_refused(cli: Cli, given: str, said: str):
    done = cli("experiment=ghz", given)
    assert (done.code, done.archives()) == (2, [])
    assert said in done.err


def test_a_lattice_is_reproduced_from_its_archive(cli: Cli, reproduce: Cli):
    digests = set()
    for workers in (1, 2):
        done = cli(
            "experiment=ghz",
            "backend=lattice",
            "backend.rows=4",
            "backend.columns=5",
            "circuits.num_qubits=[15,20]",
            "circuits.num_circuits=50",
            "primitive.shots=100",
            "seed=3",
            f"engine.workers={workers}",
        )
        assert done.code == 0, done.err
        path = str(done.archives()[-1])
        with qexp.open_archive(path) as run:
            assert run.backend["name"] == "lattice_grid_4x5"
            digests.add(run.data_sha256)
    assert len(digests) == 1
    for device in ("installed", "archived"):
        again = reproduce(path, "--into", f"outputs/{device}", "--device", device)
        assert again.code == 0, again.err
        assert "reproduced: bit-identical" in again.out
