"""100 Estimator PUBs of 10 observables at 20 parameter sets, against EstimatorV2 in local mode.

`python -m benchmarks.estimator`; a 6-qubit ansatz, standard error 1/64 on both sides.
"""

from __future__ import annotations

from benchmarks.commands import fake, guide, qexp
from benchmarks.timing import in_turn, options, report, run, table

QEXP = "qexp"
GUIDE = {"legacy": "EstimatorV2, local mode", "client": "client-side Estimator, local mode"}
QUBITS = 6
PARAMETER_SETS = 20
# Three bases that commute qubit-wise: ZZ and Z, X, and Y with its neighbours.
OBSERVABLES = [
    "ZZIIII",
    "IZZIII",
    "IIZZII",
    "IIIZZI",
    "IIIIZZ",
    "ZIIIII",
    "XIIIII",
    "IXIIII",
    "YYIIII",
    "XXXXXX",
]


def main() -> None:
    """Measure, and print the table."""
    parser, read = options(__doc__ or "", quick="5 PUBs, one turn")
    parser.add_argument("--backend", default="FakeLagosV2", help="class of a fake backend")
    parser.add_argument("--implementation", choices=GUIDE, action="append", help="legacy")
    parser.add_argument("--pubs", type=int, default=None, help="100; 5 with --quick")
    arguments = read()
    count = arguments.pubs or (5 if arguments.quick else 100)
    loops = [
        guide(
            GUIDE[item],
            *("estimator", "--backend", arguments.backend, "--implementation", item),
            *("--circuits", str(count), "--qubits", str(QUBITS)),
            *("--parameter-sets", str(PARAMETER_SETS), "--observables", ",".join(OBSERVABLES)),
        )
        for item in arguments.implementation or ["legacy"]
    ]
    own = qexp(
        QEXP,
        "experiment=efficient_su2",
        *fake(arguments.backend),
        f"circuits.num_circuits={count}",
        f"circuits.num_qubits={QUBITS}",
        f"circuits.parameter_sets=[{PARAMETER_SETS}]",
        f"circuits.observables=[{','.join(OBSERVABLES)}]",
    )
    usages = in_turn([*loops, own], arguments.pairs)
    heading = (
        f"{count} PUBs: {QUBITS} qubits, {len(OBSERVABLES)} observables, {PARAMETER_SETS} "
        f"parameter sets, on {arguments.backend}"
    )
    report(heading, table(usages, QEXP, "over qexp"))


if __name__ == "__main__":
    run(main)
