"""CPU time to write, seal and read archives: `python -m benchmarks.archive [PUBS ...]`.

The runs are those of the main job: `random_circuit(5, 5)` for FakeSherbrooke, 100 PUBs a job, 4096
shots of 5 bits. A hundred circuits are made; larger runs repeat them, for which `write` and
`seal` do the same work again. Then a sweep of 10,000 points is opened, and 5,000 runs are listed:
copies of 20 points of the smallest experiment. `--other PYTHON`, that of an environment with commit
c06b04b, lists them too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.pubs import pub_rows
from qexp.archive.read import open_archive
from qexp.archive.writer import RunStore
from qexp.core.model import JobOutcome, Partition, PlannedPub, RunHeader
from qexp.redact import redactor

if TYPE_CHECKING:
    from qiskit.primitives import PubResult
    from qiskit.primitives.containers.sampler_pub import SamplerPub

NUM_PUBS = (500, 5_000)
PUBS_PER_JOB = 100
SHOTS = 4096
NUM_QUBITS = 5
REPEATS = 5
NUM_POINTS, NUM_RUNS = 10_000, 5_000
SMALLEST = ("circuits.num_qubits=2", "primitive.shots=100", "analysis=[]")


def main() -> None:
    """Print a row per size, then what many points and runs take."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=NUM_PUBS, metavar="PUBS")
    parser.add_argument("--other", metavar="PYTHON")
    arguments = parser.parse_args()
    circuits = make_pubs(PUBS_PER_JOB)
    columns = (
        "PUBs",
        "write ms/PUB",
        "outcome ms/PUB",
        "seal ms/PUB",
        "MB",
        "open ms",
        "one result ms",
        "one ISA circuit ms",
        "all counts s",
    )
    sys.stdout.write(row(columns) + row(["---"] * len(columns)))
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            cells = measure(Path(folder), circuits, size)
        sys.stdout.write(row([str(size), *(f"{cell:.3g}" for cell in cells)]))
        sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds in measure_many(Path(folder), arguments.other):
            sys.stdout.write(f"{name}: {seconds:.2f} s\n")


def measure_many(folder: Path, other: str | None) -> Iterator[tuple[str, float]]:
    """Names and CPU times of what is read of many points and runs."""
    import qexp

    sweep = copy_points(folder, NUM_POINTS)
    spent: dict[str, float] = {}
    for time_of in ("first", "second"):
        with timed(spent, f"open_sweep, {NUM_POINTS:,} points, the {time_of} time"):
            opened = qexp.open_sweep(sweep)
        with timed(spent, f"to_dataset, the {time_of} time"):
            opened.to_dataset()
    shutil.copytree(sweep, folder / "copy", copy_function=shutil.copyfile)
    with timed(spent, "open_sweep and to_dataset of a copy"):
        qexp.open_sweep(folder / "copy").to_dataset()
    for path in sorted(sweep.iterdir())[NUM_RUNS:]:
        if path.is_dir():
            shutil.rmtree(path)
    commands = {"ls": [sys.executable, "-m", "qexp", "ls", str(sweep)]}
    if other:
        commands["other ls"] = [other, "-m", "qexp.archive", "ls", str(sweep)]
    for time_of in ("first", "second"):
        for name, command in commands.items():
            env = os.environ | {"XDG_CACHE_HOME": str(folder / name)}
            with timed(spent, f"{name} of {NUM_RUNS:,} runs, the {time_of} time"):
                null = subprocess.DEVNULL
                subprocess.run(command, cwd=folder, env=env, stdout=null, check=True)
    yield from spent.items()


def copy_points(folder: Path, number: int) -> Path:
    """Make a sweep by copying the points of a small one, which is run."""
    import qexp
    from qexp.archive.sweep_file import read_sweep, write_sweep

    with chdir(folder):
        small = qexp.sweep("ghz", "seed=range(0,20)", *SMALLEST).path.absolute()
    many, declared = folder / "many", read_sweep(small)
    many.mkdir()
    points = []
    for k in range(number):
        point = declared.points[k % len(declared.points)]
        points.append(replace(point, folder=f"{k:05d}", draws={"seed": k}))
        shutil.copytree(small / point.folder, many / points[-1].folder)
    write_sweep(many, replace(declared, points=tuple(points)))
    return many


def row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |\n"


