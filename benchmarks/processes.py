"""One command as a whole tree of processes: wall time, CPU time and peak memory of all of it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_INTERVAL_S = 0.02
_SAMPLES_PER_SEARCH = 20
_WORTH_A_LOOK = 1.02
_PR_SET_CHILD_SUBREAPER = 36
_LAST_LINES = 3
_PAGE_BYTES = resource.getpagesize()
_MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Usage:
    """What one execution of a command took.

    Attributes:
        wall_s: From its start to its end.
        cpu_s: User and system time of all its processes, orphans included.
        peak_bytes: Most memory at one moment, summed over all its processes.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int


def measure(
    command: Sequence[str],
    folder: Path,
    *,
    exit_code: int = 0,
) -> Usage:
    """Execute a command once and wait for every process of its group.

    CPU time is the kernel's own account. On Linux, memory is that of `memory_bytes`, looked at
    whenever the sum of the resident set sizes, sampled every 20 ms, is 2 % above the highest
    before; and never less than the largest process's own peak, which the kernel keeps (where that
    is above this process's own, with which a child begins). Elsewhere it is the latter alone, and
    orphans are not waited for.

    Args:
        command: Program and arguments.
        folder: Where it is executed.
        exit_code: What it is expected to exit with.

    Raises:
        RuntimeError: It exits with something else; its last words are in the message.
    """
    with tempfile.TemporaryFile() as output, _adopting_orphans():
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ended, cpu_s, largest_bytes = start, 0.0, 0
        with _killed_on_error(process), Meter(process.pid) as meter:
            for pid, status, used in _reaped(process.pid):
                cpu_s += used.ru_utime + used.ru_stime
                largest_bytes = max(largest_bytes, used.ru_maxrss * _MAXRSS_UNIT_BYTES)
                if pid == process.pid:
                    ended = time.perf_counter()
                    process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != exit_code:
            raise RuntimeError(
                f"{' '.join(command)}: exited with {process.returncode}, not {exit_code}: "
                f"{_last_words(output)}"
            )
    # Read afterwards, as this process may grow until the child begins; the kernel's count is rough.
    inherited_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT_BYTES
    known_bytes = largest_bytes if largest_bytes > inherited_bytes * _WORTH_A_LOOK else 0
    return Usage(ended - start, cpu_s, max(meter.peak_bytes, known_bytes))


class Meter:
    """Samples the memory of a process group until it is left.

    Args:
        group: Id of the process group.
    """

    def __init__(self, group: int) -> None:
        self.peak_bytes = 0
        self._group = group
        self._highest_rss = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        pids: list[int] = []
        count = 0
        while not self._over.wait(_INTERVAL_S):
            if count % _SAMPLES_PER_SEARCH == 0:
                pids = members(self._group)
            count += 1
            self.look(pids)

    def look(self, pids: Sequence[int]) -> None:
        """Take note of the memory of some processes, if it has grown."""
        rss = sum(map(_resident_bytes, pids))
        if rss > self._highest_rss * _WORTH_A_LOOK:
            self._highest_rss = rss
            self.peak_bytes = max(self.peak_bytes, memory_bytes(pids))


def members(group: int) -> list[int]:
    """Ids of the living processes of a process group; none where there is no `/proc`."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        with suppress(OSError, ValueError), open(f"/proc/{int(name)}/stat") as stat:
            # The command's name, in parentheses, may hold blanks.
            state, _, process_group = stat.read().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state != "Z":
                found.append(int(name))
    return found


def memory_bytes(pids: Sequence[int]) -> int:
    """Memory of processes that share some of it; those that have ended have none.

    What they wrote themselves, shared pages in proportion to the processes that share them; and
    the mapped files of the process that maps most, as the others map mostly the same. So
    processes of others that use the same libraries make no difference.
    """
    own = sum(_kilobytes(pid, "smaps_rollup", "Pss_Anon:", "Pss_Shmem:") for pid in pids)
    files = max((_kilobytes(pid, "status", "RssFile:") for pid in pids), default=0)
    return (own + files) * 1024


def _kilobytes(pid: int, file: str, *fields: str) -> int:
    with suppress(OSError), open(f"/proc/{pid}/{file}") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith(fields))
    return 0


def _resident_bytes(pid: int) -> int:
    with suppress(OSError), open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES
    return 0


def _reaped(group: int) -> Iterator[tuple[int, int, resource.struct_rusage]]:
    """Every process of a group that is a child of this one, as it ends."""
    with suppress(ChildProcessError):
        while True:
            yield os.wait4(-group, 0)


@contextmanager
def _killed_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Be the parent of descendants that lose theirs, so that the kernel tells what they used."""
    if sys.platform != "linux":
        yield
        return
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _last_words(output: IO[bytes]) -> str:
    output.seek(0)
    lines = output.read().decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-_LAST_LINES:]) or "it said nothing"
