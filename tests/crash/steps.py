"""The steps of a run at which it can be killed: whatever touches its folder or the service.

Patched into the command line's own process, which otherwise runs as it is. A step is named by what
it does to which file (`write journal.jsonl Submitted`, `replace parts/job-N-N.h5`), and numbered
by how often that was done. It can be killed before it, after it, and, where it writes, halfway.
Descriptors are named by `/proc`, so this is for Linux.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

T = TypeVar("T")
Moment = Literal["before", "torn", "after"]
MOMENTS: tuple[Moment, ...] = get_args(Moment)
SignalName = Literal["SIGKILL", "SIGINT", "SIGTERM"]
SIGNALS: tuple[SignalName, ...] = get_args(SignalName)
SENT = "! "
"""How a line of a trace begins that says which signal was sent there."""
ANY = "*"
JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Kill:
    """One SIGKILL, or another signal after which the process goes on as it sees fit.

    Attributes:
        place: Name of the step; `ANY` counts all of them.
        occurrence: Which one of that name, from 1.
        moment: Before the step, in the middle of what it writes, or after it.
        signal: What is sent; only SIGKILL can tear what is written.
    """

    place: str
    occurrence: int = 1
    moment: Moment = "before"
    signal: SignalName = "SIGKILL"

    def __str__(self) -> str:
        sent = "" if self.signal == "SIGKILL" else f"!{self.signal}"
        return f"{self.place}@{self.occurrence}:{self.moment}{sent}"

    @classmethod
    def parse(cls, text: str) -> Kill:
        """The inverse of `str`."""
        rest, _, when = text.rpartition(":")
        place, _, occurrence = rest.rpartition("@")
        moment, _, sent = when.partition("!")
        sent = sent or "SIGKILL"
        if moment not in MOMENTS or sent not in SIGNALS or not place:
            raise ValueError(
                f"{text!r} is no kill; write PLACE@OCCURRENCE:{'|'.join(MOMENTS)}"
                f"[!{'|'.join(SIGNALS[1:])}]"
            )
        return cls(place, int(occurrence), moment, sent)


class Steps:
    """Counts the steps of this process, writes each to a trace, and ends it at one of them.

    Args:
        run_dir: Only what is in this folder counts.
        trace: File that gets a line for each step, before it is taken; the last line of a process
            that was killed is where it was.
        kill: Where to end, or None.
    """

    def __init__(self, run_dir: Path, trace: Path, kill: Kill | None) -> None:
        self._run_dir = os.path.realpath(run_dir)
        self._kill = kill
        self._seen: Counter[str] = Counter()
        self._write = os.write
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def take(
        self, place: str, proceed: Callable[[], T], tear: Callable[[], object] | None = None
    ) -> T:
        """Take one step; `tear` does the half of it."""
        self._seen[place] += 1
        self._seen[ANY] += 1
        self._write(self._trace, f"{place}{'~' if tear else ''}\n".encode())
        here = self._kill
        if here is None or here.place not in (place, ANY):
            return proceed()
        if self._seen[here.place] != here.occurrence:
            return proceed()
        if here.signal != "SIGKILL":
            return self._interrupt(here, proceed)
        if here.moment == "torn" and tear is not None:
            tear()
        if here.moment == "after":
            proceed()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("SIGKILL did not end the process")

    def _interrupt(self, here: Kill, proceed: Callable[[], T]) -> T:
        """Send a signal that the process may answer, before or after a step."""
        taken = [proceed()] if here.moment == "after" else []
        self._write(self._trace, f"{SENT}{here.signal}\n".encode())
        os.kill(os.getpid(), signal.Signals[here.signal])
        return taken[0] if taken else proceed()

    def name_of(self, path: Any, dir_fd: int | None = None) -> str | None:
        """A file's name as part of a step's name, or None if it is none of the run's."""
        where = self._locate(path, dir_fd)
        if where == self._run_dir:
            return "."
        if where is None or not where.startswith(self._run_dir + os.sep):
            return None
        return anonymous(where[len(self._run_dir) + 1 :])

    def _locate(self, path: Any, dir_fd: int | None) -> str | None:
        try:
            if isinstance(path, int):
                return os.readlink(f"/proc/self/fd/{path}").removesuffix(" (deleted)")
            folder = "" if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
            name = os.path.join(folder, os.fsdecode(path))
            # Not resolved to its end: a link is what is replaced or removed, not its target.
            parent, last = os.path.split(os.path.abspath(name))
            return os.path.join(os.path.realpath(parent), last)
        except (OSError, TypeError):
            return None


def anonymous(name: str) -> str:
    """A name without numbers and ids, so that equal steps are named equally."""
    name = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{6}-\d{4,}", "POINT", name)
    name = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}", "ID", name)
    return re.sub(r"\d+", "N", name.replace(".h5", ".hdf")).replace(".hdf", ".h5")


def install(steps: Steps) -> None:
    """Patch this process."""
    _patch_descriptors(steps)
    _patch_paths(steps)
    _patch_archive(steps)
    _patch_requests(steps)


