"""Worker processes that plan and simulate, started when an experiment is large enough for them."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, Self, TypeVar
from uuid import uuid4

from qexp.errors import EngineError
from qexp.fork_server import KEPT_VALUES, SERVER

T = TypeVar("T")


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def import_qiskit() -> None:
    """Import Qiskit in a thread that never ends, unless this is the main thread.

    Qiskit's allocator takes the thread that imports it first for the main thread, and the process
    crashes once that thread has ended.
    """
    if "qiskit" in sys.modules or threading.current_thread() is threading.main_thread():
        return
    imported, never = threading.Event(), threading.Event()

    def import_and_stay() -> None:
        try:
            import qiskit  # noqa: F401
        finally:
            imported.set()
        never.wait()

    threading.Thread(target=import_and_stay, name="qexp-qiskit", daemon=True).start()
    imported.wait()


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep Python from looking for cycles of garbage, which circuits hardly make, for a while.

    Each look passes over all circuits that are held: a tenth of the time of a plan.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class NotShareableError(Exception):
    """A value cannot be pickled, or is defined in the caller's `__main__`, which workers lack."""


class Shared:
    """A value that many tasks use: pickled once here, unpickled once in each worker.

    A worker keeps it from task to task, with everything that it has cached.

    Raises:
        NotShareableError: It cannot be sent to workers.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key = uuid4().hex
        self.pickled = _pickle(value)


class Workers:
    """At most `count` worker processes of one experiment, which start with its first tasks.

    A context manager: the processes end when it exits. With one, there are none, and the caller
    does everything.

    Example:
        with Workers(2) as workers:
            list(workers.map(pow, Shared(2), [(10,), (11,)]))  # [1024, 2048]
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._num_threads = 0
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()
        self._has_ended = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def prepare(self) -> None:
        """Start the server early: it imports on another core while this process goes on."""
        if self.count > 1:
            SERVER.start()

    def map(
        self, function: Callable[..., T], shared: Shared, tasks: Iterable[tuple[Any, ...]]
    ) -> Iterator[T]:
        """Call a module's `function(value, *task)` in the workers, in the order of the tasks.

        A few tasks are taken ahead, so that no worker waits. One that cannot be sent to workers is
        done by the caller.

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
        """Let a worker call `function(value, *arguments)` as soon as one is free; return a future.

        Its result raises what the function raises, and `EngineError` if the worker process dies.

        Raises:
            NotShareableError: The arguments cannot be sent to workers.
            EngineError: The processes were ended.
        """
        task = _Task(shared, _pickle((function, arguments)))
        with self._lock:
            if self._has_ended.is_set():
                raise self._death()
            self._tasks.put(task)
            if self._num_threads < self.count:
                self._num_threads += 1
                # A daemon, so that an interpreter that ends waits for no task.
                threading.Thread(target=self._attend, name="qexp-worker", daemon=True).start()
        return task.future

    def retire(self) -> None:
        """End each process once it is idle; later tasks start new ones."""
        with self._lock:
            for _ in range(self._num_threads):
                self._tasks.put(None)
            self._num_threads = 0

    def end(self) -> None:
        """End the processes for good, whatever they are doing."""
        with self._lock:
            self._has_ended.set()
            for worker in self._workers:
                worker.hang_up()
        self.retire()

    def _attend(self) -> None:
        """Do tasks, in a thread, with one worker; one that dies costs its task and is replaced."""
        worker: _Worker | None = None
        while (task := self._tasks.get()) is not None:
            if task.future.set_running_or_notify_cancel():
                try:
                    worker = worker or self._hire()
                    task.future.set_result(worker.do(task))
                except _Died:
                    self._dismiss(worker)
                    worker = None
                    task.future.set_exception(self._death())
                except BaseException as error:
                    task.future.set_exception(error)
            del task  # or its result would be held until the next one comes
        self._dismiss(worker)

    def _hire(self) -> _Worker:
        with self._lock:
            if self._has_ended.is_set():
                raise _Died
            worker = _Worker()
            self._workers.add(worker)
        return worker

    def _dismiss(self, worker: _Worker | None) -> None:
        if worker is not None:
            with self._lock:
                self._workers.discard(worker)
                worker.close()

    def _death(self) -> EngineError:
        if self._has_ended.is_set():
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
    """A worker process and the connection to it; `_Died` if it, or the server, has ended."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                SERVER.fork_worker(theirs)
            except OSError as error:
                raise _Died from error
        self._stream = self._socket.makefile("rwb")
        self._known: deque[str] = deque(maxlen=KEPT_VALUES)
        self._pid: int | None = None
        pickle.dump([str(folder) for folder in sys.path], self._stream)

    def do(self, task: _Task) -> Any:
        key = task.shared.key
        value = None if key in self._known else task.shared.pickled
        try:
            pickle.dump((key, value, task.call), self._stream)
            self._stream.flush()
            if self._pid is None:
                self._pid = pickle.load(self._stream)  # noqa: S301 - written by our worker
            result, error = pickle.load(self._stream)  # noqa: S301 - written by our worker
        except (EOFError, OSError, pickle.UnpicklingError) as broken:
            raise _Died from broken
        if error is not None:
            self._known.clear()
            raise error
        if value is not None:
            self._known.append(key)
        return result

    def hang_up(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._pid is not None:
            # It notices that the connection is closed only when Aer lets it.
            with suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        with suppress(OSError):
            self._stream.close()
        self._socket.close()
