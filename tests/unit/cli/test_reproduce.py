from __future__ import annotations

from pathlib import Path

import pytest

import qexp.experiment
from qexp.cli.main import main
from qexp.config.load import load
from tests.unit.compare.runs import sampled, write
from tests.unit.config.conftest import composed
from tests.unit.config.test_recorded_config import changed, recorded

GHZ = ("experiment=ghz", "primitive.shots=100", "engine.workers=1")


pytestmark = pytest.mark.usefixtures("own_process")


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["reproduce", *arguments])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def test_a_run_and_one_that_cannot_be_reproduced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "first"
    folder.mkdir()
    qexp.experiment.run(load(composed(*GHZ)), folder)
    assert ended("first", "--into", "second") == 0
    printed = capsys.readouterr().out
    assert "software: the same Python" in printed
    assert printed.endswith("reproduced: bit-identical\n")
    # Other circuits than those that its config generates.
    write(tmp_path / "third", [sampled(1)], config_yaml=recorded(*GHZ))
    assert ended("third", "--into", "fourth") == 1
    printed = capsys.readouterr().err
    assert printed.startswith(
        "qexp: not reproduced: for 1 of 1 PUBs the new run has another circuit"
    )
    assert printed.count("\n") == 1
    assert (tmp_path / "fourth" / "run.h5").exists()


def test_requirements_are_written_and_nothing_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a", [sampled(1)])
    assert ended("a", "--requirements", "then.txt") == 0
    assert "qiskit==2.6\n" in (tmp_path / "then.txt").read_text()
    assert not (tmp_path / "outputs").exists()
    for name, told in (("then.txt", "then.txt exists"), ("no/a.txt", "cannot write no/a.txt")):
        assert ended("a", "--requirements", name) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nowhere"], 5, "there is no archive nowhere"),
        (["damaged"], 5, "is not what was sealed"),
        (["untrusted"], 2, "--trust os"),
        (["good", "--into", "good"], 2, "--into: good is not empty"),
        (["good", "--circuits", "old"], 2, "invalid choice: 'old'"),
    ],
)
def test_a_mistake_is_one_line_and_runs_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    config = recorded(*GHZ)
    path = write(tmp_path / "good", [sampled(1)], config_yaml=config)
    evil = changed(config, circuits___target_="os.system")
    write(tmp_path / "untrusted", [sampled(1)], config_yaml=evil)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    assert ended(*arguments) == code
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not (tmp_path / "outputs").exists()
