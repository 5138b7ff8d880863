"""Worker processes that plan and simulate, started when an experiment is large enough for them."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Pipe
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
            SERVER.start()

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
            self._process = SERVER.fork(theirs.fileno())
            self._connection.send([str(folder) for folder in sys.path])
        except OSError as error:
            self._connection.close()
            raise _Died from error
        finally:
            theirs.close()
        self._known: deque[str] = deque(maxlen=KEPT_VALUES)

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
            SERVER.kill(self._process)

    def close(self) -> None:
        self._connection.close()