def _patch_descriptors(steps: Steps) -> None:
    write, fsync = os.write, os.fsync
    event = ""

    def counted_write(fd: int, data: Any) -> int:
        nonlocal event
        name = steps.name_of(fd)
        if name is None:
            return write(fd, data)
        half = bytes(data)[: len(data) // 2]
        event = _event(data) if name == JOURNAL else event
        place = f"write {_with(name, event)}"
        return steps.take(place, lambda: write(fd, data), lambda: write(fd, half))

    def counted_fsync(fd: Any) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        name = steps.name_of(number)
        if name is None:
            fsync(fd)
        else:
            steps.take(f"fsync {_with(name, event)}", lambda: fsync(fd))

    os.write, os.fsync = counted_write, counted_fsync


def _event(line: Any) -> str:
    """The kind of event in a line of the journal."""
    return str(json.loads(bytes(line))["event"])


def _with(name: str, event: str) -> str:
    return f"{name} {event}" if name == JOURNAL else name


def _patch_paths(steps: Steps) -> None:
    # shutil.rmtree, tempfile and pathlib look these up in `os` when they are called.
    for name, subject in (
        ("replace", 1),
        ("rename", 1),
        ("unlink", 0),
        ("remove", 0),
        ("mkdir", 0),
        ("rmdir", 0),
        ("link", 1),
    ):
        setattr(os, name, _counted(steps, name, subject))

    def counted(method: Callable[..., int], encode: Callable[..., bytes]) -> Callable[..., int]:
        @functools.wraps(method)
        def write(self: Path, data: Any, *args: Any, **kwargs: Any) -> int:
            name = steps.name_of(self)
            if name is None:
                return method(self, data, *args, **kwargs)
            content = encode(data)
            return steps.take(
                f"write {name}",
                lambda: method(self, data, *args, **kwargs),
                lambda: _write_half(self, content),
            )

        return write

    Path.write_text = counted(Path.write_text, os.fsencode)  # type: ignore[method-assign]
    Path.write_bytes = counted(Path.write_bytes, bytes)  # type: ignore[method-assign]


def _write_half(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])


def _counted(steps: Steps, name: str, subject: int) -> Callable[..., Any]:
    function = getattr(os, name)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        dir_fd = kwargs.get("dir_fd", kwargs.get("dst_dir_fd"))
        found = steps.name_of(args[subject], dir_fd) if len(args) > subject else None
        if found is None:
            return function(*args, **kwargs)
        return steps.take(f"{name} {found}", lambda: function(*args, **kwargs))

    return call


def _patch_archive(steps: Steps) -> None:
    """HDF5 writes from C, in no Python function; these are the calls that make it write."""
    import h5py

    def in_run(item: Any) -> str | None:
        try:
            file = item.file
            return steps.name_of(file.filename) if file.driver != "core" else None
        except (ValueError, RuntimeError):
            return None

    def counted(owner: Any, method: str, verb: str) -> None:
        function = getattr(owner, method)

        @functools.wraps(function)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            name = in_run(self)
            if name is None:
                return function(self, *args, **kwargs)
            return steps.take(f"{verb} {name}", lambda: function(self, *args, **kwargs))

        setattr(owner, method, call)

    from qexp.archive import merge, netcdf, parts

    write = netcdf.write_rows

    def write_rows(target: Any, *args: Any, **kwargs: Any) -> None:
        steps.take(f"fill {in_run(target)}", lambda: write(target, *args, **kwargs))

    vars(netcdf)["write_rows"] = vars(parts)["write_rows"] = write_rows
    counted(h5py.File, "close", "close")
    counted(h5py.File, "flush", "flush")

    # Compressed chunks are copied past `write_rows`.
    copy = vars(merge)["copy_rows"]

    def copy_rows(source: Any, target: Any, *args: Any, **kwargs: Any) -> None:
        steps.take(f"copy to {in_run(target)}", lambda: copy(source, target, *args, **kwargs))

    vars(merge)["copy_rows"] = copy_rows


def _patch_requests(steps: Steps) -> None:
    """Before: the request is sent and no reply is read. After: it is read and nothing is done."""
    put, get = http.client.HTTPConnection.putrequest, http.client.HTTPConnection.getresponse
    asked: dict[int, str] = {}

    def putrequest(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        asked[id(self)] = (
            f"{method} {anonymous(url.partition('?')[0].rpartition('experimental')[2])}"
        )
        put(self, method, url, *args, **kwargs)

    def getresponse(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = asked.get(id(self), "")
        # How often the service is asked for states depends on the clock, so this is not counted.
        if not request or (request.startswith("GET") and not request.endswith("results")):
            return get(self, *args, **kwargs)
        return steps.take(f"reply {request}", lambda: get(self, *args, **kwargs))

    http.client.HTTPConnection.putrequest = putrequest  # type: ignore[method-assign]
    http.client.HTTPConnection.getresponse = getresponse  # type: ignore[method-assign]
