"""Analyses come after the archive is sealed, and cannot fail its run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import qexp
from qexp.archive.analyses import read_analyses
from qexp.core.spec import AnalysisSpec, RunSpec
from qexp.errors import ConfigError, JobsFailedError
from qexp.experiment import resume, run
from tests.unit import test_experiment
from tests.unit.test_experiment import Recorder, StubEngine

backend, run_dir, spec = test_experiment.backend, test_experiment.run_dir, test_experiment.spec


class Watch(Recorder):
    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir)
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)

    def analysed(self, name: str, summary: str, point: int = 0) -> None:
        self.stages.append(f"analysed {name}: {summary}")


def of(
    name: str, function: Callable[[Any], Any], target: str = "qexp.analysis.a.b"
) -> AnalysisSpec:
    return AnalysisSpec(name, target, {}, function)


def count(run: qexp.Archive) -> xr.Dataset:
    number = len(run.results["main"].available)
    return xr.Dataset({"number": number}, attrs={"summary": f"{number} results"})


def refused(run: Any) -> None:
    raise ConfigError("analysis.c._target_: not trusted")


def test_they_are_made_of_the_sealed_archive(spec: RunSpec, run_dir: Path) -> None:
    watch = Watch(run_dir)
    report = run(
        replace(spec, analyses=(of("a", count), of("b", lambda run: None))), run_dir, watch
    )
    assert watch.stages[-3:] == [
        "sealed run.h5",
        "analysed a: 3 results",
        "analysed b: nothing to say of these data",
    ]
    assert int(read_analyses(report.archive.parent)["a"]["number"]) == 3


def test_they_change_neither_the_data_nor_the_file(spec: RunSpec, run_dir: Path) -> None:
    run(replace(spec, analyses=(of("a", count),)), run_dir)
    other = run_dir.with_name("other")
    run(replace(spec, engine=StubEngine(run_dir=other)), other)
    with qexp.open_archive(run_dir) as one, qexp.open_archive(other) as two:
        assert one.data_sha256 == two.data_sha256
        assert one.verify() == []


def test_none_of_them_can_fail_the_run(spec: RunSpec, run_dir: Path, monkeypatch) -> None:
    monkeypatch.chdir(run_dir.parent)
    watch = Watch(run_dir)
    analyses = (
        of("a", lambda run: 1 / 0, "mine.tools.a"),
        of("b", lambda run: 3),
        of("c", refused),
        of("d", count),
    )
    assert run(replace(spec, analyses=analyses), run_dir, watch).status == "complete"
    first, second, third = watch.warnings
    again = f"python -m qexp analyse {run_dir.name} --trust mine.tools"
    assert first == (
        "analysis 'a': mine.tools.a failed: ZeroDivisionError: division by zero; the traceback is "
        f"in run.log; the run is complete; to analyse it again: {again}"
    )
    assert second.startswith("analysis 'b': qexp.analysis.a.b returned int; it must return")
    assert third.startswith("analysis.c._target_: not trusted; the run is complete")
    assert list(read_analyses(run_dir)) == ["d"]


def test_a_folder_in_the_way_is_told(spec: RunSpec, run_dir: Path) -> None:
    run_dir.mkdir()
    (run_dir / "analysis").write_text("in the way")
    watch = Watch(run_dir)
    assert run(replace(spec, analyses=(of("a", count),)), run_dir, watch).status == "complete"
    (warning,) = watch.warnings
    assert warning.startswith("cannot ")
    assert warning.count("\n") == 0


def interrupt(run: Any) -> None:
    raise KeyboardInterrupt


def test_an_interruption_says_that_the_run_is_complete(spec: RunSpec, run_dir: Path) -> None:
    analyses = (of("a", count), of("b", interrupt))
    with pytest.raises(KeyboardInterrupt, match="interrupted; the run is complete; to analyse it"):
        run(replace(spec, analyses=analyses), run_dir)
    assert list(read_analyses(run_dir)) == ["a"]


def test_a_run_that_is_not_complete_is_not_analysed_until_it_is(
    spec: RunSpec, run_dir: Path
) -> None:
    watch = Watch(run_dir)
    failing = replace(
        spec,
        analyses=(of("a", count),),
        engine=StubEngine({1: "ERROR"}, run_dir=run_dir),
    )
    with pytest.raises(JobsFailedError):
        run(failing, run_dir, watch)
    assert not (run_dir / "analysis").exists()
    resume(replace(failing, engine=StubEngine(run_dir=run_dir)), run_dir, watch)
    assert watch.stages[-1] == "analysed a: 3 results"
    # Complete before: nothing is left to do.
    resume(failing, run_dir, watch)
    assert watch.stages.count("analysed a: 3 results") == 1


def test_a_plan_is_not_analysed(spec: RunSpec, run_dir: Path) -> None:
    watch = Watch(run_dir)
    run(replace(spec, stop_after="plan", analyses=(of("a", count),)), run_dir, watch)
    assert watch.stages[-1] == "sealed run.h5"
