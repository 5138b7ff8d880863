"""How time and memory grow with the number of circuits: `python -m benchmarks.scaling`.

With `--points 1000 3000`, how they grow with the points of a sweep; with `--other PYTHON`, that of
an environment with another version of qexp, how long each takes there in turn.
"""

from __future__ import annotations

import sys

from benchmarks.commands import fake, qexp
from benchmarks.timing import Command, in_turn, options, report, run, table

SIZES = [500, 2_000, 8_000, 20_000]
QUICK = [50, 200]


def main() -> None:
    """Measure runs of each size in turn, and print the table."""
    parser, read = options(__doc__ or "", quick=f"{QUICK} circuits, one turn")
    parser.add_argument("--backend", default="FakeManilaV2", help="class of a fake backend")
    parser.add_argument("--sizes", type=int, nargs="+", default=None, help=f"{SIZES}")
    parser.add_argument(
        "--base", type=int, default=None, help="size that the others are divided by"
    )
    parser.add_argument("--points", type=int, nargs="+", help="points of sweeps, instead")
    parser.add_argument("--other", help="Python with another qexp that sweeps them in turn")
    arguments = read()
    if arguments.points:
        pythons = {"": sys.executable, **({", other": arguments.other} if arguments.other else {})}
        swept = [sweep(size, *each) for size in arguments.points for each in pythons.items()]
        usages = in_turn(swept, arguments.pairs)
        report("Sweeps of the smallest run", table(usages, swept[-1].name, "over the last"))
        return
    sizes = arguments.sizes or (QUICK if arguments.quick else SIZES)
    base = arguments.base or (2_000 if 2_000 in sizes else sizes[0])
    usages = in_turn([sized(size, arguments.backend) for size in sizes], arguments.pairs)
    report(
        f"Random circuits on {arguments.backend}, jobs of 100",
        table(usages, name_of(base), f"over {name_of(base)}"),
    )


def sized(size: int, backend: str) -> Command:
    """A run of so many random circuits."""
    overrides = ["experiment=random_sampling", *fake(backend), f"circuits.num_circuits={size}"]
    return qexp(name_of(size), *overrides)


def sweep(points: int, suffix: str, python: str) -> Command:
    """A sweep of so many of the smallest runs."""
    small = ["experiment=ghz", "circuits.num_qubits=2", "primitive.shots=100", "analysis=[]"]
    words = ["-m", "qexp", "-m", *small, f"seed=range(0,{points})"]
    return Command(f"{points:,} points{suffix}", [python, *words])


def name_of(size: int) -> str:
    """What a size is called in the table."""
    return f"{size:,} circuits"


if __name__ == "__main__":
    run(main)
