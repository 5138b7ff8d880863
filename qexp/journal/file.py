"""The journal's file: one line per event, durable before anything relies on it.

Each line is a JSON object with `time`, `event`, the event's fields and last `crc32`, the CRC-32 of
the line up to it. A line is one write, followed by fsync; a last line that a crash or a power cut
left unreadable is removed when the journal is opened again. Other damage is an error, and so is a
journal that lacks what the run's parts show; `qexp.journal.repair` is for both.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qexp.archive.atomic_files import add_crc32, matches_crc32, sync
from qexp.archive.parts import StoredParts
from qexp.archive.schema import JOURNAL_NAME
from qexp.archive.sweep_file import is_sweep
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError
from qexp.journal.events import Event, Planned, Unplanned
from qexp.journal.ledger import Ledger
from qexp.redact import redactor
from qexp.text import short_path, utc_now

_log = logging.getLogger(__name__)
_EVENTS: dict[str, type[Any]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): kind for kind in Event.__subclasses__()
}
_NAMES = {kind: name for name, kind in _EVENTS.items()}
_LINE_START = b'{"time":'


class Journal:
    """The journal of an experiment, open for appending; a context manager.

    An existing one is read and continued. Its `ledger` is the state derived from the events so far.

    Raises:
        ArchiveError: The journal cannot be read or written, or is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_NAME
        is_new = not self._path.exists()
        with _raising_archive_errors(self._path):
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            with _raising_archive_errors(self._path):
                raw = self._path.read_bytes()
                complete = complete_lines(raw)
                self.ledger = _read(complete, self._path)
                if len(complete) < len(raw):
                    end = raw[len(complete) :]
                    _log.warning("%s: unreadable last line removed: %r", self._path, end[:200])
                    os.ftruncate(self._file, len(complete))
                    os.fsync(self._file)
                if is_new:
                    sync(folder)
        except ArchiveError:
            os.close(self._file)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def excerpts(self, point_of: Callable[[int], int]) -> Callable[[int], str]:
        """Return a function that gives the lines about a point, as they are.

        Those are the lines of the whole experiment and of the point's own partitions, which
        `point_of` tells. Bytes that are not UTF-8 are escaped.
        """
        # Only their places: there may be thousands of points.
        spans: dict[int | None, list[tuple[int, int]]] = {None: []}
        for line in re.finditer(rb".*\n", complete_lines(self._path.read_bytes())):
            fields, about = json.loads(line[0]), None
            if "partition" in fields:
                about = point_of(fields["partition"])
            elif fields["event"] in (_NAMES[Planned], _NAMES[Unplanned]):
                about = fields.get("point", 0)
            spans.setdefault(about, []).append(line.span())
        return lambda point: b"".join(
            os.pread(self._file, stop - first, first)
            for first, stop in sorted([*spans[None], *spans.get(point, ())])
        ).decode("utf-8", "backslashreplace")

    def append(self, event: Event) -> None:
        """Write an event; it is durable when this returns.

        Raises:
            ArchiveError: It could not be written; the journal is as it was before.
        """
        line = line_of(event)
        size = os.fstat(self._file).st_size
        with _raising_archive_errors(self._path):
            try:
                if os.write(self._file, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._file)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._file, size)
                raise
        self.ledger.apply(event)

    def refuse_lost_lines(self, jobs: Iterable[tuple[int, int]], stored: StoredParts) -> None:
        """Refuse a journal that lacks what is on disk, or what its own lines rest on.

        On disk are `stored`, the parts in the experiment's own folder, and outcomes of the
        attempts in `jobs`, by partition and number.

        Raises:
            ArchiveError: Going on with it would submit jobs again.
        """
        folder, ledger = self._path.parent, self.ledger
        opened = {one.batch for one in ledger.batches}
        attempts = ledger.all_attempts()
        numbers = {partition: len(each) for partition, each in ledger.attempts.items()}
        missing = None
        if len(stored.numbered("batch")) > len(ledger.batches):
            missing = "a batch is in its parts"
        elif any(number > numbers.get(partition, 0) for partition, number in jobs):
            missing = "the outcome of a job is in its parts"
        elif any(attempt.batch not in opened for attempt in attempts):
            missing = "a job was submitted to a batch"
        elif (opened or attempts) and not ledger.planned:
            missing = "a batch was opened for a plan"
        if missing:
            raise ArchiveError(
                f"{self._path}: lines are lost: {missing} that no line has; {_advice(folder)}"
            )


