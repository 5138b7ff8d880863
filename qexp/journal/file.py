"""The journal's file: one line per event, durable before anything relies on it.

Each line is a JSON object with `time`, `event`, the event's fields and last `crc32`, the CRC-32 of
the line up to it. A line is one write, followed by fsync; a last line that a crash truncated is
removed when the journal is opened again.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qexp.archive.atomic_files import add_crc32, matches_crc32, sync
from qexp.archive.schema import JOURNAL_NAME
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError
from qexp.journal.ledger import Event, Ledger
from qexp.redact import redactor
from qexp.text import utc_now

_log = logging.getLogger(__name__)
_EVENTS: dict[str, type[Any]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): kind for kind in Event.__subclasses__()
}
_NAMES = {kind: name for name, kind in _EVENTS.items()}
_ADVICE = "restore the journal from a copy, or ask the service for the jobs by the run's tag"


class Journal:
    """The journal of an experiment, open for appending; a context manager.

    Its `ledger` is the state derived from the events so far.

    Args:
        folder: The experiment's folder; an existing journal is read and continued.

    Raises:
        ArchiveError: The journal cannot be read or written, or is malformed.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_NAME
        is_new = not self._path.exists()
        with _raising_archive_errors(self._path):
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            with _raising_archive_errors(self._path):
                raw = self._path.read_bytes()
                complete = _complete_lines(raw)
                self.ledger = _read(complete, self._path)
                if len(complete) < len(raw):
                    _log.warning("%s: truncated last line removed", self._path)
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

    def append(self, event: Event) -> None:
        """Write an event; it is durable when this returns.

        Raises:
            ArchiveError: It could not be written; the journal is as it was before.
        """
        line = _line(event)
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


def read_ledger(folder: Path) -> Ledger:
    """Read the state of an experiment from its journal, without changing the file.

    Raises:
        ArchiveError: There is no journal, it cannot be read, or it is malformed.
    """
    path = folder / JOURNAL_NAME
    with _raising_archive_errors(path):
        if not path.exists():
            raise ArchiveError(f"{folder} holds no run: there is no {JOURNAL_NAME} in it")
        return _read(_complete_lines(path.read_bytes()), path)


def _line(event: Event) -> bytes:
    values = {
        item.name: getattr(event, item.name)
        for item in dataclasses.fields(event)  # type: ignore[arg-type]  # a base that is none
        if not item.kw_only or getattr(event, item.name) != item.default
    }
    fields = {"time": utc_now(), "event": _NAMES[type(event)], **values}
    return add_crc32(dumps(fields, redactor()).encode("utf-8", "backslashreplace")) + b"\n"


def _complete_lines(raw: bytes) -> bytes:
    return raw[: raw.rfind(b"\n") + 1]


def _read(raw: bytes, path: Path) -> Ledger:
    ledger = Ledger()
    for number, line in enumerate(raw.split(b"\n")[:-1], start=1):
        try:
            if not matches_crc32(line):
                raise ValueError("checksum mismatch")
            ledger.apply(_event(line))
        except ValueError as error:
            raise ArchiveError(f"{path}, line {number}: {error}; {_ADVICE}") from None
    return ledger


def _event(line: bytes) -> Event:
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