def measure(folder: Path, circuits: list[tuple[SamplerPub, SamplerPub]], size: int) -> list[float]:
    """CPU times of one archive, in the order of the columns."""
    write, outcome, seal = write_run(folder, circuits, size)
    megabytes = (folder / "run.h5").stat().st_size / 1e6
    open_archive(folder).close()  # Imports h5py.
    opened = best(lambda: open_archive(folder).close())
    with open_archive(folder) as run:
        run.results["main"][0], run.circuits(isa=True)[0]  # Imports Qiskit's containers.
    result = best(lambda: read_one(folder, lambda run: run.results["main"][size // 2])) - opened
    circuit = best(lambda: read_one(folder, lambda run: run.circuits(isa=True)[size // 2])) - opened
    counts = best(lambda: read_one(folder, all_counts), repeats=1)
    times = [1e3 * value / size for value in (write, outcome, seal)]
    return [*times, megabytes, *(1e3 * value for value in (opened, result, circuit)), counts]


def read_one(folder: Path, read: Callable[[Any], Any]) -> None:
    """Open an archive and read something from it."""
    with open_archive(folder) as run:
        read(run)


def all_counts(run: Any) -> list[dict[str, int]]:
    """The counts of every PUB."""
    return list(run.counts())


def write_run(
    folder: Path, circuits: list[tuple[SamplerPub, SamplerPub]], size: int
) -> tuple[float, float, float]:
    """Write and seal a run.

    Returns:
        CPU seconds of all partitions, of all outcomes, of sealing.
    """
    store, rng = RunStore(folder, redactor()), np.random.default_rng(0)
    store.write_header(header())
    spent: dict[str, float] = {}
    for index, first in enumerate(range(0, size, PUBS_PER_JOB)):
        stop = min(first + PUBS_PER_JOB, size)
        job = Partition(index, "main", first, stop, SHOTS, None, SHOTS, 1000, 1.0, "end")
        members = zip(range(first, stop), circuits, strict=False)
        pubs = [PlannedPub("main", k, logical, isa) for k, (logical, isa) in members]
        results = [make_result(rng) for _ in pubs]
        with timed(spent, "write"):
            store.write_partition(job, pub_rows("main", pubs, redactor()))
        with timed(spent, "outcome"):
            store.write_job(make_outcome(index, results))
    with timed(spent, "seal"):
        store.seal("complete", keep_parts=False)
    return spent["write"], spent["outcome"], spent["seal"]


def make_pubs(count: int) -> list[tuple[SamplerPub, SamplerPub]]:
    """Circuits of the main job, as generated and as transpiled."""
    from qiskit import generate_preset_pass_manager
    from qiskit.circuit.random import random_circuit
    from qiskit.primitives.containers.sampler_pub import SamplerPub
    from qiskit_ibm_runtime.fake_provider import FakeSherbrooke

    passes = generate_preset_pass_manager(1, backend=FakeSherbrooke(), seed_transpiler=0)
    pubs = []
    for seed in range(count):
        circuit = random_circuit(NUM_QUBITS, NUM_QUBITS, seed=seed)
        circuit.measure_active()
        isa = passes.run(circuit)
        pubs.append((SamplerPub(circuit, shots=SHOTS), SamplerPub(isa, shots=SHOTS)))
    return pubs


def make_result(rng: np.random.Generator) -> PubResult:
    """The result of a PUB whose bits are as uneven as those of a random circuit."""
    from qiskit.primitives import BitArray, DataBin, SamplerPubResult

    weights = rng.dirichlet(np.full(2**NUM_QUBITS, 0.3))
    bits = rng.choice(2**NUM_QUBITS, size=(SHOTS, 1), p=weights).astype(np.uint8)
    return SamplerPubResult(DataBin(shape=(), meas=BitArray(bits, NUM_QUBITS)), {"shots": SHOTS})


def make_outcome(index: int, results: list[PubResult]) -> JobOutcome:
    """A job that is done."""
    from qiskit.primitives import PrimitiveResult

    times = dict.fromkeys(("created", "running", "finished"), "2026-01-01T00:00:00+00:00")
    metrics = {"timestamps": times, "usage": {"qpu_charge_time_seconds": 1.0}}
    return JobOutcome(
        f"job-{index}", index, "DONE", PrimitiveResult(results, {"version": 2}), metrics=metrics
    )


def header() -> RunHeader:
    """The header of a run without anything particular in it."""
    return RunHeader(
        run_id="benchmark",
        experiment="benchmark",
        engine="local",
        created="2026-01-01T00:00:00+00:00",
        config_yaml="",
        overrides=(),
        sources=(),
        seed=0,
        seeds={},
        environment={},
        backend={"name": "fake_sherbrooke", "num_qubits": 127},
        limits={},
        not_honoured={},
        metadata={},
    )


@contextmanager
def timed(spent: dict[str, float], name: str) -> Iterator[None]:
    """Add the CPU seconds of the block, those of its processes included, to `spent[name]`."""
    start = sum(os.times()[:4])
    yield
    spent[name] = spent.get(name, 0.0) + sum(os.times()[:4]) - start


def best(call: Callable[[], Any], repeats: int = REPEATS) -> float:
    """The least CPU seconds of some calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    main()
