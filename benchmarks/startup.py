"""What an answer about the config costs, and a point of a sweep: `python -m benchmarks.startup`."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

from benchmarks.commands import qexp
from benchmarks.processes import Usage
from benchmarks.timing import Command, Figure, cpu_s, in_turn, options, report, run, table, wall_s

COMPOSE = "import hydra, compose"
_CONF = Path(__file__).resolve().parents[1] / "conf"
_COMPOSE = f"""
import hydra
with hydra.initialize_config_dir({str(_CONF)!r}, version_base="1.3"):
    hydra.compose("qexp", ["experiment=random_sampling"])
"""
_RANDOM = "experiment=random_sampling"


def main() -> None:
    """Measure, and print both tables."""
    parser, read = options(__doc__ or "", quick="3 turns, a sweep of 3 points")
    parser.add_argument("--points", type=int, default=None, help="20; 3 with --quick")
    arguments = read()
    points = arguments.points or (3 if arguments.quick else 20)
    pairs = max(arguments.pairs, 3)
    answers = in_turn(
        [
            Command("import hydra", [sys.executable, "-c", "import hydra"]),
            Command(COMPOSE, [sys.executable, "-c", _COMPOSE]),
            qexp("--help", "--help"),
            qexp("--cfg job", _RANDOM, "--cfg", "job"),
            qexp("unknown key", _RANDOM, "circuits.num_circuit=3", exit_code=2),
            qexp("value out of range", _RANDOM, "circuits.depth=-1", exit_code=2),
        ],
        pairs,
    )
    sweeps = in_turn([sweep(1), sweep(points)], arguments.pairs)
    report(
        table(answers, COMPOSE, "over compose"),
        table(sweeps, name_of(1), "over one point"),
        f"A point of a sweep of {points}, beyond the first: "
        f"{beyond(sweeps, points, wall_s):.3f} s wall, {beyond(sweeps, points, cpu_s):.3f} s CPU",
    )


def sweep(points: int) -> Command:
    """A sweep of runs with hardly any work in them."""
    small = ["circuits.num_circuits=1", "circuits.num_qubits=2", "primitive.shots=16"]
    seeds = ",".join(map(str, range(points)))
    return qexp(name_of(points), "-m", _RANDOM, *small, f"seed={seeds}")


def name_of(points: int) -> str:
    """What a sweep is called in the table."""
    return f"sweep of {points}"


def beyond(sweeps: dict[str, list[Usage]], points: int, figure: Figure) -> float:
    """What each point costs that is not the first."""
    one, all_points = (median(map(figure, sweeps[name_of(count)])) for count in (1, points))
    return (all_points - one) / (points - 1)


if __name__ == "__main__":
    run(main)
