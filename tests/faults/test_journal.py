"""A damaged journal while jobs are out: repaired from what is there, and nothing is paid twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qexp.archive.schema import JOURNAL_NAME
from qexp.errors import ArchiveError, JobsFailedError
from qexp.experiment import run
from qexp.journal.repair import repair_journal
from tests.faults.conftest import PARTITIONS, Scenario

Damage = Callable[[list[bytes]], list[bytes]]
KINDS = ("started", "planned", "batch_opened", "submitting", "submitted", "batch_closed")


def lost(kind: str) -> Damage:
    """Every other line of a kind is rubbish, the first of them as well."""

    def damage(lines: list[bytes]) -> list[bytes]:
        concerned = [n for n, line in enumerate(lines) if json.loads(line)["event"] == kind]
        return [b"rubbish\n" if n in concerned[::2] else line for n, line in enumerate(lines)]

    return damage


def cut_after(kind: str) -> Damage:
    """The journal ends with the first line of a kind, as a copy of an earlier state does."""

    def damage(lines: list[bytes]) -> list[bytes]:
        return lines[: [json.loads(line)["event"] for line in lines].index(kind) + 1]

    return damage


def flipped(kind: str) -> Damage:
    """One bit of the first line of a kind."""

    def damage(lines: list[bytes]) -> list[bytes]:
        number = [json.loads(line)["event"] for line in lines].index(kind)
        line = bytearray(lines[number])
        line[len(line) // 2] ^= 4
        return [*lines[:number], bytes(line), *lines[number + 1 :]]

    return damage


def submit(scenario: Scenario) -> Path:
    """Leave the jobs out, so that they end by themselves."""
    run(
        replace(scenario.spec(), stop_after="submit"),
        scenario.run_dir,
        scenario.watcher,
        clock=scenario.clock,
    )
    assert scenario.posts() == PARTITIONS
    return scenario.run_dir / JOURNAL_NAME


def damage_journal(path: Path, damage: Damage) -> bytes:
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    return path.read_bytes()


@pytest.mark.parametrize("damage", [*map(lost, KINDS[:-1]), *map(flipped, KINDS[:-1])])
def test_each_kind_of_line_is_rebuilt(scenario: Scenario, damage: Damage) -> None:
    path = submit(scenario)
    damaged = damage_journal(path, damage)
    with pytest.raises(ArchiveError, match="--repair-journal"):
        scenario.resume()
    assert path.read_bytes() == damaged
    assert repair_journal(scenario.run_dir) is not None
    assert path.with_name("journal.jsonl.damaged").read_bytes() == damaged
    scenario.resume()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS
    assert scenario.counts()["repaired"] == 1


@pytest.mark.parametrize("end", [b"\0" * 100, b"\0" * 99 + b"\n"])
def test_a_last_line_of_zeros_needs_no_repair(scenario: Scenario, end: bytes) -> None:
    damage_journal(submit(scenario), lambda lines: [*lines[:-1], end])
    scenario.resume()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS


def test_an_earlier_state_of_the_journal_submits_nothing(scenario: Scenario) -> None:
    damaged = damage_journal(path := submit(scenario), cut_after("planned"))
    with pytest.raises(ArchiveError, match="lines are lost: a batch is in its parts that no line"):
        scenario.resume()
    assert path.read_bytes() == damaged
    assert scenario.posts() == PARTITIONS


def test_jobs_are_adopted_without_their_lines_and_without_the_token(scenario: Scenario) -> None:
    damage_journal(submit(scenario), cut_after("planned"))
    assert repair_journal(scenario.run_dir) is not None
    scenario.resume()
    scenario.assert_complete()
    assert scenario.posts() == PARTITIONS


def test_results_on_disk_are_kept(scenario: Scenario) -> None:
    scenario.emulator.fail_next_job("the fridge is warm", 9999)
    scenario.allow(retries=0)
    with pytest.raises(JobsFailedError, match="1 of 3 jobs have no result"):
        scenario.run()
    damage_journal(scenario.run_dir / JOURNAL_NAME, lost("collected"))
    assert repair_journal(scenario.run_dir) is not None
    scenario.resume()
    assert scenario.archive().status == "complete"
    assert scenario.posts() == PARTITIONS + 1
