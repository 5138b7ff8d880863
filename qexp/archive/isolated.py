"""Read files in a child process with a time limit: HDF5 hangs on some damaged files.

The process reads one file after the other, so that its start is paid for once. One that does not
answer in time is killed, and so costs nothing but the file it was at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from threading import Event, Timer
from typing import Any, Self

from qexp.errors import ArchiveError
from qexp.text import one_line


class IsolatedError(ArchiveError):
    """A file could not be read in the child process: it took too long, or ended the process."""


class IsolatedReader:
    """Calls a function of one text in a child process. A context manager.

    Args:
        function: `"module:name"` of a function of this package. It takes a text and yields plain
            JSON; an `ArchiveError` that it raises is raised here.

    Example:
        >>> with IsolatedReader("glob:iglob") as reader:
        ...     list(reader.read("/", timeout_s=60))
        ['/']
    """

    def __init__(self, function: str) -> None:
        self._command = [sys.executable, "-P", "-m", __name__, function]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, argument: str, timeout_s: float) -> Iterator[Any]:
        """Yield what the function yields, as soon as it does.

        Args:
            argument: Argument of the function.
            timeout_s: How long it may take, in seconds.

        Raises:
            ArchiveError: The function raised it.
            IsolatedError: It did not end in time, or ended its process.
        """
        process = self._started()
        is_late, is_answered = Event(), False

        def stop() -> None:
            is_late.set()
            process.kill()

        timer = Timer(timeout_s, stop)
        timer.daemon = True
        timer.start()
        try:
            for kind, value in _answers(process, argument):
                is_answered = kind != "value"
                if kind == "error":
                    raise ArchiveError(value)
                if kind == "value":
                    yield value
        finally:
            timer.cancel()
            # Also where the caller did not take every value: the next answer is to the next call.
            if is_late.is_set() or not is_answered:
                self._end()
        if not is_answered:
            how = f"took more than {timeout_s:.0f} s" if is_late.is_set() else "ended the process"
            raise IsolatedError(f"{argument} cannot be read: reading it {how}")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Libraries complain of damaged files in lines of their own.
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def read_isolated(function: str, argument: str, timeout_s: float) -> Any:
    """Return the one value that a function yields in a child process for this call.

    Raises:
        ArchiveError: As `IsolatedReader.read`.
    """
    with IsolatedReader(function) as reader:
        (value,) = reader.read(argument, timeout_s)
        return value


def _answers(process: subprocess.Popen[bytes], argument: str) -> Iterator[tuple[str, Any]]:
    """Yield the replies to one argument: values, then `end` or `error`, unless the process dies."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):
        process.stdin.write(json.dumps(argument).encode("ascii") + b"\n")
        process.stdin.flush()
        while (line := process.stdout.readline()).endswith(b"\n"):
            kind, value = json.loads(line)
            yield kind, value
            if kind != "value":
                return


def _serve(function: Callable[[str], Iterator[Any]]) -> None:
    """Answer each line of the standard input."""
    for line in sys.stdin.buffer:
        argument = json.loads(line)
        try:
            for value in function(argument):
                _reply("value", value)
        except ArchiveError as error:
            _reply("error", str(error))
        except Exception as error:
            # A flipped bit makes any name, type, shape or value, and so any exception.
            reason = one_line(error) or type(error).__name__
            _reply("error", f"{argument} is damaged ({reason}): restore it from a copy")
        else:
            _reply("end", None)


def _reply(kind: str, value: Any) -> None:
    sys.stdout.buffer.write(json.dumps([kind, value]).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    _serve(getattr(import_module(module), name))
