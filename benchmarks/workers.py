"""One worker process against two, on 4,000 circuits: `python -m benchmarks.workers`."""

from __future__ import annotations

from benchmarks.commands import fake, qexp
from benchmarks.timing import in_turn, options, report, run, table


def main() -> None:
    """Measure, and print the table."""
    parser, read = options(__doc__ or "", quick="200 circuits, one turn")
    parser.add_argument("--backend", default="FakeManilaV2", help="class of a fake backend")
    parser.add_argument("--circuits", type=int, default=None, help="4000; 200 with --quick")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="1 2")
    arguments = read()
    count = arguments.circuits or (200 if arguments.quick else 4_000)
    names = {workers: f"engine.workers={workers}" for workers in arguments.workers}
    overrides = [
        "experiment=random_sampling",
        *fake(arguments.backend),
        f"circuits.num_circuits={count}",
    ]
    runs = [qexp(name, *overrides, name) for name in names.values()]
    most = names[max(names)]
    report(
        f"{count} random circuits on {arguments.backend}",
        table(in_turn(runs, arguments.pairs), most, f"over {most}"),
    )


if __name__ == "__main__":
    run(main)
