from __future__ import annotations

import io
import re
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from qexp.core.model import JobOutcome, Limit, Partition, PartitionLimits, Plan
from qexp.terminal import Terminal

HOSTILE = "[bold]x[/nope]"
LIMITS = {"batch_max_time_s": Limit(30.0, "docs", "2026-11-22")}


def partition(index: int, workload: str, first: int, stop: int) -> Partition:
    return Partition(index, workload, first, stop, 100, None, 1234, 5000, 20.0, "end")


STAGES = ("transpiling", "submitting", "running", "collecting")
PLAN = Plan((partition(0, "main", 0, 2), partition(1, "main", 2, 3), partition(2, "extra", 0, 1)))


def outcome(index: int, state: str = "DONE", usage_s: float | None = 1.5) -> JobOutcome:
    usage = {"usage": {"qpu_charge_time_seconds": usage_s}}
    error = None if state == "DONE" else "too warm"
    return JobOutcome(f"j{index}", index, state, None, error=error, metrics=usage)


def watch(*, stop_after: str | None = None, backend: str = HOSTILE, archive: Path | None = None):
    """Tell a terminal all stages of a run with three jobs, of which one fails."""
    with Terminal(SimpleNamespace(stop_after=stop_after, partition=PartitionLimits())) as terminal:
        terminal.backend_selected(backend, 5, "local")
        for count in (1, 2, 3):
            terminal.pub_planned("main", count)
        terminal.planned(PLAN, None, LIMITS)
        if stop_after == "plan":
            return
        terminal.warned(f"{HOSTILE} " + "a long warning " * 20)
        terminal.batch_opened("b1")
        for job in PLAN.partitions:
            terminal.job_submitted(job, f"j{job.index}")
        terminal.queue_seen(17)
        terminal.jobs_moved(Counter({"DONE": 1, "RUNNING": 1, "QUEUED": 1}))
        terminal._progress.refresh()
        outcomes = [outcome(0), outcome(1, "ERROR", None), outcome(2)]
        for item in outcomes:
            terminal.job_collected(item)
        terminal.sealed(archive or Path.cwd() / "outputs" / "run.h5", outcomes)


def terminal_as_stderr(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """No fixture: pytest replaces stderr between a test's set-up and its call."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return stream


@pytest.mark.parametrize("force_color", ["", "1"])
def test_only_warnings_go_to_stderr_when_it_is_no_terminal(capsys, monkeypatch, force_color):
    monkeypatch.setenv("FORCE_COLOR", force_color)
    watch()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"qexp: warning: {HOSTILE} a long warning")


def test_the_summary(capsys, tmp_path):
    archive = tmp_path / ("deep" * 40) / "run.h5"
    watch(archive=archive)
    out = capsys.readouterr().out
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["batch"] == "b1"
    assert lines["backend"] == f"{HOSTILE} (5 qubits, engine local)"
    assert lines["jobs"] == "2 of 3 done, 4 PUBs"
    assert lines["usage"] == "3.0 s (predicted for a QPU: 60.0 s)"
    # Whole, however long it is: it is there to be copied.
    assert lines["archive"] == str(archive)
    assert lines["next"] == f"python -c \"import qexp; print(qexp.open_archive('{archive}'))\""


def test_paths_below_the_current_folder_are_short(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    watch()
    assert re.search(r"^archive +outputs/run\.h5$", capsys.readouterr().out, flags=re.MULTILINE)


def test_the_plan_as_a_table(capsys):
    watch(stop_after="plan")
    captured = capsys.readouterr()
    assert captured.err == ""
    out = captured.out
    assert re.search(r"^\s*main +2 +3 +2,468 +10\.0 kB +40s", out, flags=re.MULTILINE)
    assert re.search(r"^\s*extra +1 +1 +1,234 +5\.0 kB +20s", out, flags=re.MULTILINE)
    assert re.search(r"^\s*total +3 +4 +3,702 +15\.0 kB +1m 0s", out, flags=re.MULTILINE)
    assert re.search(r"longest batch +1m 0s +30s +over +limits\.batch_max_time_s", out)
    assert f"Nothing was submitted. Backend: {HOSTILE} (5 qubits, engine local)" in out


def test_a_bar_per_stage_on_a_terminal(monkeypatch):
    tty = terminal_as_stderr(monkeypatch)
    watch()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", tty.getvalue())
    bars = re.findall(rf"({'|'.join(STAGES)}) .*?(\d+/\d+) ?([^\r\n]*)", shown)
    last = {name: (count, note) for name, count, note in bars}
    assert {name: count for name, (count, _) in last.items()} == {
        "transpiling": "3/3",
        "submitting": "3/3",
        "running": "1/3",
        "collecting": "3/3",
    }
    assert f"main on {HOSTILE}" in last["transpiling"][1]
    assert "b1" in last["submitting"][1]
    assert "17" in last["submitting"][1]
    assert "1 queued, 1 running, 1 done" in last["running"][1]


def test_an_error_stops_the_bars(monkeypatch):
    terminal_as_stderr(monkeypatch)
    terminal = Terminal(SimpleNamespace(stop_after=None))

    def failing() -> None:
        with terminal:
            terminal.backend_selected("x", 5, "local")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert terminal._progress.live.is_started is False


def test_a_plan_says_where_it_is_and_a_point_of_a_sweep_which_it_is(capsys, tmp_path):
    overrides = ("experiment=ghz", "stop_after=plan", "metadata.title=a b")
    spec = SimpleNamespace(stop_after="plan", partition=PartitionLimits(), overrides=overrides)
    with Terminal(spec, "circuits.depth=[2]") as terminal:
        terminal.sealed(tmp_path / "run.h5", [])
    assert capsys.readouterr().out.splitlines() == [
        "point    circuits.depth=[2]",
        f"plan     {tmp_path / 'run.h5'}",
        "next     python -m qexp experiment=ghz 'metadata.title=a b'",
    ]
