from __future__ import annotations

import io
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from qexp.core.model import Forecast, JobOutcome, Partition, Plan, Progress, RunStatus
from qexp.core.observer import PointSummary
from qexp.core.spec import Limit, PartitionLimits, RunSpec
from qexp.engines.local.engine import LocalEngine
from qexp.progress import Terminal

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


def spec_of(
    stop_after: str | None = None,
    overrides: tuple[str, ...] = (),
    config_yaml: str = "seed: 1\n",
) -> RunSpec:
    spec = SimpleNamespace(
        config_yaml=config_yaml,
        stop_after=stop_after,
        partition=PartitionLimits(),
        overrides=overrides,
        given_anew=(),
        max_time_s=None,
        budget_s=None,
        engine=LocalEngine(workers=2),
    )
    return cast("RunSpec", spec)


def summary(
    status: RunStatus = "complete", batch_ids: tuple[str, ...] = ("b1",), usage_pending: int = 0
) -> PointSummary:
    return PointSummary(status, 2, 3, 4, 3.0, 60.0, batch_ids, usage_pending)


def watch(*, stop_after: str | None = None, backend: str = HOSTILE, archive: Path | None = None):
    """Tell a terminal all stages of a run with three jobs, of which one fails."""
    archive = archive or Path.cwd() / "outputs" / "run.h5"
    with Terminal([spec_of(stop_after)], archive.parent) as terminal:
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
        terminal._bars.progress.refresh()
        outcomes = [outcome(0), outcome(1, "ERROR", None), outcome(2)]
        for item in outcomes:
            terminal.job_collected(item)
        terminal.sealed(archive, summary("partial"))


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
    # A job has no result.
    assert lines["next"] == f"python -m qexp resume {archive.parent}"


def test_an_analysis_is_one_line(capsys):
    with Terminal([spec_of()], Path("outputs/run")) as terminal:
        terminal.analysed("ideal", f"fidelity {HOSTILE}")
    assert capsys.readouterr().out == f"analysis ideal: fidelity {HOSTILE}\n"


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
    last = {name: seen[-1] for name, seen in bars(tty.getvalue()).items()}
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
    terminal = Terminal([spec_of()], Path("r1"))

    def failing() -> None:
        with terminal:
            terminal.backend_selected("x", 5, "local")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert terminal._bars.progress.live.is_started is False


def test_a_plan_says_where_it_is_and_a_point_of_a_sweep_which_it_is(capsys, tmp_path):
    overrides = ("experiment=ghz", "stop_after=plan", "metadata.title=a b")
    spec = spec_of("plan", overrides, "sweep: {circuits_by: [circuits.depth]}\n")
    with Terminal([spec], tmp_path / "r 1", "circuits.depth=[2]") as terminal:
        terminal.sealed(tmp_path / "r 1" / "run.h5", summary("planned", ()))
    assert capsys.readouterr().out.splitlines() == [
        "point    circuits.depth=[2]",
        "circuits decided by circuits.depth; the same in points that agree in that",
        f"plan     {tmp_path / 'r 1' / 'run.h5'}",
        f"next     python -m qexp resume '{tmp_path / 'r 1'}'",
        "or       python -m qexp experiment=ghz 'metadata.title=a b'",
    ]


def test_a_complete_run_is_to_be_read(capsys, tmp_path):
    with Terminal([spec_of()], tmp_path) as terminal:
        terminal.sealed(tmp_path / "run.h5", summary(batch_ids=("b1", "b2")))
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["batches"] == "b1, b2"
    # It was not needed.
    assert "backend" not in lines
    assert lines["next"] == (
        f"python -c \"import qexp; print(qexp.open_archive('{tmp_path / 'run.h5'}'))\""
    )


