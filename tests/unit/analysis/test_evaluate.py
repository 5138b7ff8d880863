"""An analysis is made, checked and stored; each of its errors is one line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from qiskit import QuantumCircuit

import qexp
from qexp.analysis.evaluate import evaluate
from qexp.archive.analyses import read_analyses
from qexp.core.spec import AnalysisSpec
from qexp.errors import AnalysisError, AnalysisFailedError, ArchiveError
from tests.unit.analysis.runs import measured, run_of, sampled


@pytest.fixture
def run(tmp_path: Path):
    circuit = measured(QuantumCircuit(1))
    with run_of(tmp_path, {"main": [(circuit, sampled({"0": 3}))]}) as run:
        yield run


def of(function: Callable[[Any], Any]) -> AnalysisSpec:
    return AnalysisSpec("x", "mine.x", {}, function)


def test_a_result_is_stored_and_summed_up(run: qexp.Archive, monkeypatch) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "s3cr3t-token")
    made = evaluate(
        of(lambda run: xr.Dataset({"a": 1}, attrs={"summary": f"s3cr3t-token\n {len(run.jobs)}"})),
        run,
    )
    assert (made.name, made.summary) == ("x", "[redacted] 1")
    stored = read_analyses(run.path)["x"]
    assert made.path == run.path.parent / "analysis" / "x.nc"
    assert stored.attrs["summary"] == "[redacted]\n 1"


def test_nothing_to_say_leaves_no_file(run: qexp.Archive) -> None:
    made = evaluate(of(lambda run: None), run)
    assert made.path is None
    assert not (run.path.parent / "analysis").exists()


def _broken(run: Any) -> None:
    raise SystemExit("over")


def _unsuitable(run: Any) -> None:
    raise AnalysisError("it needs more shots")


def _damaged(run: qexp.Archive) -> None:
    run.circuits("other")


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda run: 1 / 0, AnalysisFailedError, "mine.x failed: ZeroDivisionError: division by"),
        (_broken, AnalysisFailedError, "mine.x failed: SystemExit: over"),
        (lambda run: [1], AnalysisError, "mine.x returned list; it must return an xarray.Dataset"),
        (_unsuitable, AnalysisError, "it needs more shots"),
    ],
)
def test_an_error_is_one_line_with_the_name_of_the_analysis(
    run: qexp.Archive, caplog: pytest.LogCaptureFixture, function, kind, message: str
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(kind) as raised:
        evaluate(of(function), run)
    assert str(raised.value).startswith(f"analysis 'x': {message}")
    assert type(raised.value) is kind
    # Only what failed in its own code has a traceback.
    assert bool(caplog.records) == (kind is AnalysisFailedError)


def test_an_error_of_the_archive_stays_one(run: qexp.Archive) -> None:
    with pytest.raises(ArchiveError, match="no workload 'other'"):
        evaluate(of(_damaged), run)
