"""`python -m qexp analyse`: results, and one line for every error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from hydra.core.global_hydra import GlobalHydra
from qiskit import QuantumCircuit

from qexp.archive.analyses import read_analyses
from qexp.cli.main import main
from tests.damage import cuts, flip, flips
from tests.unit.analysis.runs import measured, run_of, sampled

CONFIG = """
analysis:
  ghz: {_target_: qexp.analysis.ghz.ghz, workload: null}
  mine: {_target_: my_own.number}
"""
MINE = """
import xarray as xr

def number(run):
    return xr.Dataset(attrs={"summary": f"{len(run.jobs)} jobs"})

def broken(run):
    raise RuntimeError("no")
"""


@pytest.fixture
def folder(own_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A GHZ run in the current folder, and a module of the user's own."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    pair = (measured(circuit, family="ghz"), sampled({"00": 50, "11": 40, "01": 10}))
    run_of(tmp_path / "run", {"main": [pair]}, CONFIG).close()
    (tmp_path / "my_own.py").write_text(MINE)
    choice = tmp_path / "conf" / "analysis" / "bad.yaml"
    choice.parent.mkdir(parents=True)
    choice.write_text("bad: {_target_: my_own.broken}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    GlobalHydra.instance().clear()
    yield tmp_path / "run"
    GlobalHydra.instance().clear()
    sys.modules.pop("my_own", None)


def analyse(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["analyse", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_recorded_analyses_are_made_again_if_they_are_trusted(folder: Path, capsys) -> None:
    assert analyse(folder) == 2
    told = capsys.readouterr()
    assert told.out.startswith("ghz: 2 qubits: population 0.9000 ± 0.0300")
    assert "  run/analysis/ghz.nc" in told.out
    assert "'my_own.number', which is no analysis of qexp" in told.err
    assert told.err.count("\n") == 1
    assert "my_own" not in sys.modules
    assert analyse(folder / "run.h5", "--trust", "my_own") == 0
    assert "mine: 1 jobs" in capsys.readouterr().out
    assert list(read_analyses(folder)) == ["ghz", "mine"]


def test_a_summary_does_not_steer_the_terminal(folder: Path, capsys) -> None:
    (folder.parent / "my_own.py").write_text(MINE.replace(" jobs", r" \x1b[31m\x9b\u202ejobs"))
    assert analyse(folder, "--trust", "my_own") == 0
    told = capsys.readouterr().out
    assert told.replace("\n", "").isprintable()
    assert r"mine: 1 \x1b[31m\x9b\u202ejobs" in told


def test_json_lists_the_analyses_that_were_made(folder: Path, capsys) -> None:
    assert analyse(folder, "--json") == 2
    (ghz,) = json.loads(capsys.readouterr().out)
    assert ghz["name"] == "ghz"
    assert ghz["summary"].startswith("2 qubits: population 0.9000 ± 0.0300")
    assert ghz["path"] == str(folder / "analysis" / "ghz.nc")


def test_any_choice_by_name_with_settings(folder: Path, capsys) -> None:
    before = (folder / "run.h5").read_bytes()
    assert analyse(folder, "ideal", "resamples=5") == 0
    assert capsys.readouterr().out.startswith("ideal: 1 circuit: Hellinger fidelity 0.8972")
    assert read_analyses(folder)["ideal"].attrs["arguments_json"] == (
        '{"workload":null,"max_qubits":16,"resamples":5}'
    )
    assert (folder / "run.h5").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["run", "ideel"],
            2,
            "analysis=ideel: no such choice; did you mean 'ideal'? allowed: bad, exact",
        ),
        (["run", "ideal", "max_qubit=3"], 2, "analysis.ideal.max_qubit: unknown key; did you mean"),
        (["run", "exact_evs"], 2, "analysis 'exact_evs': it needs an estimator workload, and the "),
        (["run", "survival"], 2, "analysis 'survival': it needs a sampler workload of mirror circ"),
        (
            ["run", "bad"],
            2,
            "analysis 'bad': my_own.broken failed: RuntimeError: no; the traceback",
        ),
        (["nowhere"], 5, "there is no archive nowhere"),
        ([], 2, "the following arguments are required: RUN|SWEEP; 'python -m qexp analyse"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert analyse(*arguments) == code
    told = capsys.readouterr()
    assert told.err.startswith(f"qexp: {message}")
    assert (told.err.count("\n"), told.out) == (1, "")


def test_a_traceback_of_the_users_code_is_in_the_log(folder: Path) -> None:
    analyse(folder, "bad")
    assert 'raise RuntimeError("no")' in (folder / "run.log").read_text()


def test_runs_that_have_nothing_to_analyse(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    pub = measured(QuantumCircuit(1))
    run_of(tmp_path / "empty", {"main": [(pub, None)]}, CONFIG).close()
    assert analyse("empty") == 2
    assert "it has no results, so that there is nothing to analyse" in capsys.readouterr().err
    run_of(tmp_path / "none", {"main": [(pub, sampled({"0": 1}))]}).close()
    assert analyse("none") == 2
    assert "declares no analysis; name one: python -m qexp" in capsys.readouterr().err


def test_damage_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = folder / "run.h5"
    whole = archive.read_bytes()
    for damage in [*flips(archive, 40, seed=5), *cuts(archive, 4)]:
        archive.write_bytes(damage(bytearray(whole)))
        assert analyse(folder) == 5
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith(f"qexp: {archive} ")
        assert told.err.count("\n") == 1


def test_no_flip_in_a_circuit_is_ever_read(folder: Path, capsys) -> None:
    archive = folder / "run.h5"
    whole = archive.read_bytes()
    with h5py.File(archive) as file:
        qpy = file["circuits/main/logical/qpy"].id
        start, size = qpy.get_offset(), qpy.get_storage_size()
    for position in range(start, start + size, 7):
        archive.write_bytes(flip(position, position % 8)(bytearray(whole)))
        assert analyse(folder, "ideal", "resamples=2") == 5
        assert "run/run.h5 is not what was sealed" in capsys.readouterr().err