def test_a_run_that_is_left_to_itself_says_how_to_collect_it(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with Terminal([spec_of("submit")], tmp_path / "r1") as terminal:
        terminal.backend_selected("ibm_x", 5, "ibm")
        terminal.planned(PLAN, None, LIMITS)
        terminal.detached(PLAN, len(PLAN.partitions), ("b1",))
    assert capsys.readouterr().out.splitlines() == [
        "batch    b1",
        "backend  ibm_x (5 qubits, engine ibm)",
        "jobs     3 of 3 are out, none is waited for",
        "next     python -m qexp resume r1",
    ]


def bars(shown: str) -> dict[str, list[tuple[str, str]]]:
    """Stage -> every count and note that its bar showed."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    found: dict[str, list[tuple[str, str]]] = {}
    for name, count, note in re.findall(rf"({'|'.join(STAGES)}) .*?(\d+/\d+) ?([^\r\n]*)", plain):
        found.setdefault(name, []).append((count, note))
    return found


def test_the_bars_of_a_resumed_run_show_what_is_left(monkeypatch):
    tty = terminal_as_stderr(monkeypatch)
    with Terminal([spec_of()], Path("r1")) as terminal:
        terminal.resumed(PLAN, 1, 1, 1)
        terminal.backend_selected("x", 5, "ibm")
        terminal.job_adopted(1, "j1")
        terminal.batch_opened("b2")
        terminal.job_submitted(PLAN.partitions[2], "j2")
        terminal.jobs_moved(Counter({"DONE": 2}))
        terminal.job_collected(outcome(1))
        terminal.job_collected(outcome(2))
        terminal._bars.progress.refresh()
        terminal.sealed(Path("r1/run.h5"), summary())
    last = {name: seen[-1][0] for name, seen in bars(tty.getvalue()).items()}
    assert last == {"submitting": "2/2", "running": "2/2", "collecting": "3/3"}


@pytest.mark.parametrize(
    ("stage", "told", "note"),
    [
        (
            "submitting",
            lambda terminal: terminal.submission_paused(f"429 {HOSTILE}\nslow down", 12.0),
            f"waiting, again within 12s: 429 {HOSTILE} slow down",
        ),
        (
            "submitting",
            lambda terminal: terminal.submission_paused(
                "execution.max_pending=3 jobs are in flight", 0
            ),
            "waiting: execution.max_pending=3 jobs are in flight",
        ),
        ("submitting", lambda terminal: terminal.job_adopted(0, "j9"), "job j9 was submitted bef"),
        (
            "running",
            lambda terminal: terminal.service_lost("503 " * 100, 4.0),
            "out of reach, asked in 4.0s: 503 503",
        ),
        (
            "collecting",
            lambda terminal: terminal.attempt_failed(outcome(0, "ERROR")),
            "job j0 failed and is run again: too warm",
        ),
    ],
)
def test_what_holds_a_run_up_is_said(monkeypatch, stage, told, note):
    tty = terminal_as_stderr(monkeypatch)
    with Terminal([spec_of()], Path("r1")) as terminal:
        terminal.backend_selected("x", 5, "ibm")
        # Before there is a bar to say it in, nothing is said.
        terminal.service_lost("503", 1.0)
        terminal.planned(PLAN, None, LIMITS)
        terminal.batch_opened("b1")
        told(terminal)
        terminal._bars.progress.refresh()
    assert note in bars(tty.getvalue())[stage][-1][1]


def test_a_note_that_is_cut_says_so(monkeypatch):
    terminal_as_stderr(monkeypatch)
    with Terminal([spec_of()], Path("r1")) as terminal:
        terminal.planned(PLAN, None, LIMITS)
        terminal.batch_opened("b1")
        terminal.service_lost("503 " * 100, 4.0)
        note = terminal._bars.note("running")
    assert len(note) == 160
    assert note.endswith(" 50…")


def test_a_job_that_is_run_again_is_one_more_to_submit(monkeypatch):
    tty = terminal_as_stderr(monkeypatch)
    with Terminal([spec_of()], Path("r1")) as terminal:
        terminal.backend_selected("x", 5, "ibm")
        terminal.planned(PLAN, None, LIMITS)
        for batch_id, jobs in (("b1", PLAN.partitions), ("b2", PLAN.partitions[:1])):
            terminal.batch_opened(batch_id)
            for job in jobs:
                terminal.job_submitted(job, f"{batch_id}-j{job.index}")
            if batch_id == "b1":
                terminal.attempt_failed(outcome(0, "ERROR"))
                terminal.jobs_packed(1)
        terminal._bars.progress.refresh()
    count, note = bars(tty.getvalue())["submitting"][-1]
    assert count == "4/4"
    assert "batch b2 (number 2)" in note


class Output:
    """A notebook's output, as `IPython.display.display` returns it."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(data["text/html"])


def test_bars_in_a_notebook_stay_as_they_were_at_the_end(monkeypatch, capsys):
    output = Output()
    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    display = SimpleNamespace(display=lambda *_, **__: output)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with Terminal([spec_of()], Path("outputs/run"), is_quiet=True) as terminal:
        terminal.backend_selected("<b>", 5, "local")
        terminal.pub_planned("main", 1)
        terminal.planned(PLAN, None, LIMITS)
        terminal.warned("take care")
    assert capsys.readouterr() == ("", "qexp: warning: take care\n")
    last = output.shown[-1]
    assert last.count("<tr>") == 4
    assert "main on &lt;b&gt; (5 qubits, engine local)" in last
    assert '<progress value="1" max="1"></progress></td><td>1/1' in last.replace("1.0", "1")


def test_only_one_run_at_a_time_has_bars_on_the_terminal(monkeypatch):
    tty = terminal_as_stderr(monkeypatch)
    out = sys.stdout
    with Terminal([spec_of()], Path("a")), Terminal([spec_of()], Path("b")) as second:
        second.backend_selected("b", 5, "local")
        second.pub_planned("second", 1)
    with Terminal([spec_of()], Path("c")) as third:
        third.backend_selected("c", 5, "local")
        third.pub_planned("third", 1)
    assert sys.stdout is out
    assert "second" not in tty.getvalue()
    assert "third" in tty.getvalue()


def test_pending_charges_and_repetitions_are_told(capsys, tmp_path):
    with Terminal([spec_of()], tmp_path) as terminal:
        terminal.trying_again({1: 2.0, 2: 0.0}, 34.0)
        terminal.trying_again({2: 0.0}, 34.0)
        terminal.sealed(tmp_path / "run.h5", summary(usage_pending=1))
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "qexp: warning: 2 partitions are tried again, 1 of them charged before (2.0s); predicted "
        "QPU time: 34s",
        "qexp: warning: 1 partition is tried again, none of them charged before; predicted "
        "QPU time: 34s",
    ]
    assert "s, of which 1 charge is pending (predicted for a QPU: " in printed.out


