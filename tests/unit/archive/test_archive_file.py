from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from qexp.archive.analyses import analysis_files
from qexp.archive.archive_file import beside, locate
from qexp.errors import ArchiveError
from qexp.report.write import write_report


def test_another_file_of_a_run_names_its_archive(tmp_path: Path):
    (tmp_path / "run.h5").touch()
    for name in ("run.log", "journal.jsonl", "report.html"):
        for _ in range(2):
            with pytest.raises(ArchiveError, match=r"the archive of that run is .*/run\.h5$"):
                locate(tmp_path / name)
            (tmp_path / name).touch()
    with pytest.raises(ArchiveError, match="no such file"):
        locate(tmp_path / "mine.h5")


def test_what_is_made_of_archives_in_one_folder_is_apart(runs: Path, tmp_path: Path):
    first, *_ = sorted(runs.rglob("run.h5"))
    archives = [tmp_path / name for name in ("run.h5", "a.h5", "b.h5")]
    for archive in archives:
        shutil.copy(first, archive)
    pages = [write_report(archive) for archive in archives]
    assert [page.name for page in pages] == ["report.html", "a.report.html", "b.report.html"]
    for archive in archives:
        folder = beside(archive, "analysis")
        folder.mkdir()
        (folder / f"of_{archive.stem}.nc").touch()
    assert [list(analysis_files(archive)) for archive in archives] == [
        ["of_run"],
        ["of_a"],
        ["of_b"],
    ]
