"""Worker processes that plan and simulate, started when an experiment is large enough for them.

A server process imports the heavy modules, and every worker is a fork of it. Forking this process
would be quicker, but its threads (those of OpenMP and Rayon too) do not survive a fork, and the
locks that they hold stay locked. The server is not the one of `multiprocessing`, whose processes
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
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from typing import Any, NoReturn, Self, TypeVar
from uuid import uuid4

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

_KEPT_VALUES = 2
"""Shared values that a worker keeps: the one it plans with and the one it simulates with."""

_SERVER_ENDS_WITHIN_S = 10.0

T = TypeVar("T")


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class NotShareableError(Exception):
    """A value cannot be pickled, or is defined in the caller's `__main__`, which workers lack."""


class Shared:
    """A value that many tasks use: pickled once here, unpickled once in each worker.

    Args:
        value: The value; a worker keeps it, and what it has cached, from task to task.

    Raises:
        NotShareableError: Workers cannot get it.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key = uuid4().hex
        self.pickled = _pickle(value)


class Workers:
    """The worker processes of one experiment; they start with its first tasks.

    A context manager: no process is left when it exits.

    Args:
        count: Largest number of processes; 1: there are none, the caller does everything.

    Example:
        with Workers(2) as workers:
            list(workers.map(pow, Shared(2), [(10,), (11,)]))  # [1024, 2048]
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()
        self._has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def prepare(self) -> None:
        """Let the server import on another core while this process goes on."""
        if self.count > 1:
            _SERVER.start()

    def map(
        self, function: Callable[..., T], shared: Shared, tasks: Iterable[tuple[Any, ...]]
    ) -> Iterator[T]:
        """Call a module's function in the workers, with a value and the arguments of each task.

        A task that workers cannot get is done by the caller.

        Args:
            function: Called as `function(value, *task)`.
            shared: The value.
            tasks: A few are taken ahead, so that no worker waits.

        Returns:
            The results in the order of the tasks.

        Raises:
            EngineError: A worker process died.
        """
        ahead: deque[Callable[[], T]] = deque()
        for task in tasks:
            try:
                ahead.append(self.begin(function, shared, *task).result)
            except NotShareableError:
                ahead.append(partial(function, shared.value, *task))
            if len(ahead) > 2 * self.count:
                yield ahead.popleft()()
        while ahead:
            yield ahead.popleft()()

    def begin(self, function: Callable[..., T], shared: Shared, *arguments: Any) -> Future[T]:
        """Let a worker call `function(value, *arguments)` as soon as one has nothing else to do.

        Returns:
            The result to come. It raises what the function raises, and `EngineError` if the
            worker process dies.

        Raises:
            NotShareableError: Workers cannot get the arguments.
            EngineError: The processes were ended.
        """
        task = _Task(shared, _pickle((function, arguments)))
        with self._lock:
            if self._has_ended:
                raise self._died()
            self._tasks.put(task)
            if len(self._threads) < self.count:
                # A daemon, so that an interpreter that ends waits for no task.
                thread = threading.Thread(target=self._attend, name="qexp-worker", daemon=True)
                self._threads.append(thread)
                thread.start()
        return task.future

    def retire(self) -> None:
        """End each process once it has nothing to do; later tasks start new ones."""
        with self._lock:
            for _ in self._threads:
                self._tasks.put(None)
            self._threads = []

    def end(self) -> None:
        """End the processes for good, whatever they are doing."""
        with self._lock:
            self._has_ended = True
            workers = list(self._workers)
        for worker in workers:
            worker.kill()
        self.retire()

    def _attend(self) -> None:
        """Do tasks, in a thread, with one worker; one that dies costs its task and is replaced."""
        worker: _Worker | None = None
        while (task := self._tasks.get()) is not None:
            if not task.future.set_running_or_notify_cancel():
                continue
            try:
                worker = worker or self._hire()
                task.future.set_result(worker.do(task))
            except _Died:
                self._dismiss(worker)
                worker = None
                task.future.set_exception(self._died())
            except BaseException as error:
                task.future.set_exception(error)
            del task  # or the last one would be held until the next one comes
        self._dismiss(worker)

    def _hire(self) -> _Worker:
        if self._has_been_ended():
            raise _Died
        worker = _Worker()
        with self._lock:
            self._workers.add(worker)
        if self._has_been_ended():
            worker.kill()
        return worker

    def _has_been_ended(self) -> bool:
        # By another thread, at any time.
        return self._has_ended

    def _dismiss(self, worker: _Worker | None) -> None:
        if worker is not None:
            with self._lock:
                self._workers.discard(worker)
            worker.close()

    def _died(self) -> EngineError:
        if self._has_ended:
            return EngineError("the worker processes were ended before this was done")
        return EngineError(
            f"a worker process died, most likely for lack of memory; lower engine.workers "
            f"(now {self.count}) or the size of the circuits"
        )


