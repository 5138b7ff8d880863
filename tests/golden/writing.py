"""Runs of fixed configs by the code under test, for looking at the files that it writes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.emulator import IBMEmulator
from tests.golden import tree
from tests.golden.commands import apart
from tests.golden.runs import INPUTS, installed

BOTH = (
    "experiment=estimator_and_sampler", "workloads.sampler.primitive.shots=40",
    "workloads.estimator.primitive.precision=0.2", "engine.poll_interval_s=0.1",
    "batch.max_time=25m",
)  # fmt: skip
MANILA = ("backend=ibm", "backend.name=ibm_manila")


@dataclass(frozen=True)
class Recipe:
    """Recipe for one run.

    Attributes:
        arguments: Arguments of the main job.
        code: Expected exit code.
        on_service: True: the run uses the emulator.
        fails: True: its first job fails with a transient error.
    """

    arguments: tuple[str, ...]
    code: int = 0
    on_service: bool = False
    fails: bool = False


RUNS: Mapping[str, Recipe] = {
    "sampler": Recipe(("experiment=written", "seed=21")),
    "estimator": Recipe((
        "experiment=efficient_su2", "circuits.num_circuits=2", "circuits.num_qubits=3",
        "circuits.reps=1", "primitive.precision=0.1", "seed=22",
    )),
    # The first job is retried in a second batch.
    "ibm": Recipe((*BOTH, "backend=least_busy", "seed=23"), on_service=True, fails=True),
    # The first job is not retried, so that parts of every kind stay on disk.
    "partial": Recipe(
        (*BOTH, *MANILA, "execution.retries=0", "seed=24"), code=4, on_service=True, fails=True
    ),
}  # fmt: skip


def write(name: str, folder: Path) -> Path:
    """Run a recipe below `folder` and return the folder of the run."""
    recipe = RUNS[name]
    work = folder / name
    shutil.copytree(INPUTS, work)
    if recipe.on_service:
        with IBMEmulator() as emulator:
            if recipe.fails:
                emulator.fail_next_job("the fridge is warm", 9999)
            env = {key: value for key, value in emulator.env.items() if key != "HOME"}
            ended = apart("run", *recipe.arguments, folder=work, env=env)
    else:
        ended = apart("run", *recipe.arguments, folder=work)
    assert ended.code == recipe.code, ended.err
    (run,) = (work / "outputs").glob("*/*")
    return run


def described(run: Path) -> dict[str, Any]:
    """Describe the files of a run, and name the packages that decided their values."""
    return {"software": installed(), "files": tree.of_run(run)}
