"""The runs of a folder, what was swept over them, and how good each was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME
from qexp.archive.verify import intact
from qexp.errors import ArchiveError, ConfigError
from qexp.listing.find import find_runs
from qexp.listing.read import summarise_sealed
from qexp.listing.summary import RunEntry, entry_without_data
from qexp.report.text import is_finite
from qexp.report.workload_results import MAX_PUBS, WorkloadResults, read_workload

MAX_RUNS = 500
_ALL_PUBS = 6000
"""PUBs of all runs of a sweep together that are compared with ideal distributions."""
_LEAST_PUBS = 8
_KEY = re.compile(r"\+{0,2}(?P<key>[^=~]+)=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class SweptRun:
    """One run of a sweep.

    Attributes:
        folder: Its folder.
        summary: Its summary; of a run that cannot be read, only why.
        title: Title as declared, or `""`.
        took_s: Seconds from its start to the end of its last job, None if not known.
        workloads: Its results.
    """

    folder: Path
    summary: RunEntry
    title: str = ""
    took_s: float | None = None
    workloads: tuple[WorkloadResults, ...] = ()

    def value(self, key: str) -> str:
        """Return the value of a key in its overrides, `""` where it was not set."""
        return dict(map(_override, self.summary.overrides)).get(key, "")


def read_sweep(folder: Path) -> tuple[SweptRun, ...]:
    """Read the runs below a folder, by path: those that `qexp.listing.find.find_runs` finds.

    Raises:
        ConfigError: There is no such folder, no run in it, or more than 500.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} does not exist; name a run, or a folder with runs")
    folders = sorted(run.folder for run in find_runs(folder))
    if not folders:
        raise ConfigError(
            f"{folder} holds no run: there is no {ARCHIVE_NAME} in it; name a run, or a folder "
            f"with runs, such as outputs/EXPERIMENT/SWEEP_ID"
        )
    if len(folders) > MAX_RUNS:
        raise ConfigError(
            f"{folder} holds {len(folders):,} runs, a page compares at most {MAX_RUNS}: name a "
            f"folder with fewer, such as one sweep"
        )
    most = max(_LEAST_PUBS, min(MAX_PUBS, _ALL_PUBS // len(folders)))
    return tuple(_read(run, most) for run in folders)


def swept_keys(runs: Sequence[SweptRun]) -> tuple[str, ...]:
    """Return the keys whose values differ between runs; the seed only if nothing else does."""
    readable = [run for run in runs if not run.summary.problem]
    keys = dict.fromkeys(_override(text)[0] for run in readable for text in run.summary.overrides)
    swept = [key for key in keys if len({run.value(key) for run in readable}) > 1]
    return tuple(key for key in swept if key != "seed") or tuple(swept)


def _read(folder: Path, max_pubs: int) -> SweptRun:
    try:
        if not (folder / ARCHIVE_NAME).is_file():
            problem = f"it is not sealed; python -m qexp resume {folder.name} goes on with it"
            return _unreadable(folder, problem)
        with open_archive(intact(folder)) as archive:
            summary = summarise_sealed(archive.path)
            workloads = [read_workload(archive, name, max_pubs) for name in archive.workloads]
        title = str(summary.metadata.get("title") or "")
        return SweptRun(folder, summary, title, summary.took_s, tuple(workloads))
    except PermissionError:
        return _unreadable(folder, "no permission to read its folder")
    except ArchiveError as error:
        # The page names no path of the machine it was made on.
        problem = str(error).replace(f"{folder}/", "").replace(str(folder), folder.name)
        return _unreadable(folder, problem)


def _unreadable(folder: Path, problem: str) -> SweptRun:
    return SweptRun(folder, entry_without_data(folder, "unreadable", problem))


def _override(text: str) -> tuple[str, str]:
    match = _KEY.fullmatch(text)
    return (match["key"], match["value"]) if match else (text, "")


def number_in(text: str) -> float | None:
    """Read a swept value that is a finite number, None for any other."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if is_finite(value) else None
