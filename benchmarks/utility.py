"""Planning 20 circuits of 100 to 156 qubits, against the pass manager and QPY by hand.

`python -m benchmarks.utility`; whole processes, which end with the circuits on disk: by hand in one
QPY file, by qexp checked, priced, cut into jobs and sealed in an archive. Plans for IBM's
client-side primitives are for its local mode, which is sent the same PUBs as the service.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.timing import Command, in_turn, options, report, run, table
from benchmarks.wide import BACKENDS, PRIMITIVES

BY_HAND = "pm.run and QPY"
_WIDE = Path(__file__).with_name("wide.py")


def main() -> None:
    """Measure, and print one table per kind of circuit."""
    parser, read = options(__doc__ or "", quick="2 circuits, one turn")
    parser.add_argument("--circuits", choices=BACKENDS, action="append", help="only these")
    parser.add_argument("--primitive", choices=PRIMITIVES, action="append", help="only these")
    parser.add_argument("--count", type=int, default=None, help="20; 2 with --quick")
    arguments = read()
    count = arguments.count or (2 if arguments.quick else 20)
    parts = []
    for kind in arguments.circuits or BACKENDS:
        script = [sys.executable, str(_WIDE), kind, "--count", str(count)]
        plans = [
            Command(f"qexp, {name}", [*script, "--qexp", name])
            for name in arguments.primitive or PRIMITIVES
        ]
        usages = in_turn([Command(BY_HAND, script), *plans], arguments.pairs)
        parts += [f"{count} x {kind} on {BACKENDS[kind]}", table(usages, BY_HAND, "over by hand")]
    report(*parts)


if __name__ == "__main__":
    run(main)
