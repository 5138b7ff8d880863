from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import qexp
from qexp.errors import ArchiveError
from tests.archives import sampler_jobs, started, write_run
from tests.damage import flip
from tests.sweeps import declare
from tests.unit.sweeps.conftest import GRID


def test_a_sweep_has_points_and_opens_their_archives(grid) -> None:
    with qexp.open_sweep(grid.path) as sweep:
        assert len(sweep) == 4
        assert sweep.swept == ("twirled", "field")
        assert [point.draws for point in sweep.points] == GRID
        assert [point.folder for point in sweep.points] == grid.points
        assert sweep.status == "complete"
        run = sweep[3]
        assert run.run_id == "0003"
        assert sweep[-1].run_id == "0003"
        assert repr(sweep) == f"<Sweep '3f9a2c' of 4 points: {grid.path}>"
    with pytest.raises(ArchiveError, match="closed"):
        run.run_id  # noqa: B018
    assert "0.5" in sweep._repr_html_()


def test_the_file_names_the_sweep_too(grid) -> None:
    assert len(qexp.open_sweep(grid.path / "sweep.json")) == 4


def test_each_point_has_a_status_with_its_reason(tmp_path: Path) -> None:
    folder = declare(tmp_path / "sweep", [{"n": k} for k in range(6)])
    write_run(folder / "0000", sampler_jobs([1])).seal("complete", keep_parts=False)
    write_run(folder / "0001", [*sampler_jobs([1]), None]).seal("partial", keep_parts=True)
    write_run(folder / "0002", [None]).seal("failed", keep_parts=False)
    started(folder / "0003")
    (folder / "0004").mkdir()
    shutil.copytree(folder / "0000", folder / "0005")
    raw = bytearray((folder / "0005" / "run.h5").read_bytes())
    (folder / "0005" / "run.h5").write_bytes(flip(len(raw) // 2, 0)(raw))
    sweep = qexp.open_sweep(folder)
    statuses = ["complete", "partial", "failed", "planned", "declared", "damaged"]
    assert [point.status for point in sweep.points] == statuses
    assert sweep.status == "partial"
    reasons = [point.reason for point in sweep.points]
    assert reasons[0] == ""
    assert "Queue was closed" in reasons[1]
    assert "Queue was closed" in reasons[2]
    assert reasons[3:5] == ["it is not sealed", "it was not run"]
    assert "not what was sealed" in reasons[5]
    assert [record["status"] for record in sweep.records] == statuses
    assert [record["reason"] for record in sweep.records] == reasons
    with pytest.raises(ArchiveError, match=r"point 4 of .* python -m qexp resume"):
        sweep[4]


@pytest.mark.parametrize(
    ("present", "status"), [([], "declared"), ([0], "planned"), ([0, 1], "planned")]
)
def test_a_sweep_of_which_nothing_ran(tmp_path: Path, present: list[int], status: str) -> None:
    folder = declare(tmp_path / "sweep", [{"n": 0}, {"n": 1}])
    for index in present:
        started(folder / f"{index:04d}")
    assert qexp.open_sweep(folder).status == status


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"holds no sweep: there is no sweep\.json"):
        qexp.open_sweep(tmp_path)
