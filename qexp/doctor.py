"""Checks of this machine, for `python -m qexp doctor`: versions, clock, files, memory, workers.

None makes a request; those of IBM's service are in `qexp/engines/ibm/doctor.py`.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from qexp.core.findings import Finding, UnfitError, examine
from qexp.text import format_bytes, typed_reason

if TYPE_CHECKING:
    from qexp.workers import Workers

_DISTRIBUTION = "qexp"
_ANSWERS_WITHIN_S = 60.0
"""Longest time until workers answer, or a small file is written and read: a slow disk included."""
_SHARED_BYTES = 1_000_000
_WORKERS = 2


def check_machine(folder: Path) -> Iterator[Finding]:
    """Yield one finding after the other, quick ones first; never raises.

    If there is no folder for runs, the one in which it would be made is tried.
    """
    from qexp.engines.ibm.doctor import check_account
    from qexp.workers import Workers

    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with Workers(_WORKERS) as workers:
        with suppress(Exception):
            # Its imports take longest: they run beside the other checks. The last one says more.
            workers.prepare()
        for name, check, advice in (
            ("versions", _check_versions, "python -m pip install -e . in a clone of qexp"),
            ("clock", _check_clock, "set the clock, as by 'timedatectl set-ntp true'"),
            (
                "HDF5",
                partial(_check_hdf5, existing),
                "run in another folder; on a disk without locks set HDF5_USE_FILE_LOCKING=FALSE",
            ),
            (
                "shared memory",
                _check_shared_memory,
                "mount /dev/shm; in Docker: --shm-size=1g",
            ),
            ("IBM account", check_account, "save the account again, with overwrite=True"),
            (
                "workers",
                partial(_check_workers, workers),
                "set engine.workers=1: everything runs in one process, more slowly",
            ),
        ):
            yield examine(name, check, advice)


def _check_versions() -> str:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    needed, python = metadata.metadata(_DISTRIBUTION)["Requires-Python"], platform.python_version()
    if not SpecifierSet(needed).contains(python, prereleases=True):
        advice = "install qexp with another Python, as in README.md"
        raise UnfitError(f"Python is {python}, but {needed} is needed", advice=advice)
    given = [Requirement(text) for text in metadata.requires(_DISTRIBUTION) or ()]
    unfit = {}
    for each in given:
        if each.marker and not each.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(each.name)
            if not each.specifier.contains(version, prereleases=True):
                unfit[each] = f"{each.name} is {version}, but {each.specifier} is needed"
        except metadata.PackageNotFoundError:
            unfit[each] = f"{each.name} is not installed"
    if unfit:
        install = " ".join(f"'{each.name}{each.specifier}'" for each in unfit)
        raise UnfitError("; ".join(unfit.values()), advice=f"python -m pip install {install}")
    names = (_DISTRIBUTION, "qiskit", "qiskit-ibm-runtime")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return f"{versions}, Python {python} on {platform.platform(terse=True)}; all packages fit"


def _check_clock() -> str:
    now, zone = datetime.now(UTC), datetime.now().astimezone().tzname()
    text = f"{now:%Y-%m-%d %H:%M} UTC, time zone {zone or 'unknown'}"
    if now < datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC):
        raise UnfitError(f"{text}: before qexp was installed")
    return text


def _check_hdf5(folder: Path) -> str:
    from qexp.archive.isolated import read_isolated

    with TemporaryDirectory(prefix=".qexp-doctor-", dir=folder) as name:
        versions = read_isolated("qexp.archive.probe:probe", name, _ANSWERS_WITHIN_S)
    return f"written, sealed and read back in {folder}; {versions}"


def _check_shared_memory() -> str:
    from multiprocessing.shared_memory import SharedMemory

    try:
        block = SharedMemory(create=True, size=_SHARED_BYTES)
    except OSError as error:
        found = f"none ({typed_reason(error)}); only code of yours that uses it needs any"
        raise UnfitError(found, "warning") from None
    block.close()
    block.unlink()
    return f"{format_bytes(_SHARED_BYTES)} can be had"


def _check_workers(workers: Workers) -> str:
    from qexp.workers import Shared, available_cores

    two = Shared(2)
    answers = [workers.begin(pow, two, exponent) for exponent in range(2 * _WORKERS)]
    until_s = time.monotonic() + _ANSWERS_WITHIN_S
    try:
        for answer in answers:
            answer.result(max(0.0, until_s - time.monotonic()))
    except TimeoutError:
        found = f"worker processes do not answer within {_ANSWERS_WITHIN_S:.0f} s"
        raise UnfitError(found) from None
    return f"worker processes answer; {available_cores()} cores"
