"""The long form: kill at every step, in a run and in the resume after it, and print the counts.

With `--weather N` instead: N random storms of faults, kills and signals, each until its run ends.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tests.crash.cases import drawn, kills_at, kind_of
from tests.crash.forms import SINGLE, SWEEP
from tests.crash.processes import Forks, Processes, Subprocesses
from tests.crash.rounds import Played, play
from tests.crash.steps import JOURNAL, Kill
from tests.crash.storm import Case, EngineName, Found, Scene
from tests.crash.weather import storm

Given, Result = TypeVar("Given"), TypeVar("Result", Found, Played)

HALFWAY = {
    "local": (
        Kill("fsync journal.jsonl submitted", 1, "after"),
        Kill("fsync journal.jsonl collected", 1, "after"),
        Kill("replace {}run.h5", 1, "after"),
    ),
    "ibm": (
        Kill("reply POST /jobs", 1, "after"),
        Kill("fsync journal.jsonl submitted", 2, "after"),
        Kill("fsync journal.jsonl collected", 1, "after"),
        Kill("replace {}run.h5", 1, "after"),
    ),
}
"""After these the resume is killed at each of its own steps; `{}` is the folder of a point."""


def main() -> None:
    """Exits with 1 if anything was lost, executed twice or left wrong."""
    options = _options()
    engines: list[EngineName] = ["local", "ibm"]
    if options.engine != "both":
        engines = [options.engine]
    folder = Path(tempfile.mkdtemp(prefix="qexp-crash-"))
    print(f"runs are in {folder}; those without a problem are removed", flush=True)
    if options.weather:
        sys.exit(0 if _play_weather(folder, options) else 1)
    good = [_play_engine(engine, folder, options) for engine in engines]
    sys.exit(0 if all(good) else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--engine", choices=["local", "ibm", "both"], default="both")
    parser.add_argument(
        "--sweep", action="store_true",
        help="of a sweep of three points that share jobs, instead of a single run; --every is only "
        "of the steps while merging, except in resumes",
    )  # fmt: skip
    parser.add_argument(
        "--every", type=int, default=1, metavar="N",
        help="of the steps outside of the journal only each N-th (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--storms", type=int, default=20, metavar="N",
        help="runs that are killed up to four times at random (default: 20)",
    )  # fmt: skip
    parser.add_argument(
        "--weather", type=int, default=0, metavar="N",
        help="instead of all that: N rounds against the emulator, each a random storm of faults on "
        "any endpoint, of jobs that fail, double or hide, and of three kills and signals; commands "
        "are forked",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0,
        help="of the random ones (default: 0); the n-th storm has the seed SEED + n - 1, so that "
        "`--weather 1 --seed 17` plays one again",
    )  # fmt: skip
    parser.add_argument(
        "--strace", action="store_true",
        help="also kill at every system call that writes the journal or the archive",
    )  # fmt: skip
    parser.add_argument(
        "--fork", action="store_true",
        help="fork commands from one process that has imported everything: quicker",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
        help="runs at once (default: number of CPUs)",
    )  # fmt: skip
    return parser.parse_args()


def _play_engine(engine: EngineName, folder: Path, options: argparse.Namespace) -> bool:
    pool = _Pool(engine, folder, options, fork=options.fork)
    try:
        found = list(pool.play(Scene.play, _cases(engine, pool, options)))
    finally:
        pool.close()
    _print_table(engine, found)
    return not any(one.problems for one in found)


def _play_weather(folder: Path, options: argparse.Namespace) -> bool:
    pool = _Pool("ibm", folder, options, fork=True)
    try:
        steps = pool.scenes[0].steps
        seeds = range(options.seed, options.seed + options.weather)
        played = list(pool.play(play, (storm(seed, steps) for seed in seeds)))
    finally:
        pool.close()
    _print_weather(played)
    return not any(one.problems for one in played)


def _cases(engine: EngineName, pool: _Pool, options: argparse.Namespace) -> Iterator[Case]:
    scene = pool.scenes[0]
    for kill in kills_at(scene.steps, options.every, thin="merge" if options.sweep else ""):
        yield Case((kill,))
    for halfway in HALFWAY[engine]:
        place = halfway.place.format("POINT/" if options.sweep else "")
        first = replace(halfway, place=place)
        resume = scene.play(Case((first,)))
        for kill in kills_at(resume.steps, options.every):
            same = options.every == 1 and kill.moment == "torn" and not options.sweep
            yield Case((first, kill), same_command=same)
    if engine == "ibm":
        # The archive is sealed twice: in the end `run.h5` is replaced by another one.
        resume = scene.play(Case((), is_partial=True))
        for kill in kills_at(resume.steps, options.every):
            yield Case((kill,), is_partial=True)
    rng = random.Random(options.seed)
    for _ in range(options.storms):
        yield Case(drawn(rng, scene.steps, rng.randint(2, 4)))
    if options.strace:
        for kill in scene.system_calls():
            if JOURNAL in kill.place or kill.occurrence % options.every == 0:
                yield Case((kill,))


class _Pool:
    """Several scenes of one engine side by side."""

    def __init__(
        self, engine: EngineName, folder: Path, options: argparse.Namespace, *, fork: bool
    ) -> None:
        form = SWEEP if options.sweep else SINGLE
        self._processes: list[Processes] = []
        self.scenes: list[Scene] = []
        for number in range(options.jobs):
            place = folder / str(number)
            place.mkdir(exist_ok=True)
            self._processes.append(Forks(place) if fork else Subprocesses())
            self.scenes.append(Scene(engine, self._processes[-1], place, form))

    def play(
        self, play_one: Callable[[Scene, Given], Result], cases: Iterable[Given]
    ) -> Iterator[Result]:
        """Play all cases; those with a problem are told at once."""
        idle = list(self.scenes)

        def play(case: Given) -> Result:
            scene = idle.pop()
            try:
                return play_one(scene, case)
            finally:
                idle.append(scene)

        known = list(cases)
        with ThreadPoolExecutor(len(self.scenes)) as executor:
            for number, found in enumerate(executor.map(play, known), start=1):
                if found.problems:
                    print(f"\n{found}", flush=True)
                if number % 50 == 0:
                    print(f"{number} of {len(known)}", flush=True)
                yield found

    def close(self) -> None:
        for processes in self._processes:
            processes.close()


def _print_table(engine: EngineName, found: list[Found]) -> None:
    kills: Counter[str] = Counter()
    bad: defaultdict[str, int] = defaultdict(int)
    for one in found:
        for place in one.places:
            kills[kind_of(place)] += 1
        if one.places:
            bad[kind_of(one.places[-1])] += bool(one.problems)
    print(f"\n| {engine}: killed at | kills | runs with a problem |\n| --- | ---: | ---: |")
    for kind, count in sorted(kills.items()):
        print(f"| {kind} | {count} | {bad[kind]} |")
    digests = {one.digest for one in found if one.digest is not None}
    for label, value in (
        ("runs", len(found)),
        ("kills", kills.total()),
        ("runs killed more than once", sum(len(one.places) > 1 for one in found)),
        ("resumes", sum(one.resumes for one in found)),
        ("shots lost", sum(one.shots_lost for one in found)),
        ("partitions executed twice", sum(one.twice for one in found)),
        ("distinct data digests", len(digests)),
        ("runs with a problem", sum(bool(one.problems) for one in found)),
    ):
        print(f"| **{label}** | **{value}** | |")


def _print_weather(played: list[Played]) -> None:
    kinds = Counter(kind for one in played for kind in {kind for kind, _ in one.problems})
    slowest = max(played, key=lambda one: one.longest_s)
    rows: list[tuple[str, object]] = [
        ("rounds", len(played)),
        ("rounds with three kills or more", sum(one.kills.total() > 2 for one in played)),
        *_summed("sent: {}", (one.kills for one in played)),
        ("resumes", sum(one.resumes for one in played)),
        *_summed("exit code {}", (one.codes for one in played)),
        *_summed("met: {}", (one.troubles for one in played)),
        ("longest process", f"{slowest.longest_s:.0f} s, seed {slowest.storm.seed}"),
        ("executions of jobs", sum(one.executions for one in played)),
        *_summed("PUBs executed again, named and charged: {}", (one.repeated for one in played)),
        ("**rounds with a problem**", sum(bool(one.problems) for one in played)),
        *((f"problem: {kind}", count) for kind, count in sorted(kinds.items())),
    ]
    print("\n| weather | |\n| --- | ---: |")
    for label, value in rows:
        print(f"| {label} | {value} |")
    for kind in sorted(kinds):
        seeds = [one.storm.seed for one in played if kind in {name for name, _ in one.problems}]
        print(f"seeds with {kind}: {', '.join(map(str, seeds))}")


def _summed(label: str, counts: Iterable[Mapping[Any, int]]) -> list[tuple[str, object]]:
    total: Counter[Any] = Counter()
    for each in counts:
        total.update(each)
    return [(label.format(key), total[key]) for key in sorted(total)]


if __name__ == "__main__":
    main()