class ReadJournal(Journal):
    """The journal of an experiment that is only looked at, as another process may be writing it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def append(self, event: Event) -> None:
        """Refuse to write."""
        raise AssertionError(f"the journal is not open: {event}")


def read_ledger(folder: Path) -> Ledger:
    """Read the state of an experiment from its journal, without changing the file.

    Raises:
        ArchiveError: There is no journal, it cannot be read, or it is malformed.
    """
    path = folder / JOURNAL_NAME
    with _raising_archive_errors(path):
        if not path.exists() and is_sweep(folder):
            # A process was killed between the two files.
            return Ledger()
        if not path.exists():
            raise ArchiveError(f"{folder} holds no run: there is no {JOURNAL_NAME} in it")
        return _read(complete_lines(path.read_bytes()), path)


def line_of(event: Event) -> bytes:
    """Return an event as a line of a journal, without secrets."""
    values = {
        item.name: getattr(event, item.name)
        for item in dataclasses.fields(event)  # type: ignore[arg-type]  # a base that is none
        if not item.kw_only or getattr(event, item.name) != item.default
    }
    fields = {"time": utc_now(), "event": _NAMES[type(event)], **values}
    return add_crc32(dumps(fields, redactor()).encode("utf-8", "backslashreplace")) + b"\n"


def complete_lines(raw: bytes) -> bytes:
    """Return a journal's content without what a crash or a power cut left of its last line.

    That is no whole line, or one line that is damaged, or zeros of any length.
    """
    end = raw.rfind(b"\n") + 1
    while end and not matches_crc32(raw[raw.rfind(b"\n", 0, end - 1) + 1 : end - 1]):
        end = raw.rfind(b"\n", 0, end - 1) + 1
    # Two damaged lines, or a file without a line that can be read, are not for a reader to ignore.
    is_torn = raw.count(_LINE_START, end) <= 1 if end else not raw.strip(b"\0\n")
    return raw[:end] if is_torn else raw[: raw.rfind(b"\n") + 1]


def _read(raw: bytes, path: Path) -> Ledger:
    ledger = Ledger()
    for number, line in enumerate(raw.split(b"\n")[:-1], start=1):
        where = f"{path}, line {number}"
        if not matches_crc32(line):
            raise ArchiveError(f"{where}: checksum mismatch; {_advice(path.parent)}")
        try:
            event = read_event(line)
        except ValueError as error:
            advice = "use the version that the run was made with"
            raise ArchiveError(f"{where}: {error}; {advice}") from None
        try:
            ledger.apply(event)
        except ValueError as error:
            raise ArchiveError(f"{where}: {error}; {_advice(path.parent)}") from None
    return ledger


def _advice(folder: Path) -> str:
    named = ["python", "-m", "qexp", "resume", short_path(folder), "--repair-journal"]
    return f"to rebuild what cannot be read, and go on: {shlex.join(named)}"


def read_event(line: bytes) -> Event:
    """Return the event of a line; ValueError: it is none that this version of qexp knows.

    Raises:
        ValueError: It is none that this version of qexp knows.
    """
    try:
        fields = json.loads(line)
        kind = _EVENTS[fields["event"]]
        # A field that an earlier version did not have has its default.
        known = {
            item.name: fields[item.name] for item in dataclasses.fields(kind) if item.name in fields
        }
        event: Event = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in known.items()})
    except (KeyError, TypeError, ValueError):
        raise ValueError("no event that this version of qexp knows") from None
    return event


@contextmanager
def _raising_archive_errors(path: Path) -> Iterator[None]:
    """Convert an error of the operating system, and name the file."""
    try:
        yield
    except OSError as error:
        raise ArchiveError(
            f"{path}: {error.strerror}; check free space and permissions; what was written before "
            f"is kept"
        ) from error
