"""Machines as they are: no home, narrow output, a folder of one's own in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Cli, Finished


def ends_well(done: Finished) -> str:
    assert done.code == 0, done.err
    return done.out


def test_no_home_a_long_temporary_folder_and_narrow_output(cli: Cli, tmp_path: Path):
    long = tmp_path / ("long-" * 20)
    long.mkdir()
    env = {"HOME": "", "TMPDIR": str(long), "PYTHONIOENCODING": "ascii"}
    run = cli("experiment=ghz", "metadata.title='Größe'", "engine.workers=2", env=env)
    assert "+/-" in ends_well(run)
    (archive,) = run.archives()
    assert "Gr\\xf6\\xdfe" in ends_well(cli("show", str(archive), env=env))
    assert "1 complete" in ends_well(cli("ls", env=env))


@pytest.mark.parametrize("is_sweep", [False, True], ids=["run", "sweep"])
def test_a_path_that_is_printed_exists_from_where_its_user_stands(cli: Cli, is_sweep: bool):
    sweep = ["-m", "seed=1,2", "hydra/launcher=basic"] if is_sweep else []
    run = cli("experiment=ghz", "analysis=[]", "hydra.job.chdir=true", *sweep)
    printed = [
        line.split()[1] for line in ends_well(run).splitlines() if line.startswith("archive")
    ]
    assert len(printed) == 1 + is_sweep
    assert all((run.folder / path).is_file() for path in printed)
    if not is_sweep:
        named = Path(printed[0]).parent.relative_to(run.folder)
        again = cli("experiment=ghz", "analysis=[]", "hydra.job.chdir=true", f"run_dir={named}")
        assert ends_well(again).startswith("complete, nothing is left to do: ")


def test_a_home_that_no_one_has(cli: Cli):
    done = cli("show", "~no-such-user/run.h5")
    assert done.code == 5
    assert "there is no archive ~no-such-user/run.h5: no such file" in done.err
