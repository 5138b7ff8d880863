"""Recipes for the golden files. No test runs this; by hand, from the root of a checkout:

    python -m tests.golden.make inputs
    python -m tests.golden.make archives FOLDER [SCHEMA/NAME ...]
    python -m tests.golden.make expected [SCHEMA/NAME ...]
    python -m tests.golden.make written

`inputs` writes the QPY file in `inputs/`; the other files there were written by hand.
`archives` checks out each commit of `COMMITS` below FOLDER, runs its command line there and packs
the folders of the runs into `archives/`. FOLDER ends up in logs, so choose a neutral one such as
/srv/golden. `expected` and `written` were recorded with the code of the newest of these commits.

No file is ever overwritten, because the tests compare with the data that were measured then. To
add a schema, add its commit and its runs here.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qiskit import QuantumCircuit, qpy

import qexp
from tests.emulator import IBMEmulator
from tests.golden import facts, resuming, runs, writing
from tests.golden.runs import ARCHIVES, HERE, INPUTS, STATE_NAME

COMMITS = {"1.0": "d788303", "1.1": "c4b8c52", "1.2": "c06b04b"}
"""Schema -> commit whose code wrote it. The one for 1.1 is the parent of 190b904."""

MAX_ATTEMPTS = 20
"""Attempts to interrupt a run before its last job has ended."""

SAMPLER = (
    "experiment=random_sampling", "circuits.num_circuits=6", "circuits.num_qubits=4",
    "partition.max_circuits=2", "primitive.shots=128", "seed=1", "metadata.license=CC-BY-4.0",
    "metadata.creators=[{name: Josiah Carberry, orcid: 0000-0002-1825-0097}]",
)  # fmt: skip
ESTIMATOR = (
    "experiment=efficient_su2", "circuits.num_circuits=2", "circuits.num_qubits=3",
    "circuits.reps=1", "partition.max_circuits=1", "primitive.precision=0.1", "seed=2",
)  # fmt: skip
STOPPED = (
    "experiment=random_sampling", "circuits.num_circuits=6", "circuits.num_qubits=4",
    "circuits.depth=3", "partition.max_circuits=2", "primitive.shots=100", "seed=3",
)  # fmt: skip
IBM = (
    "experiment=random_sampling", "circuits.num_circuits=5", "circuits.num_qubits=4",
    "partition.max_circuits=2", "primitive.shots=64", "engine.poll_interval_s=0.1",
    "batch.max_time=25m",
)  # fmt: skip


@dataclass(frozen=True)
class Service:
    """Steps to take on the emulator around a run.

    Attributes:
        before: Called before the run.
        after: Called after the run, with its folder.
    """

    before: Callable[[IBMEmulator], None]
    after: Callable[[IBMEmulator, Path], None] = lambda emulator, folder: None


@dataclass(frozen=True)
class Recipe:
    """Recipe for one run.

    Attributes:
        arguments: Arguments of `python -m qexp`.
        stop: Number of jobs after which the run gets a signal (0: never), and the signal.
        code: Expected exit code.
        service: For a run on the emulator: the steps to take there.
    """

    arguments: tuple[str, ...]
    stop: tuple[int, str] = (0, "SIGINT")
    code: int = 0
    service: Service | None = None


def fail_once(emulator: IBMEmulator) -> None:
    """Make the first job fail with a transient error, which qexp retries."""
    emulator.fail_next_job("the fridge is warm", 9999)


def run_one(emulator: IBMEmulator, folder: Path) -> None:
    """Run the first job only, then save the emulator's state in the folder of the run."""
    emulator.release()
    emulator.wait_until_running()
    emulator.hold()
    while "Running" in emulator.job_states().values():
        pass
    emulator.save(folder / STATE_NAME)