def test_a_long_run_without_a_terminal_tells_once_a_minute_how_far_it_is(capsys):
    seconds = [0.0]
    with Terminal([spec_of()], Path("r1"), now_s=lambda: seconds[0]) as terminal:
        terminal.backend_selected("x", 5, "ibm")
        seconds[0] = 60.0
        terminal.pub_planned("main", 1)
        terminal.pub_planned("main", 2)
        terminal.planned(PLAN, None, LIMITS)
        terminal.batch_opened("b1")
        for job in PLAN.partitions:
            terminal.job_submitted(job, f"j{job.index}")
        terminal.job_collected(outcome(0))
        seconds[0] = 120.0
        terminal.jobs_moved(Counter({"DONE": 1, "RUNNING": 2}))
    assert capsys.readouterr().err.splitlines() == [
        "qexp: 1m 0s: 1 circuits planned",
        "qexp: 2m 0s: 1 of 3 jobs done; jobs: 2 running, 1 done; about 2m 0s left",
    ]


@pytest.mark.parametrize(
    ("core_s", "left"),
    [
        (0.0, "30s"),  # by jobs: 2 of 3 are done
        (36.0, "2m 0s"),  # by predicted work: 12 s of 36 s
        (10.0, "30s"),  # that of PUBs whose time is not predicted is missing
    ],
)
def test_a_simulation_says_when_it_ends(monkeypatch, core_s, left):
    tty, seconds = terminal_as_stderr(monkeypatch), [0.0]
    with Terminal([spec_of()], Path("r1"), now_s=lambda: seconds[0]) as terminal:
        terminal.backend_selected("x", 5, "local")
        terminal.planned(replace(PLAN, forecast=Forecast(core_s)), None, LIMITS)
        terminal.batch_opened("b1")
        seconds[0] = 60.0
        terminal.jobs_moved(Counter({"DONE": 1, "RUNNING": 2}), Progress(2.0, 12.0))
        terminal._bars.progress.refresh()
        assert terminal._bars.completed("running") == 2
    note = bars(tty.getvalue())["running"][-1][1]
    assert re.search(rf" {left} left$", note.strip())


@pytest.mark.parametrize(
    ("core_s", "said"), [(600.0, "the simulation is predicted to take 5m 0s on 2 cores"), (1.0, "")]
)
def test_a_long_simulation_is_announced(
    core_s: float, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Terminal([spec_of()], tmp_path) as terminal:
        terminal.backend_selected("fake_torino", 133, "local")
        terminal.planned(replace(PLAN, forecast=Forecast(core_s, 1.0)), None, {})
    shown = capsys.readouterr()
    assert ("predicted to take" in shown.out + shown.err) == bool(said)
    assert said in shown.out + shown.err
