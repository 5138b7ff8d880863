"""Checks of this machine, for `python -m qexp doctor`: versions, workers, files, memory, clock.

Each check returns a finding, or raises: an error is a finding, too. None makes a request; those of
IBM's service are in `qexp/engines/ibm/doctor.py`.
"""

from __future__ import annotations

import platform
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from qexp.core.findings import Finding
from qexp.errors import RunLockedError
from qexp.text import format_bytes, typed_reason

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from qexp.workers import Workers

_DISTRIBUTION = "qexp"
_INSTALL = "python -m pip install -e . in a clone of qexp"
_ANSWERS_WITHIN_S = 60.0
"""Longest time until workers answer, or a small file is written and read: a slow disk included."""
_LITTLE_BYTES, _TOO_LITTLE_BYTES = 1_000_000_000, 50_000_000
_SHARED_BYTES = 1_000_000
_WORKERS = 2


def check_machine(folder: Path) -> Iterator[Finding]:
    """Yield one finding after the other, quick ones first; never raises.

    Args:
        folder: The folder for runs; if there is none, the one in which it would be made is tried.
    """
    from qexp.engines.ibm.account import check_account
    from qexp.workers import Workers

    with Workers(_WORKERS) as workers:
        # Its imports take longest: they run beside the other checks.
        failure = _attempt("workers", workers.prepare)
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        checks: tuple[tuple[str, Callable[[], Finding]], ...] = (
            ("python", _check_python),
            ("packages", _check_packages),
            ("clock", _check_clock),
            ("signals", _check_signals),
            ("disk space", lambda: _check_space(existing)),
            ("locks", lambda: _check_locks(existing)),
            ("HDF5", lambda: _check_hdf5(existing)),
            ("shared memory", _check_shared_memory),
            ("IBM account", check_account),
            ("workers", lambda: failure or _check_workers(workers)),
        )
        for name, check in checks:
            yield _attempt(name, check) or Finding(name, "ok", "")


def _attempt(name: str, check: Callable[[], Finding | None]) -> Finding | None:
    """Do a check; an error that it does not expect is a problem, with the advice for its name."""
    try:
        return check()
    except Exception as error:
        return Finding(name, "problem", typed_reason(error), _ADVICE.get(name, ""))


_ADVICE = {
    "packages": _INSTALL,
    "locks": "run in a folder on a disk that can be written and has locks (not every NFS has)",
    "HDF5": "run in another folder; on a disk without locks set HDF5_USE_FILE_LOCKING=FALSE",
    "disk space": "run in another folder",
    "shared memory": "mount /dev/shm; in Docker: --shm-size=1g",
    "workers": "set engine.workers=1: everything runs in one process, more slowly",
}


def _check_python() -> Finding:
    from packaging.specifiers import SpecifierSet

    needed = metadata.metadata(_DISTRIBUTION)["Requires-Python"]
    version = platform.python_version()
    found = f"{version} on {platform.platform(terse=True)}; {needed} is needed"
    if SpecifierSet(needed).contains(version, prereleases=True):
        return Finding("python", "ok", found)
    return Finding("python", "problem", found, "install qexp with another Python, as in README.md")


def _check_packages() -> Finding:
    from packaging.requirements import Requirement

    given = [Requirement(text) for text in metadata.requires(_DISTRIBUTION) or ()]
    needed = [each for each in given if not each.marker or each.marker.evaluate({"extra": ""})]
    unfit = {f"{each.name}{each.specifier}": found for each in needed if (found := _unfit(each))}
    if unfit:
        install = " ".join(f"'{requirement}'" for requirement in unfit)
        return Finding(
            "packages", "problem", "; ".join(unfit.values()), f"python -m pip install {install}"
        )
    versions = f"qexp {metadata.version(_DISTRIBUTION)}, qiskit {metadata.version('qiskit')}"
    client = f"qiskit-ibm-runtime {metadata.version('qiskit-ibm-runtime')}"
    return Finding("packages", "ok", f"{versions}, {client}; all {len(needed)} fit")


