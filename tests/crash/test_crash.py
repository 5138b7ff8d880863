"""The short form: each kind of journal event, of request and of write is hit once.

`python -m tests.crash` hits all of them, also while resuming; with `--weather` it adds storms of
faults, of which a few are here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from tests.crash.forms import SINGLE, SWEEP, Form
from tests.crash.processes import Forks
from tests.crash.rounds import play
from tests.crash.steps import ANY, Kill
from tests.crash.storm import Case, EngineName, Scene
from tests.crash.tours import KINDS, PLAIN, TROUBLED, kills_at_lines
from tests.crash.weather import storm
from tests.emulator.faults import LIST_JOBS, LONGEST_DELAY_S, POST_JOB, first, then

Scenes: TypeAlias = Callable[..., Scene]
JOURNAL = (
    "write journal.jsonl started@1:torn",
    "write journal.jsonl planned@1:torn",
    "fsync journal.jsonl planned@1:after",
    "write journal.jsonl batch_opened@1:before",
    "fsync journal.jsonl submitting@2:after",
    "write journal.jsonl submitted@2:torn",
    "write journal.jsonl batch_closed@1:torn",
    "write journal.jsonl collected@1:before",
    "fsync journal.jsonl collected@1:after",
    "write journal.jsonl ended@1:before",
    "write journal.jsonl sealed@1:torn",
)
ARCHIVE = (
    "fill .run.h5.tmp@50:before",
    "copy to .run.h5.tmp@100:after",
    "close .run.h5.tmp@2:before",
    "replace run.h5@1:before",
    "replace run.h5@1:after",
    "unlink .parts-sealed/partition-N.h5@2:before",
)
REQUESTS = (
    "reply POST /sessions@1:after",
    "reply POST /jobs@1:before",
    "reply POST /jobs@2:after",
)
TWICE = (
    ("write parts/.partition-N.h5.tmp@2:torn", "write journal.jsonl planned@1:before"),
    ("fsync journal.jsonl submitted@1:after", "write journal.jsonl resumed@1:torn"),
    ("write parts/.job-N-N.h5.tmp@1:torn", "fill .run.h5.tmp@60:before"),
    ("replace run.h5@1:before", "replace run.h5@1:after"),
)

SWEEPS: dict[EngineName, tuple[str, ...]] = {
    "local": (
        "write .holder.json@1:before",
        "unlink POINT/.parts-sealed/job-N-N.h5@1:before",
        "write journal.jsonl sealed@1:before",
    ),
    "ibm": ("fsync journal.jsonl submitting@2:after",),
}
"""Among others after a line that is one of several of a job."""

STORMS = {
    312: "504 on POST /jobs, Retry-After: 1, requests 1 to 3",
    221: "connection lost before the act: PATCH session, requests 1 to 6",
    179: "code 6000 at its end",
    20: "doubled by a proxy: POST /jobs, request 2",
    138: "refusal cut: 400 on POST /jobs",
}
"""Seeds, and something that each of them has."""


def cases(engine: EngineName) -> list[Any]:
    """One group for each engine, so that its undisturbed run is made once."""
    single = (*JOURNAL, *(ARCHIVE if engine == "local" else REQUESTS))
    kills: list[tuple[str, ...]] = [(kill,) for kill in single]
    kills += TWICE if engine == "local" else TWICE[1:2]
    mark = pytest.mark.xdist_group(f"crash-{engine}")
    return [pytest.param(engine, one, marks=mark, id=f"{engine} {' '.join(one)}") for one in kills]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    """Makes or returns the one scene of an engine."""
    folder = tmp_path_factory.mktemp("crash")
    made: dict[tuple[EngineName, Form], Scene] = {}
    with Forks(folder) as processes:

        def get(engine: EngineName, form: Form = SINGLE) -> Scene:
            if (engine, form) not in made:
                made[engine, form] = Scene(engine, processes, folder, form)
            return made[engine, form]

        yield get


@pytest.mark.parametrize(("engine", "kills"), [*cases("local"), *cases("ibm")])
def test_nothing_is_lost_and_nothing_is_done_twice(
    scene: Scenes, engine: EngineName, kills: tuple[str, ...]
) -> None:
    found = scene(engine).play(Case(tuple(Kill.parse(kill) for kill in kills)))
    assert not found.problems, "\n".join(found.problems)
    assert len(found.places) == len(kills), f"killed only at {found.places}"


@pytest.mark.parametrize(
    ("engine", "kill"),
    [
        pytest.param(engine, kill, marks=pytest.mark.xdist_group(f"crash-sweep-{engine}"))
        for engine, kills in SWEEPS.items()
        for kill in kills
    ],
)
def test_no_point_of_a_sweep_loses_anything(scene: Scenes, engine: EngineName, kill: str) -> None:
    here = scene(engine, SWEEP)
    found = here.play(Case((Kill.parse(kill),)))
    assert not found.problems, "\n".join(found.problems)
    assert len(found.places) == 1


@pytest.mark.xdist_group("crash-sweep-local")
def test_a_point_that_cannot_run_is_tried_again_after_a_kill(scene: Scenes) -> None:
    here = scene("local", PLAIN["a point cannot run"])
    found = here.play(Case((Kill("fsync journal.jsonl unplanned", 1, "after"),)))
    assert not found.problems, "\n".join(found.problems)
    assert len(found.places) == 1


@pytest.mark.xdist_group("crash-sweep-ibm")
@pytest.mark.parametrize(
    ("tour", "kill", "num_spared"),
    [
        ("jobs are too large", "fsync journal.jsonl cut@1:after", 1),
        ("the user cancels", "fsync journal.jsonl cancelled@1:after", 1),
        ("a proxy doubles a job", "fsync journal.jsonl submitted@1:after", 0),
    ],
)
def test_a_sweep_in_trouble_is_killed(scene: Scenes, tour: str, kill: str, num_spared: int) -> None:
    storm = replace(TROUBLED[tour], kills=(Kill.parse(kill),), num_spared=num_spared)
    played = play(scene("ibm", SWEEP), storm)
    assert not played.problems, str(played)
    assert len(played.places) == 1


def test_a_sweep_is_killed_at_each_line_of_its_journal() -> None:
    steps = [f"write journal.jsonl {event}~" for event in ("started", "planned", "planned")]
    assert list(map(str, kills_at_lines(["mkdir .", *steps]))) == [
        "write journal.jsonl started@1:before",
        "write journal.jsonl started@1:torn",
        "fsync journal.jsonl started@1:after",
        "write journal.jsonl planned@1:before",
        "write journal.jsonl planned@1:torn",
        "fsync journal.jsonl planned@1:after",
        "write journal.jsonl planned@2:before",
        "fsync journal.jsonl planned@2:after",
    ]
    assert {"unplanned", "cut", "adopted", "duplicate", "not_submitted"} < KINDS


@pytest.mark.xdist_group("crash-ibm")
def test_a_job_that_appears_only_when_its_sender_is_dead_is_found(scene: Scenes) -> None:
    asked = threading.Event()
    late = first(POST_JOB, lambda: asked.wait(LONGEST_DELAY_S), nth=2)
    missed = then(LIST_JOBS.tagged("qexp-job:.*"), asked.set)
    kill = Kill("reply POST /jobs", 2, "before")
    found = scene("ibm").play(Case((kill,)), [late, missed])
    assert not found.problems, "\n".join(found.problems)
    assert late.done == missed.done == 1


@pytest.mark.xdist_group("crash-ibm")
@pytest.mark.parametrize(
    "kill", ["replace run.h5@1:before", "unlink .parts-sealed/header.json@1:before"]
)
def test_an_archive_is_sealed_again_when_a_partial_run_is_completed(
    scene: Scenes, kill: str
) -> None:
    found = scene("ibm").play(Case((Kill.parse(kill),), is_partial=True))
    assert not found.problems, "\n".join(found.problems)
    assert len(found.places) == 1


@pytest.mark.xdist_group("crash-ibm")
@pytest.mark.parametrize("seed", STORMS)
def test_every_execution_in_a_storm_has_a_cause_a_name_and_its_charge(
    scene: Scenes, seed: int
) -> None:
    here = scene("ibm")
    weather = storm(seed, here.steps)
    assert STORMS[seed] in str(weather)
    played = play(here, weather)
    assert not played.problems, str(played)


def test_a_storm_is_drawn_from_its_seed_alone() -> None:
    steps = ["write journal.jsonl started~", "reply POST /jobs", "replace run.h5"] * 3
    drawn = [str(storm(seed, steps)) for seed in (1, 2, 1)]
    assert drawn[0] == drawn[2] != drawn[1]


@pytest.mark.parametrize(
    "kill",
    [Kill(ANY, 7), Kill("reply POST /jobs", 2, "after", "SIGINT"), Kill("mkdir .", 1, "torn")],
)
def test_a_kill_is_read_as_it_is_written(kill: Kill) -> None:
    assert Kill.parse(str(kill)) == kill
