"""Read files in a process of its own: HDF5 never comes back from some damaged files.

The process reads one file after the other, so that its start is paid for once. One that does not
answer in time is killed, and so costs nothing but the file it was at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
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
        function: `"module:name"` of a function of this package. It takes a text and returns plain
            JSON; an `ArchiveError` that it raises is raised here.
    """

    def __init__(self, function: str) -> None:
        self._command = [sys.executable, "-P", "-m", __name__, function]
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

    def call(self, argument: str, patience_s: float) -> Any:
        """What the function returns.

        Args:
            argument: What it is called with.
            patience_s: How long it may take, in seconds.

        Raises:
            ArchiveError: The function raised it.
            ApartError: It did not end in time, or ended its process.
        """
        process = self._started()
        is_over = Event()

        def stop() -> None:
            is_over.set()
            process.kill()

        timer = Timer(patience_s, stop)
        timer.daemon = True
        timer.start()
        try:
            answer = self._asked(process, argument)
        finally:
            timer.cancel()
        if not answer.endswith(b"\n"):
            self._end()
            how = f"took more than {patience_s:.0f} s" if is_over.is_set() else "ended the process"
            raise ApartError(f"{argument} cannot be read: reading it {how}.")
        kind, value = json.loads(answer)
        if kind == "error":
            raise ArchiveError(value)
        return value

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

    @staticmethod
    def _asked(process: subprocess.Popen[bytes], argument: str) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(argument).encode("ascii") + b"\n")
            process.stdin.flush()
            return process.stdout.readline()
        except OSError:
            return b""

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def call_apart(function: str, argument: str, patience_s: float) -> Any:
    """`Apart.call` in a process for this one call.

    Raises:
        ArchiveError: As `Apart.call`.
    """
    with Apart(function) as apart:
        return apart.call(argument, patience_s)


def _serve(function: Callable[[str], Any]) -> None:
    """Answer each line of the standard input with one line."""
    for line in sys.stdin.buffer:
        try:
            answer = ["value", function(json.loads(line))]
        except ArchiveError as error:
            answer = ["error", str(error)]
        except Exception as error:
            # A flipped bit makes any name, type, shape or value, and so any exception.
            answer = ["error", f"It cannot be read ({' '.join(str(error).split())})."]
        sys.stdout.buffer.write(json.dumps(answer).encode("ascii") + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    _serve(getattr(import_module(module), name))