def _pickle(value: Any) -> bytes:
    try:
        pickled = pickle.dumps(value)
    except Exception as error:
        raise NotShareableError(f"it cannot be pickled: {error}") from error
    # Classes and functions are pickled by name, and workers have another `__main__`.
    if b"__main__" in pickled:
        raise NotShareableError("it is defined in __main__")
    return pickled


@dataclass
class _Task:
    shared: Shared
    call: bytes
    future: Future[Any] = field(default_factory=Future)


class _Died(Exception):  # noqa: N818 - caught where it becomes an error for the user
    """A worker process, or the server, has ended."""


class _Worker:
    """One worker process and the connection to it.

    Raises:
        _Died: The server cannot fork it; `do` raises the same when the process has ended.
    """

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        try:
            self._process = _SERVER.fork(theirs.fileno())
            self._connection.send([str(folder) for folder in sys.path])
        except OSError as error:
            self._connection.close()
            raise _Died from error
        finally:
            theirs.close()
        self._known: deque[str] = deque(maxlen=_KEPT_VALUES)

    def do(self, task: _Task) -> Any:
        key = task.shared.key
        value = None if key in self._known else task.shared.pickled
        try:
            self._connection.send((key, value, task.call))
            result, error = pickle.loads(self._connection.recv_bytes())  # noqa: S301 - our worker
        except (EOFError, OSError) as broken:
            raise _Died from broken
        if error is not None:
            self._known.clear()
            raise error
        if value is not None:
            self._known.append(key)
        return result

    def kill(self) -> None:
        with suppress(OSError):
            _SERVER.kill(self._process)

    def close(self) -> None:
        self._connection.close()


class _Server:
    """The process that workers are forked from: it holds imports, and nothing of an experiment.

    There is one in a process, so that the points of a sweep share its imports. It ends with the
    process, however that ends, and its workers with it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._has_forked = False

    def start(self) -> None:
        """Start it, if it does not run."""
        with self._lock:
            self._start()

    def _start(self) -> socket.socket:
        # After a fork of this process, the server is the parent's.
        if self._control is not None and self._owner == os.getpid():
            if self._process is not None and self._process.poll() is None:
                return self._control
            self._end()
        ours, theirs = socket.socketpair()
        with theirs:
            code = (
                f"import sys; sys.path[:] = {list(map(str, sys.path))!r}; "
                f"from qexp.workers import serve; serve({theirs.fileno()})"
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
        self._owner, self._control, self._has_forked = os.getpid(), ours, False
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
            if self._control is not None and self._owner == os.getpid():
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
            if self._owner == os.getpid():
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


_SERVER = _Server()
atexit.register(_SERVER.end)

_MESSAGE_BYTES = 8


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
    # Not reaped before they are killed, so that no other process can get the id of one.
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
                    for old in list(values)[:-_KEPT_VALUES]:
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
