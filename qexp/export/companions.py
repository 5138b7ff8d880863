"""Files beside an archive that belong to it: log, report, and analyses of its data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from qexp.archive.analyses import FOLDER, analysis_files, read_analysis
from qexp.archive.archive_file import beside
from qexp.archive.read import Archive
from qexp.errors import ArchiveError

_TITLES: Final = {"run.log": "Log of the run", "report.html": "Report of the run"}


def find_companions(run: Archive) -> tuple[dict[Path, str], list[str]]:
    """Find the files to publish with an archive.

    Links are left out, as they could bring in anything, and so is what `analysis/` holds of other
    runs or other data.

    Args:
        run: The archive, open.

    Returns:
        Path -> title of each file; and name and reason of each that is left out.
    """
    folder = run.path.parent
    analyses = beside(run.path, FOLDER)
    in_analyses = [analyses] if analyses.is_symlink() else sorted(analyses.glob("[!.]*"))
    titles = {beside(run.path, name): title for name, title in _TITLES.items()}
    found, left_out = {}, []
    for path in (*titles, *in_analyses):
        if not os.path.lexists(path):
            continue
        if reason := _reason_to_leave_out(path, run):
            left_out.append(f"{path.relative_to(folder).as_posix()} ({reason})")
        else:
            found[path] = titles.get(path, f"Analysis of the run: {path.name}")
    return found, left_out


def _reason_to_leave_out(path: Path, run: Archive) -> str:
    if path.is_symlink():
        return "a link"
    if path.parent == run.path.parent:
        return "" if path.is_file() else "no file"
    if path not in analysis_files(run.path).values():
        return "no analysis"
    try:
        attributes = read_analysis(path).attrs
    except ArchiveError:
        return "damaged"
    if attributes.get("run_id") != run.run_id:
        return "of another run"
    return "" if attributes.get("data_sha256") == run.data_sha256 else "of other data"
