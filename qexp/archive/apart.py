"""Read files in a process of its own: HDF5 never comes back from some damaged files.

The process reads one file after the other, so that its start is paid for once. One that does not
answer in time is killed, and so costs nothing but the file it was at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from importlib import import_module
from threading import Event, Timer
from types import TracebackType
from typing import Any, Self

from qexp.errors import ArchiveError


class ApartError(ArchiveError):
    """A file could not be read apart: it took too long, or ended the process that read it."""


class Apart:
    """Calls a function of one text in another process. A context manager.

    Args:
        function: `"module:name"` of a function of this package. It takes a text and yields plain
            JSON; an `ArchiveError` that it raises is raised here.
        *options: Further texts that it takes at each call.
    """

    def __init__(self, function: str, *options: str) -> None:
        self._command = [sys.executable, "-P", "-m", __name__, function, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def each(self, argument: str, patience_s: float) -> Generator[Any, None, None]:
        """What the function yields, as soon as it does.

        Args:
            argument: What it is called with.
            patience_s: How long it may take, in seconds.

        Raises:
            ArchiveError: The function raised it.
            ApartError: It did not end in time, or ended its process.
        """
        process = self._started()
        is_late, is_answered = Event(), False

        def stop() -> None:
            is_late.set()
            process.kill()

        timer = Timer(patience_s, stop)
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
            # Also where nobody took all that it said: the next answer must be to the next call.
            if is_late.is_set() or not is_answered:
                self._end()
        if not is_answered:
            how = f"took more than {patience_s:.0f} s" if is_late.is_set() else "ended the process"
            raise ApartError(f"{argument} cannot be read: reading it {how}.")

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


def call_apart(function: str, argument: str, patience_s: float, *options: str) -> Any:
    """The one value that a function yields in a process for this one call.

    Raises:
        ArchiveError: As `Apart.each`.
    """
    with Apart(function, *options) as apart:
        (value,) = apart.each(argument, patience_s)
        return value


def _answers(process: subprocess.Popen[bytes], argument: str) -> Iterator[tuple[str, Any]]:
    """What the process says to one argument: values, then `end` or `error`, unless it dies."""
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


def _serve(function: Callable[..., Iterator[Any]], *options: str) -> None:
    """Answer each line of the standard input."""
    for line in sys.stdin.buffer:
        argument = json.loads(line)
        try:
            for value in function(argument, *options):
                _say("value", value)
        except ArchiveError as error:
            _say("error", str(error))
        except Exception as error:
            # A flipped bit makes any name, type, shape or value, and so any exception.
            reason = " ".join(str(error).split()) or type(error).__name__
            _say("error", f"{argument} is damaged ({reason}): restore it from a copy.")
        else:
            _say("end", None)


def _say(kind: str, value: Any) -> None:
    sys.stdout.buffer.write(json.dumps([kind, value]).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    _serve(getattr(import_module(module), name), *sys.argv[2:])
