"""The main job, 500 random circuits in five jobs of one batch, against the guide's loop.

`python -m benchmarks.main_job`; both sides as whole processes, imports and qexp's archive included.
"""

from __future__ import annotations

from benchmarks.commands import fake, guide, qexp
from benchmarks.timing import in_turn, options, report, run, table

QEXP = "qexp"
GUIDE = {"legacy": "guide's loop", "client": "guide's loop, client-side Sampler"}
COMPARED = {"FakeSherbrooke": ["legacy"], "FakeManilaV2": ["legacy", "client"]}


def main() -> None:
    """Measure, and print one table per backend."""
    parser, read = options(__doc__ or "", quick="100 circuits, one turn")
    parser.add_argument("--backend", choices=COMPARED, action="append", help="only this one")
    parser.add_argument("--implementation", choices=GUIDE, action="append", help="only this one")
    parser.add_argument("--circuits", type=int, default=None, help="500; 100 with --quick")
    arguments = read()
    count = arguments.circuits or (100 if arguments.quick else 500)
    parts = []
    for backend in arguments.backend or COMPARED:
        wanted = arguments.implementation or GUIDE
        implementations = [item for item in COMPARED[backend] if item in wanted]
        parts += [
            f"{count} circuits on {backend}",
            compared(backend, implementations, count, arguments.pairs),
        ]
    report(*parts)


def compared(backend: str, implementations: list[str], count: int, pairs: int) -> str:
    """The table of one backend."""
    loops = [
        guide(
            GUIDE[item],
            *("sampler", "--backend", backend, "--implementation", item),
            *("--circuits", str(count)),
        )
        for item in implementations
    ]
    own = qexp(QEXP, "experiment=random_sampling", *fake(backend), f"circuits.num_circuits={count}")
    return table(in_turn([*loops, own], pairs), QEXP, "over qexp")


if __name__ == "__main__":
    run(main)
