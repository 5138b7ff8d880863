"""The server that forks worker processes, and the loop that runs in each of them.

The server imports the heavy modules once and runs nothing else. Forking the caller's process would
be quicker, but its threads (those of OpenMP and Rayon too) do not survive a fork, and the locks
that they hold stay locked. The server of `multiprocessing` will not do, because its processes
import the caller's `__main__`: a script without `if __name__ == "__main__":` would run again in
each of them.
"""

from __future__ import annotations

import atexit
import gc
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from importlib import import_module
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
    "h5py",
    "qexp.batch.submit",
    "qexp.planning.build",
    "qexp.engines.local.engine",
    "qexp.engines.local.chunks",
    "qexp.simulator.estimator",
    "qexp.simulator.sampler",
)
"""Modules that the server imports."""

KEPT_VALUES = 2
"""Shared values that a worker keeps: the one it plans with and the one it simulates with."""

_ENDS_WITHIN_S = 10.0


class ForkServer:
    """The one server of this process, so that the points of a sweep share its imports.

    It keeps nothing of an experiment, and ends with the process, however that ends.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin without a server: after a fork, the one that runs is the parent's."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._has_workers = False

    def start(self) -> socket.socket:
        """Start it, if it does not run; return the socket that it takes connections from."""
        with self._lock:
            if self._control is None or self._process is None or self._process.poll() is not None:
                self._process, self._control = _start_server()
            return self._control

    def fork_worker(self, connection: socket.socket) -> None:
        """Fork a worker for the other end of a connection, as soon as the server is ready.

        Raises:
            OSError: The server has ended.
        """
        socket.send_fds(self.start(), [b"."], [connection.fileno()])
        self._has_workers = True

    def end(self) -> None:
        """End it and its workers."""
        if self._control is not None and self._process is not None:
            self._control.close()
            if not self._has_workers:
                # It may still be importing, for nothing.
                self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDS_WITHIN_S)


SERVER = ForkServer()
atexit.register(SERVER.end)
os.register_at_fork(after_in_child=SERVER.forget)


def _start_server() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    code = (
        f"import sys; sys.path[:] = {[str(folder) for folder in sys.path]!r}; "
        f"from qexp.fork_server import serve; serve({theirs.fileno()})"
    )
    # Ctrl-C reaches the whole process group, and is ignored only once Python has started.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return process, ours


def serve(control: int) -> NoReturn:
    """Fork a worker for each connection that comes from a socket, until the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    gc.disable()  # imports leave no garbage; looking for it is a tenth of their time
    for name in PRELOADED:
        with suppress(Exception):
            import_module(name)
    gc.freeze()  # or workers would collect their garbage only once it is a quarter of all this
    gc.enable()
    # From Python 3.12 on; threads of libraries that are idle here do no harm.
    warnings.simplefilter("ignore", DeprecationWarning)
    workers: set[int] = set()
    with socket.socket(fileno=control) as requests:
        while (received := socket.recv_fds(requests, 1, 1))[0]:
            [connection] = received[1]
            workers -= {worker for worker in workers if os.waitpid(worker, os.WNOHANG)[0]}
            if worker := os.fork():
                workers.add(worker)
            else:
                requests.close()
                try:
                    _work(socket.socket(fileno=connection))
                finally:
                    os._exit(1)
            os.close(connection)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    os._exit(0)


def _work(connection: socket.socket) -> NoReturn:
    """Do tasks, in a worker, until the connection is closed.

    A task is `(key, value, call)`: the key of a shared value, the pickled value unless this worker
    has it, and the pickled `(function, arguments)`. The reply is `(result, error)`; the process id
    comes before the first one.
    """
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    # One core each: their threads would only wait for one another.
    os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    stream = connection.makefile("rwb")
    sys.path[:] = pickle.load(stream)  # noqa: S301 - as all of it, written by the parent
    pickle.dump(os.getpid(), stream)
    values: dict[str, Any] = {}
    while True:
        key, value, call = pickle.load(stream)  # noqa: S301
        try:
            if value is not None:
                values[key] = pickle.loads(value)  # noqa: S301
                values = dict(list(values.items())[-KEPT_VALUES:])
            function, arguments = pickle.loads(call)  # noqa: S301
            reply = pickle.dumps((function(values[key], *arguments), None))
        except BaseException as error:
            reply = pickle.dumps((None, _portable(error)))
        stream.write(reply)
        stream.flush()


def _end_with(connection: socket.socket) -> NoReturn:
    """End this process when the other end is closed, whatever it is doing."""
    closed = select.poll()
    # Without events, `poll` returns only when the other end has hung up.
    closed.register(connection, 0)
    closed.poll()
    os._exit(1)


def _portable(error: BaseException) -> BaseException:
    """Return an error that can be pickled; one that is no message for the user has a traceback."""
    if not isinstance(error, QexpError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:
        return EngineError(f"{type(error).__name__}: {error}")
    return error
