"""How time and memory grow with the number of circuits: `python -m benchmarks.scaling`."""

from __future__ import annotations

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
    arguments = read()
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


def name_of(size: int) -> str:
    """What a size is called in the table."""
    return f"{size:,} circuits"


if __name__ == "__main__":
    run(main)
