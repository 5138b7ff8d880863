"""Read files in a child process with a time limit: HDF5 hangs on some damaged files.

One process reads all files, because starting it takes longest. If it does not answer in time, it is
killed, and only that file is lost.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from threading import Timer
from time import monotonic
from typing import Any, Self

from qexp.errors import ArchiveError
from qexp.text import error_reason


class IsolatedError(ArchiveError):
    """Reading a file took too long, or ended the child process."""


class IsolatedReader:
    """A context manager that calls a function in a child process.

    Args:
        function: `"module:name"` of a function that takes a string and yields plain JSON; an
            `ArchiveError` that it raises is raised here.
        *options: Further strings that it takes at each call.

    Example:
        >>> with IsolatedReader("glob:iglob") as reader:
        ...     list(reader.read("/", timeout_s=60))
        ['/']
    """

    def __init__(self, function: str, *options: str) -> None:
        self._command = [sys.executable, "-P", "-m", __name__, function, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, argument: str, timeout_s: float) -> Iterator[Any]:
        """Yield what the function yields for an argument, as soon as it does.

        Raises:
            ArchiveError: The function raised it.
            IsolatedError: It did not end in time, or ended its process.
        """
        if self._process is None:
            # Libraries print lines of their own about damaged files.
            pipe, null = subprocess.PIPE, subprocess.DEVNULL
            self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=null)
        deadline = monotonic() + timeout_s
        timer = Timer(timeout_s, self._process.kill)
        timer.daemon = True
        timer.start()
        kind = ""
        try:
            for kind, value in _replies(self._process, argument):
                if kind == "error":
                    raise ArchiveError(value)
                if kind == "value":
                    yield value
        finally:
            timer.cancel()
            is_late = monotonic() >= deadline
            # Ended too if the caller stopped early: the next call must not get these replies.
            if is_late or kind not in ("error", "end"):
                self._end()
        if kind != "end":
            how = f"took more than {timeout_s:.0f} s" if is_late else "ended the process"
            raise IsolatedError(f"{argument} cannot be read: reading it {how}")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def read_isolated(function: str, argument: str, timeout_s: float, *options: str) -> Any:
    """Return the one value that a function yields in a child process, see `IsolatedReader`."""
    with IsolatedReader(function, *options) as reader:
        (value,) = reader.read(argument, timeout_s)
        return value


def _replies(process: subprocess.Popen[bytes], argument: str) -> Iterator[tuple[str, Any]]:
    """Yield the replies to one argument: values, then `end` or `error`, unless the process dies."""
    assert process.stdin is not None
    assert process.stdout is not None
    kind = "value"
    with suppress(OSError):
        process.stdin.write(json.dumps(argument).encode("ascii") + b"\n")
        process.stdin.flush()
        while kind == "value" and (line := process.stdout.readline()).endswith(b"\n"):
            kind, value = json.loads(line)
            yield kind, value


def _serve(function: Callable[..., Iterator[Any]], *options: str) -> None:
    """Answer each line of the standard input."""
    for line in sys.stdin.buffer:
        argument = json.loads(line)
        try:
            for value in function(argument, *options):
                _reply("value", value)
        except ArchiveError as error:
            _reply("error", str(error))
        except Exception as error:
            # A flipped bit makes any name, type, shape or value, and so any exception.
            reason = f"{argument} is damaged ({error_reason(error)}): restore it from a copy"
            _reply("error", reason)
        else:
            _reply("end", None)


def _reply(kind: str, value: Any) -> None:
    sys.stdout.buffer.write(json.dumps([kind, value]).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    _serve(getattr(import_module(module), name), *sys.argv[2:])