OLD = {
    "sampler": Recipe(SAMPLER),
    "estimator": Recipe(ESTIMATOR),
    "partial": Recipe(STOPPED, stop=(1, "SIGINT"), code=130),
}
RUNS: Mapping[str, Mapping[str, Recipe]] = {
    "1.0": OLD,
    "1.1": OLD,
    "1.2": {
        **OLD,
        "sampler": Recipe((*SAMPLER, "analysis=[ideal]")),
        "both": Recipe((
            "experiment=estimator_and_sampler", "workloads.sampler.primitive.shots=300",
            "workloads.estimator.primitive.precision=0.1", "engine.allow_ignored_options=true",
            "workloads.sampler.primitive.options.dynamical_decoupling.enable=true", "seed=4",
        )),
        "planned": Recipe((
            "experiment=random_sampling", "circuits.num_circuits=4", "circuits.num_qubits=3",
            "partition.max_circuits=2", "primitive.shots=100", "seed=5", "stop_after=plan",
        )),
        "sweep": Recipe((
            "-m", "experiment=chsh", "circuits.num_angles=3,5", "primitive.precision=0.1",
            "seed=6",
        )),
        "families": Recipe(("experiment=families", "seed=7")),
        "feedforward": Recipe(("experiment=feedforward", "seed=8")),
        "rehearsal": Recipe((
            "experiment=ghz", "engine=runtime-local", "circuits.num_qubits=3", "seed=9",
            "primitive.shots=64", "primitive.options.twirling.enable_gates=true",
            "primitive.options.twirling.num_randomizations=4",
        )),
        "exact": Recipe((
            "experiment=ising", "backend=aer", "backend.num_qubits=4", "circuits.num_qubits=4",
            "circuits.steps=[0,2,4]", "engine.exact_expectation_values=true", "seed=10",
        )),
        "interrupted": Recipe((
            "experiment=mirror_circuits", "circuits.num_qubits=3", "circuits.num_circuits=2",
            "circuits.depths=[0,1,2,4]", "partition.max_circuits=2", "primitive.shots=100",
            "seed=11",
        ), stop=(2, "SIGKILL"), code=-9),
        "ibm": Recipe(
            (*IBM, "backend=least_busy", "seed=12"), service=Service(before=fail_once)
        ),
        "ibm-partial": Recipe(
            (*IBM, "backend=ibm", "backend.name=ibm_manila", "seed=14", "execution.retries=0"),
            code=4, service=Service(before=fail_once),
        ),
        "ibm-out": Recipe(
            (*IBM, "backend=ibm", "backend.name=ibm_manila", "seed=13", "stop_after=submit"),
            service=Service(before=lambda emulator: emulator.hold(), after=run_one),
        ),
    },
}  # fmt: skip


@dataclass
class Maker:
    """Runs the recipes.

    Attributes:
        folder: Folder of the checkouts and of the runs.
    """

    folder: Path
    _checkouts: dict[str, Path] = field(default_factory=dict)

    def make(self, schema: str, name: str) -> None:
        """Run one recipe and pack the folder of the run.

        Raises:
            SystemExit: The packed folder exists, or the run ended in another way.
        """
        target = ARCHIVES / schema / f"{name}.tar.gz"
        if target.exists():
            raise SystemExit(f"{target} exists; golden files are never overwritten")
        recipe = RUNS[schema][name]
        for attempt in range(MAX_ATTEMPTS):
            work = self.folder / schema / f"{name}-{attempt}"
            self._run(schema, recipe, work)
            if _was_stopped_halfway(recipe, work):
                break
        else:
            raise SystemExit(f"{schema}/{name}: no attempt was interrupted before its last job")
        (source,) = (work / "outputs").glob("*/*")
        pack(source, target)

    def _run(self, schema: str, recipe: Recipe, work: Path) -> None:
        shutil.copytree(INPUTS, work)
        if recipe.service is None:
            self._launch(schema, recipe, work, {})
            return
        with IBMEmulator() as emulator:
            recipe.service.before(emulator)
            self._launch(schema, recipe, work, emulator.env)
            (folder,) = (work / "outputs").glob("*/*")
            recipe.service.after(emulator, folder)

    def _launch(self, schema: str, recipe: Recipe, work: Path, env: Mapping[str, str]) -> None:
        # A copy, because tracebacks in logs name its path.
        launcher = shutil.copy(Path(__file__).with_name("launch.py"), self.folder)
        num_jobs, signal_name = recipe.stop
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("QISKIT_", "IAM_"))}
        done = subprocess.run(
            [sys.executable, launcher, str(num_jobs), signal_name, "qexp", *recipe.arguments],
            cwd=work,
            env={**clean, "PYTHONPATH": str(self._checkout(schema)), "HOME": str(work), **env},
            check=False,
        )
        if done.returncode != recipe.code:
            raise SystemExit(f"{work}: exit code {done.returncode}, not {recipe.code}")

    def _checkout(self, schema: str) -> Path:
        if schema not in self._checkouts:
            path = self.folder / "code" / schema
            if not path.exists():
                command = ["git", "worktree", "add", "--detach", str(path), COMMITS[schema]]
                subprocess.run(command, cwd=HERE, check=True)
            self._checkouts[schema] = path
        return self._checkouts[schema]


