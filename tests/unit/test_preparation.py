"""Plans of sweeps: what their points share, and what each has alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from qiskit.transpiler import StagedPassManager

import qexp
from qexp.errors import PlanError, PointsFailedError
from qexp.sweeps.opened import Sweep

GHZ = ("ghz", "circuits.num_qubits=[2]", "stop_after=plan")
VARIANTS = (
    "error_mitigation",
    *("circuits.num_qubits=3", "circuits.steps=[1,2]", "stop_after=plan"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def transpiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the circuits that were transpiled, in order."""
    names: list[str] = []
    run = StagedPassManager.run

    def spy(self: StagedPassManager, circuit: Any, *arguments: Any, **more: Any) -> Any:
        names.append(circuit.name)
        return run(self, circuit, *arguments, **more)

    monkeypatch.setattr(StagedPassManager, "run", spy)
    return names


def lines(sweep: Sweep, *kinds: str) -> list[dict[str, Any]]:
    """The lines of its journal of some kinds."""
    every = map(json.loads, (sweep.path / "journal.jsonl").read_text().splitlines())
    return [line for line in every if line["event"] in kinds]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (VARIANTS, 2),
        ((*GHZ, "primitive.shots=50,60,70"), 1),
        ((*GHZ, "primitive.shots=50,60", "batch.max_time=null,1h"), 1),
        ((*GHZ, "primitive.shots=50,60", "circuits.num_qubits=[2],[3]"), 2),
        ((*GHZ, "primitive.shots=50,60", "transpile.optimization_level=0,1"), 2),
        ((*GHZ, "primitive.shots=50,60", "transpile.seed=1,2"), 2),
        ((*GHZ, "primitive.shots=50,60", "backend.name=fake_manila,fake_lima"), 2),
        ((*GHZ, "primitive.shots=50,60", "seed=1,2"), 2),
        ((*GHZ, "primitive.shots=50,60", "sweep.seed=independent"), 2),
    ],
)
def test_equal_circuits_are_transpiled_once(
    transpiled: list[str], words: tuple[str, ...], count: int
) -> None:
    with qexp.sweep(*words) as sweep:
        assert {point.status for point in sweep.points} == {"planned"}
    assert len(transpiled) == count


def planned(path: Path) -> dict[str, str]:
    """What an archive has of a plan: each variable's values, as text, in which NaN is NaN."""
    found: dict[str, str] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and name.startswith(("circuits", "pubs", "partitions")):
            found[name] = repr(np.asarray(item[()]).tolist())

    with h5py.File(path / "run.h5") as file:
        file.visititems(note)
    # Qiskit writes the registers of a layout in an order that varies.
    assert found.pop("circuits/main/isa/qpy")
    return found


@pytest.mark.parametrize(
    "words",
    [
        VARIANTS,
        (*GHZ, "primitive.shots=50,60", "sweep.block=1", "circuits.num_qubits=[2,3,4]"),
        (*GHZ, "primitive.options.twirling.enable_measure=false,true"),
    ],
)
def test_each_point_has_the_plan_that_it_has_alone(words: tuple[str, ...]) -> None:
    with qexp.sweep(*words) as sweep:
        points = [(run.overrides, run.path.parent) for run in sweep]
    assert len(points) > 1
    for overrides, path in points:
        with qexp.run(*overrides) as alone:
            assert planned(path) == planned(alone.path.parent)


def test_a_point_that_cannot_run_keeps_no_other_from_running(transpiled: list[str]) -> None:
    words = (*GHZ, "primitive.shots=50,70,60", "partition.max_executions=65")
    with pytest.raises(PointsFailedError, match=r"1 of 3 points cannot run \(.*-0001; "):
        qexp.sweep(*words)
    [declared] = Path("outputs").rglob("sweep.json")
    with qexp.open_sweep(declared.parent) as sweep:
        assert [point.status for point in sweep.points] == ["planned", "failed", "planned"]
    assert len(transpiled) == 1


def test_circuits_that_no_point_can_run_are_refused_once_for_all(transpiled: list[str]) -> None:
    with pytest.raises(PlanError, match=r"no point of the sweep can run; .* has 9 qubits"):
        qexp.sweep(*GHZ, "circuits.num_qubits=9", "primitive.shots=50,60")
    assert transpiled == []


def test_points_that_are_planned_together_run_in_the_declared_order() -> None:
    words = ("ghz", "primitive.shots=50,60", "circuits.num_qubits=[2],[3]")
    apart = {"sweep.order": "declared", "sweep.pack": None, "sweep.seed": "shared"}
    with qexp.sweep(*words, **apart) as sweep:
        assert sweep.status == "complete"
        points = [line.get("point", 0) for line in lines(sweep, "planned")]
        submitted = [line["partition"] for line in lines(sweep, "submitting")]
    assert [points[partition] for partition in submitted] == [0, 1, 2, 3]
    assert points == [0, 2, 1, 3]


def test_points_are_planned_together_in_bounded_numbers(transpiled: list[str]) -> None:
    shots = ",".join(map(str, range(50, 70)))
    with qexp.sweep(*GHZ, f"primitive.shots={shots}") as sweep:
        assert {point.status for point in sweep.points} == {"planned"}
    assert len(transpiled) == 2
