"""One worker process against two: `python -m benchmarks.workers`.

On 4,000 circuits, and on one PUB of 10 qubits with 10,000 parameter sets of 1,000 shots, the most
that IBM's limits allow in a job. It takes about 20 minutes of one core; time is linear in `--sets`.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.commands import fake, qexp
from benchmarks.timing import in_turn, options, report, run, table


def main() -> None:
    """Measure, and print the tables."""
    parser, read = options(__doc__ or "", quick="200 circuits, 100 parameter sets, one turn")
    parser.add_argument("--backend", default="FakeManilaV2", help="class of a fake backend")
    parser.add_argument("--circuits", type=int, default=None, help="4000; 200 with --quick")
    parser.add_argument("--sets", type=int, default=None, help="10000; 100 with --quick; 0: none")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="1 2")
    arguments = read()
    count = arguments.circuits if arguments.circuits is not None else 4_000
    sets = arguments.sets if arguments.sets is not None else 10_000
    if arguments.quick:
        count, sets = arguments.circuits or 200, arguments.sets or 100
    tables = []
    if count:
        many = ["experiment=random_sampling", *fake(arguments.backend)]
        tables += [
            f"{count} random circuits on {arguments.backend}",
            _compare([*many, f"circuits.num_circuits={count}"], arguments.workers, arguments.pairs),
        ]
    if sets:
        one = ["experiment=efficient_su2", "primitive=sampler", "analysis=[]", *fake("FakeTorino")]
        one += ["circuits.num_qubits=10", "circuits.measure=true", "primitive.shots=1000"]
        one += [f"circuits.parameter_sets=[{sets}]", "engine.max_time=null"]
        tables += [
            f"one PUB of 10 qubits with {sets} parameter sets on FakeTorino",
            _compare(one, arguments.workers, arguments.pairs),
        ]
    report(*tables)


def _compare(overrides: Sequence[str], workers: Sequence[int], pairs: int) -> str:
    """Return the table of the same run with each number of workers."""
    names = {number: f"engine.workers={number}" for number in workers}
    runs = [qexp(name, *overrides, name) for name in names.values()]
    most = names[max(names)]
    return table(in_turn(runs, pairs), most, f"over {most}")


if __name__ == "__main__":
    run(main)
