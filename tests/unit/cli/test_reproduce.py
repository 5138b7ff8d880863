from __future__ import annotations

from pathlib import Path

import pytest

import qexp.experiment
from qexp.config.load import load
from tests.unit.cli.conftest import Command
from tests.unit.compare.runs import sampled, write
from tests.unit.config.conftest import composed
from tests.unit.config.test_recorded_config import changed, recorded

GHZ = ("experiment=ghz", "primitive.shots=100", "engine.workers=1")


pytestmark = pytest.mark.usefixtures("own_process")


def test_a_run_and_one_that_cannot_be_reproduced(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "first"
    folder.mkdir()
    qexp.experiment.run(load(composed(*GHZ)), folder)
    done = command("reproduce", "first", "--into", "second")
    assert done.code == 0
    assert "software: the same Python" in done.out
    assert done.out.endswith("reproduced: bit-identical\n")
    # Other circuits than those that its config generates.
    write(tmp_path / "third", [sampled(1)], config_yaml=recorded(*GHZ))
    done = command("reproduce", "third", "--into", "fourth")
    assert done.code == 1
    assert done.err.startswith(
        "qexp: not reproduced: for 1 of 1 PUBs the new run has another circuit"
    )
    assert done.err.count("\n") == 1
    assert (tmp_path / "fourth" / "run.h5").exists()


def test_requirements_are_written_and_nothing_is_run(tmp_path: Path, command: Command) -> None:
    write(tmp_path / "a", [sampled(1)])
    assert command("reproduce", "a", "--requirements", "then.txt").code == 0
    assert "qiskit==2.6\n" in (tmp_path / "then.txt").read_text()
    assert not (tmp_path / "outputs").exists()
    for name, message in (("then.txt", "then.txt exists"), ("no/a.txt", "cannot write no/a.txt")):
        done = command("reproduce", "a", "--requirements", name)
        assert done.code == 2
        assert message in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 5, "There is no archive nowhere"),
        (["damaged"], 5, "is not what was sealed"),
        (["untrusted"], 2, "--trust os"),
        (["good", "--into", "good"], 2, "--into: good is not empty"),
        (["good", "--circuits", "old"], 2, "invalid choice: 'old'"),
    ],
)
def test_a_mistake_is_one_line_and_runs_nothing(
    tmp_path: Path, command: Command, arguments: list[str], code: int, message: str
) -> None:
    config = recorded(*GHZ)
    path = write(tmp_path / "good", [sampled(1)], config_yaml=config)
    evil = changed(config, circuits___target_="os.system")
    write(tmp_path / "untrusted", [sampled(1)], config_yaml=evil)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    done = command("reproduce", *arguments)
    assert done.code == code
    assert message in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert not (tmp_path / "outputs").exists()
