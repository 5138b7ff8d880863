from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from qexp.archive.sweep_file import SweepDeclaration, SweepPoint, write_sweep
from qexp.core.model import JobOutcome, Partition, Plan, PlannedJob
from qexp.core.observer import PointSummary, SweepSummary
from qexp.core.spec import PartitionLimits, RunSpec
from qexp.engines.local.engine import LocalEngine
from qexp.progress import Terminal
from tests.unit.progress.test_terminal import Output, bars, terminal_as_stderr

SUMMARY = SweepSummary("complete", ("complete",) * 3, {}, 2, 4.5, 0, 6.0, ("b1",))
CONFIG = "sweep: {circuits_by: [depth]}\n"


def point_of(number: int, stop_after: str | None) -> RunSpec:
    spec = SimpleNamespace(
        config_yaml=CONFIG,
        stop_after=stop_after,
        partition=PartitionLimits(),
        overrides=(f"depth={number}", "sweep.circuits_by=[depth]"),
        given_anew=(),
        max_time_s=None,
        budget_s=None,
        engine=LocalEngine(workers=2),
        analyses=("one",),
    )
    return cast("RunSpec", spec)


class Clock:
    """A clock that moves only by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def sweep_in(
    folder: Path, points: int = 3, *, stop_after: str | None = None, clock: Clock | None = None
) -> Terminal:
    folder.mkdir()
    declared = [
        SweepPoint(f"s1-{n:04d}", {"depth": n, "noise": "off"}, (), (CONFIG,))
        for n in range(points)
    ]
    typed = ("experiment=ghz", "depth=range(0,3)", "stop_after=plan")
    write_sweep(folder, SweepDeclaration("s1", "2026-11-29T10:00:00Z", tuple(declared), typed))
    specs = [point_of(number, stop_after) for number in range(points)]
    return Terminal(specs, folder, now_s=clock or Clock())


def partition(index: int, point: int) -> Partition:
    return Partition(index, "main", 0, 2, 100, None, 200, 1000, 3.0, "end", point)


# Points 0 and 1 share a job.
PLAN = Plan(tuple(partition(n, n) for n in range(3)), (PlannedJob((0, 1), 2.0), PlannedJob((2,))))


def lines(text: str) -> dict[str, str]:
    return {name: rest for name, _, rest in (line.partition(" ") for line in text.splitlines())}


def plan_all(terminal: Terminal, plan: Plan = PLAN, failing: Sequence[int] = ()) -> None:
    count = len(plan.partitions) + len(failing)
    terminal.backend_selected("x", 5, "ibm", range(count))
    for point in range(count):
        terminal.pub_planned("main", 1)
        if point in failing:
            terminal.point_failed(point, "too wide")
        else:
            terminal.point_planned(point)
    terminal.planned(plan, None, {})


def test_the_plan_of_a_sweep_is_one_table(capsys, tmp_path):
    plan = Plan(PLAN.partitions[:2], PLAN.jobs[:1])
    with sweep_in(tmp_path / "s1", stop_after="plan") as terminal:
        plan_all(terminal, plan, failing=[2])
        summary = replace(
            SUMMARY, status="planned", points=("planned",) * 3, failed={2: "too wide"}, batch_ids=()
        )
        terminal.sweep_ended(tmp_path / "s1", summary)
    printed = capsys.readouterr()
    assert printed.err == "qexp: point 0002 (depth=2 noise=off) cannot run: too wide\n"
    table, _, end = printed.out.partition("Nothing was submitted. ")
    assert table.split()[:2] == ["workload", "points"]
    assert "main 2 1 4 400 2.0 kB 4.0s" in " ".join(table.split())
    assert end.splitlines() == [
        "Backend: x (5 qubits, engine ibm)",
        f"sweep    {tmp_path}/s1",
        "points   2 of 3 planned, 1 cannot run",
        "circuits decided by depth; the same in points that agree in that",
        f"next     python -m qexp resume {tmp_path}/s1",
        "or       python -m qexp -m experiment=ghz 'depth=range(0,3)'",
    ]


def outcome(index: int, job: str, state: str = "DONE") -> JobOutcome:
    return JobOutcome(job, index, state, None, error=None if state == "DONE" else "too warm")


def run_all(terminal: Terminal) -> None:
    plan_all(terminal)
    terminal.jobs_packed(2)
    terminal.batch_opened("b1")
    for index, job in enumerate(("j0", "j0", "j1")):
        terminal.job_submitted(PLAN.partitions[index], job)
    terminal.jobs_moved(Counter({"DONE": 1, "RUNNING": 1}))
    for index in (0, 1):
        terminal.job_collected(outcome(index, "j0"))
        terminal.point_measured(index)


def test_the_bars_count_points_and_jobs_not_partitions(monkeypatch, tmp_path):
    tty = terminal_as_stderr(monkeypatch)
    with sweep_in(tmp_path / "s1") as terminal:
        run_all(terminal)
        terminal._bars.progress.refresh()
    last = {name: seen[-1] for name, seen in bars(tty.getvalue()).items()}
    assert {name: count for name, (count, _) in last.items()} == {
        "transpiling": "3/3",
        "submitting": "2/2",
        "running": "1/2",
        "collecting": "2/3",
    }
    assert last["transpiling"][1].startswith("3 circuits")
    assert last["running"][1].startswith("1 running, 1 done")


def test_the_bars_of_a_resumed_sweep_follow_the_jobs_that_are_found_and_packed(
    monkeypatch, tmp_path
):
    tty = terminal_as_stderr(monkeypatch)
    with sweep_in(tmp_path / "s1") as terminal:
        terminal.resumed(PLAN, 1, 1, 1)
        terminal.point_measured(0)
        terminal.backend_selected("x", 5, "ibm", range(3))
        terminal.job_adopted(1, "j0")
        terminal.jobs_packed(1)
        terminal.batch_opened("b2")
        terminal.job_submitted(PLAN.partitions[2], "j2")
        terminal.attempt_failed(outcome(2, "j2", "ERROR"))
        terminal.jobs_packed(1)
        terminal._bars.progress.refresh()
    last = {name: seen[-1] for name, seen in bars(tty.getvalue()).items()}
    assert {name: count for name, (count, _) in last.items()} == {
        "submitting": "2/3",
        "running": "0/3",
        "collecting": "1/3",
    }
    assert last["collecting"][1].startswith("job j2 failed and is run again: too warm")


def test_the_summary_comes_last_with_a_line_for_each_point(capsys, tmp_path):
    clock = Clock()
    with sweep_in(tmp_path / "s1", clock=clock) as terminal:
        run_all(terminal)
        terminal.sealed(tmp_path / "r", PointSummary("complete", 1, 1, 1, 0, 0, (), point=0))
        terminal.sweep_ended(tmp_path / "s1", replace(SUMMARY, usage_pending=2))
        clock.seconds = 65.0
        terminal.analysed("ideal", "fidelity [bold]0.9[/nope]", 0)
        terminal.analysed("parity", "even", 0)
        terminal.analysed("ideal", "fidelity 0.8", 2)
        assert capsys.readouterr().out == ""
    opened = f"python -c \"import qexp; print(qexp.open_sweep('{tmp_path}/s1'))\""
    assert capsys.readouterr().out.splitlines() == [
        "point 0000 (depth=0 noise=off): done; ideal: fidelity [bold]0.9[/nope]; parity: even",
        "point 0001 (depth=1 noise=off): done",
        "point 0002 (depth=2 noise=off): done; ideal: fidelity 0.8",
        f"sweep    {tmp_path}/s1",
        "batch    b1",
        "backend  x (5 qubits, engine ibm)",
        "points   3 of 3 done",
        "circuits decided by depth; the same in points that agree in that",
        "jobs     2 planned, 6 PUBs",
        "usage    4.5 s, of which 2 charges are pending (predicted for a QPU: 6.0 s)",
        "elapsed  1m 5s",
        f"next     {opened}",
    ]


def test_a_sweep_with_work_left_is_to_be_resumed(capsys, tmp_path):
    with sweep_in(tmp_path / "s1") as terminal:
        states = ("complete", "partial", "failed")
        ended = replace(SUMMARY, status="partial", points=states, failed={2: "1 has no result"})
        terminal.sweep_ended(tmp_path / "s1", replace(ended, batch_ids=("a", "b", "c", "d")))
    shown = capsys.readouterr().out.splitlines()
    assert shown[1:3] == [
        "point 0001 (depth=1 noise=off): unfinished",
        "point 0002 (depth=2 noise=off): failed: 1 has no result",
    ]
    found = lines("\n".join(shown[3:]))
    assert found["points"].strip() == "1 of 3 done, 1 failed, 1 unfinished"
    assert found["batches"].strip() == "a, b, c, and 1 more"
    assert found["next"].strip() == f"python -m qexp resume {tmp_path}/s1"


def test_of_a_large_sweep_only_points_that_failed_have_a_line(capsys, tmp_path):
    failed = dict.fromkeys(range(3, 25), "too wide")
    with sweep_in(tmp_path / "s1", points=30) as terminal:
        for number, reason in failed.items():
            terminal.point_failed(number, reason)
        states = ("complete",) * 3 + ("failed",) * 22 + ("complete",) * 5
        ended = replace(SUMMARY, status="partial", points=states, failed=failed)
        terminal.sweep_ended(tmp_path / "s1", ended)
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 20
    shown = [line for line in printed.out.splitlines() if line.startswith("point ")]
    assert shown[0] == "point 0003 (depth=3 noise=off): failed: too wide"
    assert len(shown) == 20
    assert "and 2 more points that failed" in printed.out
    assert "8 of 30 done, 22 failed" in printed.out


def test_a_sweep_that_is_left_to_itself_says_how_to_go_on(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with sweep_in(tmp_path / "s1", stop_after="submit") as terminal:
        plan_all(terminal)
        terminal.detached(PLAN, 2, ("b1",))
    assert capsys.readouterr().out.splitlines() == [
        "sweep    s1",
        "batch    b1",
        "backend  x (5 qubits, engine ibm)",
        "points   0 of 3 done",
        "jobs     2 are out, none is waited for",
        "next     python -m qexp resume s1",
        "status   python -m qexp status s1",
    ]


def test_without_a_terminal_there_is_a_line_a_minute(capsys, tmp_path):
    clock = Clock()
    with sweep_in(tmp_path / "s1", clock=clock) as terminal:
        terminal.backend_selected("x", 5, "ibm", range(3))
        clock.seconds = 59.0
        terminal.pub_planned("main", 1)
        terminal.point_planned(0)
        assert capsys.readouterr().err == ""
        clock.seconds = 61.0
        terminal.pub_planned("main", 1)
        assert capsys.readouterr().err == "qexp: 1m 1s: 1 of 3 points planned; 2 circuits\n"
        clock.seconds = 100.0
        terminal.planned(PLAN, None, {})
        terminal.batch_opened("b1")
        terminal.job_submitted(PLAN.partitions[0], "j0")
        clock.seconds = 121.0
        terminal.jobs_moved(Counter({"RUNNING": 1}))
        told = "qexp: 2m 1s: 0 of 3 points done; jobs: 1 of 2 submitted, 1 running\n"
        assert capsys.readouterr().err == told
        terminal.job_submitted(PLAN.partitions[2], "j1")
        terminal.point_measured(0)
        clock.seconds = 190.0
        terminal.jobs_moved(Counter({"DONE": 1, "QUEUED": 1}))
        terminal.jobs_moved(Counter({"DONE": 1, "QUEUED": 1}))
    told = "qexp: 3m 10s: 1 of 3 points done; jobs: 1 queued, 1 done; about 3m 0s left\n"
    assert capsys.readouterr().err == told


def test_the_bars_of_a_sweep_in_a_notebook(monkeypatch, tmp_path, capsys):
    output = Output()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    display = SimpleNamespace(display=lambda *_, **__: output)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    clock = Clock()
    with sweep_in(tmp_path / "s1", clock=clock) as terminal:
        clock.seconds = 100.0
        run_all(terminal)
        terminal.sealed(tmp_path / "r", PointSummary("complete", 1, 1, 1, 0, 0, (), point=0))
        terminal.analysed("ideal", "x", 0)
    rows = output.shown[-1].split("</tr>")[:-1]
    assert [re.findall(r"<td>([a-z]+)</td>|(\d+/\d+)", row) for row in rows] == [
        [(stage, ""), ("", count)]
        for stage, count in [
            ("transpiling", "3/3"),
            ("submitting", "2/2"),
            ("running", "1/2"),
            ("collecting", "2/3"),
            ("analysing", "1/1"),
        ]
    ]
    # Bars are enough there.
    assert capsys.readouterr().err == ""


def test_a_summary_that_cannot_be_shown_costs_nothing(monkeypatch, tmp_path):
    with sweep_in(tmp_path / "s1") as terminal:
        monkeypatch.setattr(
            terminal._end, "_print_points", lambda _: (_ for _ in ()).throw(SystemExit)
        )
        terminal.sweep_ended(tmp_path / "s1", SUMMARY)