def _unfit(requirement: Requirement) -> str:
    """Say what is wrong with an installed package; an empty text if it fits."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(version, prereleases=True):
        return ""
    return f"{requirement.name} is {version}, but {requirement.specifier} is needed"


def _check_clock() -> Finding:
    now, zone = datetime.now(UTC), datetime.now().astimezone().tzname()
    installed = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    first, second = time.monotonic(), time.monotonic()
    text = f"{now:%Y-%m-%d %H:%M} UTC, time zone {zone or 'unknown'}"
    set_it = "set the clock, as by 'timedatectl set-ntp true'"
    if now < installed:
        return Finding("clock", "problem", f"{text}: before qexp was installed", set_it)
    if second < first or not time.get_clock_info("monotonic").monotonic:
        return Finding("clock", "problem", f"{text}; its monotonic clock runs backwards", set_it)
    if not zone:
        return Finding("clock", "warning", text, "set TZ, as in TZ=UTC")
    return Finding("clock", "ok", f"{text}; monotonic")


def _check_signals() -> Finding:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return Finding(
            "signals",
            "warning",
            "Ctrl-C (SIGINT) is ignored by what started this process",
            "stop a run by SIGTERM, as in 'kill PID'",
        )
    return Finding("signals", "ok", "Ctrl-C and SIGTERM stop a run in order")


def _check_space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    found, advice = f"{format_bytes(free)} free in {folder}", "make room, or run in another folder"
    if free < _TOO_LITTLE_BYTES:
        return Finding("disk space", "problem", found, advice)
    if free < _LITTLE_BYTES:
        return Finding("disk space", "warning", found, advice)
    return Finding("disk space", "ok", found)


def _check_locks(folder: Path) -> Finding:
    from qexp.journal.lock import lock_folder

    with TemporaryDirectory(prefix=".qexp-doctor-", dir=folder) as name, lock_folder(Path(name)):
        try:
            with lock_folder(Path(name)):
                found = f"two processes could work on one run in {folder}: locks do nothing there"
                return Finding("locks", "problem", found, _ADVICE["locks"])
        except RunLockedError:
            return Finding("locks", "ok", f"a folder in {folder} is locked for one process")


def _check_hdf5(folder: Path) -> Finding:
    from qexp.archive.isolated import read_isolated

    with TemporaryDirectory(prefix=".qexp-doctor-", dir=folder) as name:
        versions = read_isolated("qexp.archive.probe:probe", name, _ANSWERS_WITHIN_S)
    return Finding("HDF5", "ok", f"written, sealed and read back in {folder}; {versions}")


def _check_shared_memory() -> Finding:
    from multiprocessing.shared_memory import SharedMemory

    try:
        block = SharedMemory(create=True, size=_SHARED_BYTES)
    except OSError as error:
        found = f"none ({typed_reason(error)}); only code of yours that uses it needs any"
        return Finding("shared memory", "warning", found, _ADVICE["shared memory"])
    try:
        assert block.buf is not None
        block.buf[:4] = b"qexp"
    finally:
        block.close()
        block.unlink()
    return Finding("shared memory", "ok", f"{format_bytes(_SHARED_BYTES)} written")


def _check_workers(workers: Workers) -> Finding:
    from qexp.workers import Shared, available_cores

    two = Shared(2)
    answers = [workers.begin(pow, two, exponent) for exponent in range(2 * _WORKERS)]
    until_s = time.monotonic() + _ANSWERS_WITHIN_S
    try:
        for answer in answers:
            answer.result(max(0.0, until_s - time.monotonic()))
    except TimeoutError:
        found = f"worker processes do not answer within {_ANSWERS_WITHIN_S:.0f} s"
        return Finding("workers", "problem", found, _ADVICE["workers"])
    return Finding("workers", "ok", f"worker processes answer; {available_cores()} cores")
