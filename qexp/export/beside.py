"""What lies beside an archive and belongs to it: log, report, and analyses of its data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from qexp.archive.analyses import FOLDER, analysis_files, read_analysis
from qexp.archive.read import Archive
from qexp.errors import ArchiveError

_TITLES: Final = {"run.log": "Log of the run", "report.html": "Report of the run"}


def files_beside(run: Archive) -> tuple[dict[Path, str], list[str]]:
    """Files to publish with an archive.

    Args:
        run: The archive, open.

    Returns:
        Path -> title of each file, and of each that was left out a few words: its name and why.
        Links are left out, as they could bring in anything, and so is what `analysis/` holds of
        other runs or other data.
    """
    folder = run.path.parent
    beside = [folder / name for name in _TITLES if os.path.lexists(folder / name)]
    reasons = {path: _why_not_beside(path) for path in beside}
    reasons |= {path: _why_not(path, run) for path in _in_analysis(folder / FOLDER)}
    found = {
        path: _TITLES.get(path.name, f"Analysis of the run: {path.name}")
        for path, reason in reasons.items()
        if not reason
    }
    left_out = [
        f"{path.relative_to(folder).as_posix()} ({reason})"
        for path, reason in reasons.items()
        if reason
    ]
    return found, left_out


def _why_not_beside(path: Path) -> str:
    if path.is_symlink():
        return "a link"
    return "" if path.is_file() else "no file"


def _in_analysis(folder: Path) -> list[Path]:
    if folder.is_symlink():
        return [folder]
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def _why_not(path: Path, run: Archive) -> str:
    if path.is_symlink():
        return "a link"
    if path not in analysis_files(run.path).values():
        return "no analysis"
    try:
        made_of = read_analysis(path).attrs
    except ArchiveError:
        return "damaged"
    if made_of.get("run_id") != run.run_id:
        return "of another run"
    return "" if made_of.get("data_sha256") == run.data_sha256 else "of other data"
