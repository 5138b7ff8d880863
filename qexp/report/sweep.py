"""The runs of a folder, what was swept over them, and how good each was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexp.archive.read import open_archive
from qexp.archive.schema import ARCHIVE_NAME
from qexp.archive.verify import intact
from qexp.errors import ArchiveError, ConfigError
from qexp.listing.find import find_runs
from qexp.report.samples import MAX_PUBS, Measured, measure
from qexp.report.text import is_finite, moment

if TYPE_CHECKING:
    from qexp.archive.read import Archive

MAX_RUNS = 500
_ALL_PUBS = 6000
"""PUBs of all runs of a sweep together that are compared with ideal distributions."""
_LEAST_PUBS = 8
_KEY = re.compile(r"\+{0,2}(?P<key>[^=~]+)=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        folder: Its folder.
        run_id: Its id, or the name of its folder.
        status: As in the archive, or `"unreadable"`.
        problem: Why it cannot be read, in one line, or `""`.
        overrides: Key -> value of its command line.
        measured: Its results, one per workload.
        title: As declared.
        num_jobs: Partitions that were planned; `num_done` have a result.
        usage_s: Charged, over all jobs.
        predicted_s: Predicted for a QPU.
        is_simulated: Whether usage is a simulation's time.
        elapsed_s: From the start of the run to the end of its last job, None if not known.
    """

    folder: Path
    run_id: str
    status: str
    problem: str = ""
    experiment: str = ""
    title: str = ""
    backend: str = ""
    seed: int = 0
    overrides: tuple[tuple[str, str], ...] = ()
    measured: tuple[Measured, ...] = ()
    num_jobs: int = 0
    num_done: int = 0
    usage_s: float = 0.0
    predicted_s: float = 0.0
    is_simulated: bool = True
    elapsed_s: float | None = None

    def value(self, key: str) -> str:
        """The value of a key in its overrides, `""` where it was not set."""
        return dict(self.overrides).get(key, "")


def read_sweep(folder: Path) -> tuple[Point, ...]:
    """The runs below a folder, by path: those that `qexp.listing.find.find_runs` finds.

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


def swept_keys(points: Sequence[Point]) -> tuple[str, ...]:
    """Keys whose values differ between the runs; the seed only if nothing else does."""
    readable = [point for point in points if not point.problem]
    keys = dict.fromkeys(key for point in readable for key, _ in point.overrides)
    found = [key for key in keys if len({point.value(key) for point in readable}) > 1]
    return tuple(key for key in found if key != "seed") or tuple(found)


def _read(folder: Path, max_pubs: int) -> Point:
    try:
        if not (folder / ARCHIVE_NAME).is_file():
            problem = f"it is not sealed; python -m qexp resume {folder.name} goes on with it"
            return Point(folder, folder.name, "unreadable", problem)
        with open_archive(intact(folder)) as archive:
            return _point(archive, folder, max_pubs)
    except PermissionError:
        return Point(folder, folder.name, "unreadable", "no permission to read its folder")
    except ArchiveError as error:
        # The page names no path of the machine it was made on.
        said = str(error).replace(f"{folder}/", "").replace(str(folder), folder.name)
        return Point(folder, folder.name, "unreadable", said)


def _point(archive: Archive, folder: Path, max_pubs: int) -> Point:
    from qexp.report.execution import is_simulated

    jobs = list(archive.jobs)
    partitions = archive.partitions
    ends = [end for end in (moment(job.finished) for job in jobs) if end is not None]
    start = moment(archive.created)
    return Point(
        folder,
        archive.run_id,
        archive.status,
        "",
        archive.experiment,
        str(archive.metadata.get("title") or ""),
        str(archive.backend["name"]),
        archive.seed,
        tuple(_override(text) for text in archive.overrides),
        tuple(measure(archive, workload, max_pubs) for workload in archive.workloads),
        len(partitions),
        len({job.partition for job in jobs if job.state == "DONE"}),
        archive.usage_s,
        sum(partition.qpu_s for partition in partitions),
        is_simulated(archive),
        (max(ends) - start).total_seconds() if ends and start else None,
    )


def _override(text: str) -> tuple[str, str]:
    match = _KEY.fullmatch(text)
    return (match["key"], match["value"]) if match else (text, "")


def number_in(text: str) -> float | None:
    """A swept value as a finite number, None where it is none."""
    try:
        value: Any = float(text)
    except ValueError:
        return None
    return float(value) if is_finite(value) else None
