"""The process that worker processes are forked from, and what runs in it and in them.

It imports the heavy modules, once, and runs nothing else. Forking the caller's process would be
quicker, but its threads (those of OpenMP and Rayon too) do not survive a fork, and the locks that
they hold stay locked. The fork server of `multiprocessing` will not do, because its processes
import the caller's `__main__`: a script without `if __name__ == "__main__":` would run again in
each of them.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from qexp.errors import EngineError, QexpError

PRELOADED = (
    "numpy",
    "qiskit",
    "qiskit.primitives",
    "qiskit.qpy",
    "qiskit.transpiler.preset_passmanagers",
    "qiskit_aer",
    "qexp.engines.local.preload",
    "h5netcdf",
    "qexp.batch.requests",
    "qexp.planning.chunks",
    "qexp.engines.local.chunks",
    "qexp.engines.local.engine",
    "qexp.engines.local.sampling",
    "qexp.engines.local.estimation",
)
"""Modules that the server imports."""

KEPT_VALUES = 2
"""Shared values that a worker keeps: the one it plans with and the one it simulates with."""

_SERVER_ENDS_WITHIN_S = 10.0
_MESSAGE_BYTES = 8


class ForkServer:
    """The process that workers are forked from: it holds imports, and nothing of an experiment.

    There is one in a process, so that the points of a sweep share its imports. It ends with the
    process, however that ends, and its workers with it.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin without a server; a process that was forked leaves that of its parent alone."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._has_forked = False

    def start(self) -> None:
        """Start it, if it does not run."""
        with self._lock:
            self._start()

    def _start(self) -> socket.socket:
        if self._control is not None:
            if self._process is not None and self._process.poll() is None:
                return self._control
            self._end()
        ours, theirs = socket.socketpair()
        with theirs:
            code = (
                f"import sys; sys.path[:] = {list(map(str, sys.path))!r}; "
                f"from qexp.fork_server import serve; serve({theirs.fileno()})"
            )
            # Until it ignores Ctrl-C, which reaches the whole process group.
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", code],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._control, self._has_forked = ours, False
        return ours

    def fork(self, connection: int) -> int:
        """Fork a worker that serves the other end of a connection; return its process id.

        Raises:
            OSError: The server has ended.
        """
        with self._lock:
            control = self._start()
            self._has_forked = True
            return self._ask(control, 0, [connection])

    def kill(self, process: int) -> None:
        """Kill a worker. The server does it, which knows whether the id is still that of a worker.

        Raises:
            OSError: The server has ended.
        """
        with self._lock:
            if self._control is not None:
                self._ask(self._control, process, [])

    def _ask(self, control: socket.socket, number: int, connections: list[int]) -> int:
        try:
            socket.send_fds(control, [_message(number)], connections)
            return _number(control.recv(_MESSAGE_BYTES))
        except BaseException:
            # A reply that was not read would be taken for that to the next request.
            self._end()
            raise

    def end(self) -> None:
        """End it and its workers."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            if not self._has_forked:
                # It may still be importing, for nothing.
                self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_SERVER_ENDS_WITHIN_S)
        self._control = self._process = None


SERVER = ForkServer()
atexit.register(SERVER.end)
os.register_at_fork(after_in_child=SERVER.forget)


def _message(number: int) -> bytes:
    return number.to_bytes(_MESSAGE_BYTES, "big")


def _number(message: bytes) -> int:
    if len(message) != _MESSAGE_BYTES:
        raise ConnectionError("the server of the worker processes has ended")
    return int.from_bytes(message, "big")


def serve(control: int) -> NoReturn:
    """Fork workers for the process at the other end of a socket, until that process ends.

    Each message is a process id to kill, or 0 and a connection for a new worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for name in PRELOADED:
        with suppress(Exception):
            import_module(name)
    # Reaped here alone, so that the id of one in this set is not that of another process.
    workers: set[int] = set()
    with socket.socket(fileno=control) as requests, suppress(OSError):
        while True:
            message, connections, _, _ = socket.recv_fds(requests, _MESSAGE_BYTES, 1)
            if not message:
                break
            if process := _number(message):
                _kill(workers & {process})
                workers.discard(process)
            else:
                workers -= {worker for worker in workers if os.waitpid(worker, os.WNOHANG)[0]}
                process = _fork(requests, *connections)
                workers.add(process)
            requests.send(_message(process))
    _kill(workers)
    os._exit(0)


def _kill(processes: Iterable[int]) -> None:
    for process in processes:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _fork(requests: socket.socket, connection: int) -> int:
    with warnings.catch_warnings():
        # From Python 3.12 on; threads of libraries that are idle here do no harm.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        os.close(connection)
        return process
    try:
        requests.close()
        _work(Connection(connection))
    finally:
        os._exit(1)


def _work(tasks: Connection) -> None:
    """Do tasks, in a worker, until the connection ends."""
    # One core each: their threads would only wait for one another.
    os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    values: dict[str, Any] = {}
    with suppress(EOFError, OSError):
        sys.path[:] = tasks.recv()
        while True:
            key, pickled, call = tasks.recv()
            try:
                if pickled is not None:
                    values.pop(key, None)
                    values[key] = pickle.loads(pickled)  # noqa: S301 - written by the parent
                    for old in list(values)[:-KEPT_VALUES]:
                        del values[old]
                function, arguments = pickle.loads(call)  # noqa: S301 - written by the parent
                reply = pickle.dumps((function(values[key], *arguments), None))
            except BaseException as error:
                reply = pickle.dumps((None, _portable(error)))
            tasks.send_bytes(reply)


def _portable(error: BaseException) -> BaseException:
    """An error as the parent can get it; one that is no message for the user has its traceback."""
    if not isinstance(error, QexpError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - just written
    except Exception:
        return EngineError(f"{type(error).__name__}: {error}")
    return error
