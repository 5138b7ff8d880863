from __future__ import annotations

import json
import math
import re
from pathlib import Path

import h5py
import pytest

from qexp.archive.digests import write_file_digest
from qexp.archive.schema import SNAPSHOTS, SUMMARY
from qexp.archive.writer import RunStore
from tests.archives import (
    header,
    outcome,
    sampler_jobs,
    sampler_pub,
    write_batch,
    write_partition,
    write_run,
)
from tests.unit.cli.conftest import Command


def test_a_partial_run_on_a_page(
    command: Command, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qexp.cli.show._WIDTH", 80)
    ended = command("show", runs / "e" / "r1-partial")
    assert ended.code == 0
    # But for the command that is to be copied.
    lines = [line for line in ended.out.splitlines() if "qexp resume" not in line]
    assert max(map(len, lines)) <= 80
    flat = " ".join(ended.out.split())
    for said in (
        "random_sampling 20260101-abc partial",
        "backend fake_lima, 2 qubits, engine local",
        "started 2026-01-01 00:00:00, took 12s",
        "workload main: 3 of 5 with a result, sampler PUBs, shots 100",
        "usage 10s (predicted 38s on a QPU)",
        "missing PUBs 3-4 of main: job job-2: transient (code 1305): Queue was closed",
        "to go on: python -m qexp resume",
        "main 3-4 ERROR 1.0s 11s 3.5s 12s job-2",
        "batch batch-1, closed",
        "0.5 µs",
        "packages qiskit 2.6, numpy 2.0 (2 in all)",
        "git commit abc with uncommitted changes",
    ):
        assert said in flat, said


def test_a_complete_run_misses_nothing(command: Command, runs: Path) -> None:
    ended = command("show", runs / "e" / "r0-complete" / "run.h5")
    assert "missing" not in ended.out
    assert "intact" in ended.out


def test_an_unfinished_run_is_shown_from_its_parts_and_journal(
    command: Command, runs: Path
) -> None:
    ended = command("show", runs / "e" / "r4-unfinished")
    assert ended.code == 0
    assert "not sealed, 1 jobs may be out" in ended.out
    assert "job-1" in ended.out
    started = command("show", runs / "e" / "r5-started")
    assert "its plan is not complete" in started.out


def test_json_is_the_whole_summary_with_the_documented_fields(command: Command, runs: Path) -> None:
    known = json.loads(command("show", runs / "e" / "r2-failed", "--json").out)
    assert known["status"] == "failed"
    assert known["missing"][0]["reason"] == "transient (code 1305): Queue was closed"
    unfinished = json.loads(command("show", runs / "e" / "r4-unfinished", "--json").out)
    page = (Path(__file__).parents[3] / "docs" / "archive-commands.md").read_text("utf-8")
    documented = page.partition("## ls")[2].partition("## verify")[0]
    for name in {*known, *unfinished, *known["batches"][0], *unfinished["batches"][0]}:
        assert f"`{name}`" in documented, name
    assert known.keys() == unfinished.keys()


def test_a_damaged_file_is_shown_with_a_warning(command: Command, runs: Path) -> None:
    ended = command("show", runs / "e" / "r6-flipped")
    assert ended.code == 5
    assert ended.out.splitlines()[1].startswith("DAMAGED: this file is not what was sealed")
    assert (
        json.loads(command("show", runs / "e" / "r6-flipped", "--json").out)["is_intact"] is False
    )


@pytest.mark.parametrize("name", ["r7-cut", "r8-empty", "r9-text/run.h5", "absent", "."])
def test_a_run_that_cannot_be_shown_is_one_line(command: Command, runs: Path, name: str) -> None:
    ended = command("show", runs / "e" / name)
    assert (ended.code, ended.out) == (5, "")
    assert ended.err.startswith("qexp: ")
    assert ended.err.count("\n") == 1


def test_untrusted_text_is_only_shown(command: Command, tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07[bold]x[/bold] [/nope] \u202egnp"
    store = RunStore(tmp_path)
    metadata = {"title": evil, "description": evil, "creators": [{"name": evil}]}
    environment = {"distributions": [f"qiskit=={evil}"], "platform": evil, "git_commit": evil}
    store.write_header(
        header(
            run_id=evil,
            experiment=evil,
            created=evil,
            overrides=(evil,),
            metadata=metadata | {"license": evil},
            environment=environment,
            backend={"name": evil, "num_qubits": 2},
            not_honoured={evil: {evil: 1}},
        )
    )
    write_batch(store)
    write_partition(store, 0, 0, [sampler_pub()])
    changes = {"error": evil, "failure": "transient", "job_id": evil, "state": "ERROR"}
    store.write_job(outcome(0, None, **changes))
    store.seal("failed", keep_parts=True)
    ended = command("show", tmp_path)
    assert ended.code == 0
    assert not set(ended.out) & {"\x1b", "\x07", "\u202e"}
    assert ended.out.replace("\n", "").count("[bold]x[/bold]") >= 5
    assert not set(command("show", tmp_path, "--json").out) & {"\x1b", "\x07", "\u202e"}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_times_that_are_not_finite_are_not_shown(
    command: Command, tmp_path: Path, value: float
) -> None:
    path = write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False)
    with h5py.File(path, "r+") as file:
        for name in ("partitions/predicted_qpu_s", "jobs/predicted_qpu_s", "jobs/usage_s"):
            file[name][...] = value
        for name in ("t1_s", "readout_error"):
            file[f"{SNAPSHOTS}/s0/{name}"][...] = value
        stated = json.loads(file.attrs[SUMMARY])
        file.attrs[SUMMARY] = json.dumps({**stated, "predicted_qpu_s": value, "usage_s": value})
    write_file_digest(path)
    ended = command("show", tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert not re.search(r"\b(nan|inf)", ended.out, re.IGNORECASE)
    assert "predicted " not in ended.out.partition("calibration")[0].partition("jobs\n")[0]
    assert command("ls", tmp_path).code == 0


def test_a_secret_that_the_process_knows_is_masked(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, sampler_jobs([1])).seal("complete", keep_parts=False)
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "fake_lima")
    assert "fake_lima" not in command("show", tmp_path).out
    assert "fake_lima" not in command("show", tmp_path, "--json").out
    assert "fake_lima" not in command("ls", tmp_path).out


def test_many_jobs_are_cut_short_but_no_failed_one(command: Command, tmp_path: Path) -> None:
    write_run(tmp_path, [*sampler_jobs([1] * 34), None]).seal("partial", keep_parts=False)
    printed = command("show", tmp_path).out
    assert "job-34" in printed
    assert "... and 5 more (--json lists all)" in printed
