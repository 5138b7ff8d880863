"""Commands in turn (A, B, A, B, ...), medians, and ratios within each turn.

A machine's speed drifts; what is compared therefore ran next to each other, and what is quoted is
the ratio of the medians beside the smallest and largest ratio of any one turn.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.processes import Usage, measure

_MEGABYTE = 10**6


@dataclass(frozen=True)
class Command:
    """Something to be measured.

    Attributes:
        name: For the table.
        arguments: Program and arguments.
        exit_code: What it is expected to exit with.
    """

    name: str
    arguments: Sequence[str]
    exit_code: int = 0


@dataclass(frozen=True)
class Ratio:
    """How often one command's figure holds another's.

    Attributes:
        of_medians: Ratio of the medians.
        lowest: The smallest ratio within one turn.
        highest: The largest.
    """

    of_medians: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.of_medians:.2f} ({self.lowest:.2f} to {self.highest:.2f})"


Figure = Callable[[Usage], float]


def wall_s(usage: Usage) -> float:
    """Seconds on the clock."""
    return usage.wall_s


def cpu_s(usage: Usage) -> float:
    """Seconds of CPU time, all processes."""
    return usage.cpu_s


def peak_mb(usage: Usage) -> float:
    """Peak memory in megabytes, all processes."""
    return usage.peak_bytes / _MEGABYTE


def in_turn(commands: Sequence[Command], turns: int) -> dict[str, list[Usage]]:
    """Measure each command once per turn, each time in an empty folder of its own.

    Returns:
        Figures of each command, by name, in the order of the turns.

    Raises:
        RuntimeError: A command exits with something else than expected.
    """
    usages: dict[str, list[Usage]] = {command.name: [] for command in commands}
    for turn in range(1, turns + 1):
        for command in commands:
            _progress(f"turn {turn} of {turns}: {command.name}")
            with tempfile.TemporaryDirectory() as folder:
                usage = measure(command.arguments, Path(folder), exit_code=command.exit_code)
            usages[command.name].append(usage)
    _progress("")
    return usages


def ratio(a: Sequence[Usage], b: Sequence[Usage], figure: Figure) -> Ratio:
    """A figure of `a` over that of `b`, which ran in the same turns."""
    pairs = [figure(x) / figure(y) for x, y in zip(a, b, strict=True)]
    return Ratio(median(map(figure, a)) / median(map(figure, b)), min(pairs), max(pairs))


def table(usages: Mapping[str, Sequence[Usage]], against: str, heading: str) -> str:
    """A Markdown table of medians, with the ratio of every command to one of them.

    Args:
        usages: From `in_turn`.
        against: Name of the command that the others are divided by.
        heading: Of the column of ratios: what is divided by what.
    """
    base = usages[against]
    rows = [
        f"| command | wall (s) | CPU (s) | peak memory (MB) | {heading}: wall | CPU | memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, runs in usages.items():
        medians = [median(map(figure, runs)) for figure in (wall_s, cpu_s, peak_mb)]
        ratios = [str(ratio(runs, base, figure)) for figure in (wall_s, cpu_s, peak_mb)]
        cells = [f"{medians[0]:.2f}", f"{medians[1]:.2f}", f"{medians[2]:.0f}"]
        rows.append(
            f"| {' | '.join([name, *cells, *(['1'] * 3 if name == against else ratios)])} |"
        )
    return "\n".join(rows)


def options(description: str, *, quick: str) -> tuple[ArgumentParser, Callable[[], Namespace]]:
    """A parser with the options that all benchmarks have, and how to read it.

    Args:
        description: What is measured.
        quick: What `--quick` leaves out.
    """
    parser = ArgumentParser(description=description)
    parser.add_argument("--pairs", type=int, default=None, help="turns (5; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help=quick)

    def read() -> Namespace:
        arguments = parser.parse_args()
        if arguments.pairs is None:
            arguments.pairs = 1 if arguments.quick else 5
        return arguments

    return parser, read


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; a command that fails ends it with its own last words."""
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))


def report(*parts: str) -> None:
    """Print what was found, with the machine that it was found on."""
    sys.stdout.write("\n\n".join([*parts, machine()]) + "\n")


def machine() -> str:
    """One line about the machine and the versions; a high load tells that it was shared."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ("qiskit", "qiskit-aer", "qiskit-ibm-runtime", "qexp")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"{cores} cores, load {os.getloadavg()[0]:.1f} at the end; {platform.system()}, "
        f"Python {platform.python_version()}, {versions}"
    )


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
