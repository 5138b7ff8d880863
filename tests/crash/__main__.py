"""The long form: kill at every step, in a run and in the resume after it, and print the counts.

With `--lines` instead: kill sweeps at every line of their journals, of which there is every kind.
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
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tests.crash.cases import drawn, kills_at, kind_of
from tests.crash.forms import SINGLE, SWEEP, Form
from tests.crash.processes import Forks, Processes, Subprocesses
from tests.crash.rounds import Played, play
from tests.crash.steps import JOURNAL, Kill
from tests.crash.storm import Case, EngineName, Found, Scene
from tests.crash.tours import KINDS, PLAIN, TROUBLED, kills_at_lines
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
    if options.lines:
        sys.exit(0 if _play_lines(engines, folder, options) else 1)
    good = [_play_engine(engine, folder, options) for engine in engines]
    sys.exit(0 if all(good) else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--engine", choices=["local", "ibm", "both"], default="both")
    parser.add_argument(
        "--sweep", action="store_true",
        help="of a sweep of two points that share jobs, instead of a single run; --every is only "
        "of the steps while merging, except in resumes",
    )  # fmt: skip
    parser.add_argument(
        "--lines", action="store_true",
        help="instead of all that: sweeps are killed before, in and after every line of their "
        "journals: one that nothing disturbs, also in its resumes; on two backends; with a point "
        "that cannot run; and, against the emulator, in which jobs are refused, fail, expire, "
        "double or are cancelled; commands are forked",
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
    with closing(_Pool(engine, folder, options, fork=options.fork)) as pool:
        pool.enter(SWEEP if options.sweep else SINGLE)
        found = list(pool.play(Scene.play, _cases(engine, pool, options)))
    _print_table(engine, found)
    return not any(one.problems for one in found)


def _play_lines(engines: list[EngineName], folder: Path, options: argparse.Namespace) -> bool:
    rows: list[tuple[str, list[Found | Played]]] = []
    for engine in engines:
        with closing(_Pool(engine, folder, options, fork=True)) as pool:
            for name, form in PLAIN.items():
                scene = pool.enter(form)
                cases = [Case((kill,)) for kill in kills_at_lines(scene.steps)]
                for halfway in HALFWAY[engine] if form is SWEEP else ():
                    first = replace(halfway, place=halfway.place.format("POINT/"))
                    resume = scene.play(Case((first,)))
                    cases += [Case((first, kill)) for kill in kills_at_lines(resume.steps)]
                rows.append((f"{engine}: {name}", [*pool.play(Scene.play, cases)]))
            scene = pool.enter(SWEEP)
            for name, tour in TROUBLED.items() if engine == "ibm" else ():
                storms = [
                    replace(tour, kills=(kill,), num_spared=number)
                    for number, steps in enumerate(play(scene, tour).traces)
                    for kill in kills_at_lines(steps)
                ]
                rows.append((f"{engine}: {name}", [*pool.play(play, storms)]))
    _print_lines(rows)
    return not any(one.problems for _, found in rows for one in found)


def _play_weather(folder: Path, options: argparse.Namespace) -> bool:
    with closing(_Pool("ibm", folder, options, fork=True)) as pool:
        steps = pool.enter(SWEEP if options.sweep else SINGLE).steps
        seeds = range(options.seed, options.seed + options.weather)
        played = list(pool.play(play, (storm(seed, steps) for seed in seeds)))
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
        self._engine: EngineName = engine
        self._places = [folder / str(number) for number in range(options.jobs)]
        for place in self._places:
            place.mkdir(exist_ok=True)
        self._processes: list[Processes] = [
            Forks(place) if fork else Subprocesses() for place in self._places
        ]
        self.scenes: list[Scene] = []

    def enter(self, form: Form) -> Scene:
        """Make the scenes of a form, in place of any others; return the first of them."""
        self.scenes = [
            Scene(self._engine, processes, place, form)
            for processes, place in zip(self._processes, self._places, strict=True)
        ]
        return self.scenes[0]

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


def _print_lines(rows: list[tuple[str, list[Found | Played]]]) -> None:
    print("\n| sweep | killed | resumes | with a problem |\n| --- | ---: | ---: | ---: |")
    for name, found in rows:
        killed = sum(len(one.places) for one in found)
        resumes, bad = sum(one.resumes for one in found), sum(bool(one.problems) for one in found)
        print(f"| {name} | {killed} | {resumes} | {bad} |")
    kills = Counter(kind_of(place) for _, found in rows for one in found for place in one.places)
    print("\n| killed at | kills |\n| --- | ---: |")
    for kind, count in sorted(kills.items()):
        print(f"| {kind} | {count} |")
    missing = {kind for kind in KINDS if f"journal: {kind}" not in kills}
    print(f"kinds of lines without a kill: {', '.join(sorted(missing)) or 'none'}")


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