def _was_stopped_halfway(recipe: Recipe, work: Path) -> bool:
    """Return False for an interrupted run whose other jobs had ended as well by then."""
    num_jobs, signal_name = recipe.stop
    if not num_jobs or signal_name == "SIGKILL":
        return True
    (archive,) = (work / "outputs").rglob("run.h5")
    with qexp.open_archive(archive) as run:
        return run.status == "partial"


def pack(folder: Path, target: Path) -> None:
    """Pack the files of a run, without owners, permissions and times."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        target.open("xb") as stream,
        gzip.GzipFile("", "wb", 9, stream, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as packed,
    ):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != ".lock":
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = path.stat().st_size
                with path.open("rb") as content:
                    packed.addfile(member, content)


def write_qpy(path: Path) -> None:
    """Write a circuit with feed-forward, and one without measurements, which qexp adds."""
    hand_over = QuantumCircuit(2, 2, name="hand_over")
    hand_over.ry(0.8, 0)
    hand_over.measure(0, 0)
    with hand_over.if_test((hand_over.clbits[0], True)):
        hand_over.x(1)
    hand_over.measure(1, 1)
    w_state = QuantumCircuit(3, name="w_state")
    w_state.ry(2 * math.acos(1 / math.sqrt(3)), 0)
    w_state.ch(0, 1)
    w_state.cx(1, 2)
    w_state.cx(0, 1)
    w_state.x(0)
    with path.open("xb") as stream:
        qpy.dump([hand_over, w_state], stream)


def record(path: Path, found: Any) -> None:
    """Write a JSON file that does not exist yet, with one line per entry of its outer levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as stream:
        stream.write(f"{as_lines(found, 3)}\n")


def as_lines(found: Any, levels: int, indent: str = "") -> str:
    """Return JSON text with one line per entry, down to a depth of `levels`."""
    if not levels or not isinstance(found, dict | list) or not found:
        return json.dumps(found)
    inner = f"{indent} "
    if isinstance(found, list):
        lines = [f"{inner}{as_lines(item, levels - 1, inner)}" for item in found]
    else:
        lines = [
            f"{inner}{json.dumps(name)}: {as_lines(item, levels - 1, inner)}"
            for name, item in found.items()
        ]
    start, end = "[]" if isinstance(found, list) else "{}"
    return "\n".join([start, ",\n".join(lines), f"{indent}{end}"])


def record_expected(work: Path, given: list[str]) -> None:
    """Record the facts about sealed runs, and about unfinished ones that were resumed."""
    for key in runs.keys(sealed=True):
        if not given or key in given:
            record(runs.EXPECTED / f"{key}.json", facts.facts(runs.unpack(key, work)))
    for key in resuming.RUNS:
        if not given or f"resumed/{key}" in given:
            found = resuming.resumed(key, work / "resumed")
            record(runs.EXPECTED / "resumed" / f"{key}.json", found)


def record_written(work: Path) -> None:
    """Record descriptions of the files that runs write."""
    for name in writing.RUNS:
        record(runs.WRITTEN / f"{name}.json", writing.described(writing.write(name, work)))


def main() -> None:
    """Run one of the three commands."""
    match sys.argv[1:]:
        case ["inputs"]:
            write_qpy(INPUTS / "circuits" / "two.qpy")
        case ["archives", folder, *given]:
            maker = Maker(Path(folder).absolute())
            for schema, recipes in RUNS.items():
                for name in recipes:
                    if not given or f"{schema}/{name}" in given:
                        maker.make(schema, name)
        case ["expected", *given]:
            with tempfile.TemporaryDirectory() as work:
                record_expected(Path(work), given)
        case ["written"]:
            with tempfile.TemporaryDirectory() as work:
                record_written(Path(work))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
