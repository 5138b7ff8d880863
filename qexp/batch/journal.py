"""The journal of a run: one line per event, on disk before anything is done on its strength.

Each line is a JSON object with `time`, `event`, the event's fields and last `crc32`, the CRC-32 of
the line up to it. A line is one write, followed by fsync; what a crash left of the last line is
cut off when the journal is opened again.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from qexp.archive.atomic_files import sync
from qexp.batch.ledger import Event, Ledger
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError
from qexp.redact import redactor

JOURNAL_NAME = "journal.jsonl"

_log = logging.getLogger(__name__)
_EVENTS: dict[str, type[Any]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): kind for kind in get_args(Event)
}
_NAMES = {kind: name for name, kind in _EVENTS.items()}
_CHECKED = re.compile(rb'(\{.*),"crc32":"([0-9a-f]{8})"\}')


class Journal:
    """The journal of one run, open for appending. A context manager.

    Args:
        run_dir: The run's folder; a journal that is there is read and continued.

    Attributes:
        ledger: What the events so far say.

    Raises:
        ArchiveError: The journal cannot be read or written, or holds rubbish.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / JOURNAL_NAME
        is_new = not self._path.exists()
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise ArchiveError(_cannot(self._path, error)) from error
        try:
            raw = self._path.read_bytes()
            whole = _whole_lines(raw)
            self.ledger = _ledger(whole, self._path)
            if len(whole) < len(raw):
                _log.warning("%s: its last line is cut off, it is removed", self._path)
                os.ftruncate(self._file, len(whole))
                os.fsync(self._file)
            if is_new:
                sync(run_dir)
        except OSError as error:
            os.close(self._file)
            raise ArchiveError(_cannot(self._path, error)) from error
        except ArchiveError:
            os.close(self._file)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def append(self, event: Event) -> None:
        """Write one event; it is durable when this returns.

        Raises:
            ArchiveError: It could not be written; the journal is as it was before.
        """
        line = _line(event)
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(28, os.strerror(28))
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, size)
            raise ArchiveError(_cannot(self._path, error)) from error
        self.ledger.apply(event)


def read_ledger(run_dir: Path) -> Ledger:
    """What the journal of a run says, without touching it.

    Raises:
        ArchiveError: There is no journal, it cannot be read, or it holds rubbish.
    """
    path = run_dir / JOURNAL_NAME
    try:
        return _ledger(_whole_lines(path.read_bytes()), path)
    except FileNotFoundError:
        raise ArchiveError(f"{run_dir} holds no run: there is no {JOURNAL_NAME} in it") from None
    except OSError as error:
        raise ArchiveError(_cannot(path, error)) from error


def _line(event: Event) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    fields = {"time": now, "event": _NAMES[type(event)], **dataclasses.asdict(event)}
    body = dumps(fields, redactor()).encode("utf-8", "backslashreplace")[:-1]
    return body + f',"crc32":"{zlib.crc32(body):08x}"}}\n'.encode()


def _whole_lines(raw: bytes) -> bytes:
    return raw[: raw.rfind(b"\n") + 1]


def _ledger(raw: bytes, path: Path) -> Ledger:
    ledger = Ledger()
    for number, event in _events(raw, path):
        try:
            ledger.apply(event)
        except ValueError as error:
            raise ArchiveError(f"{path}, line {number}: {error}; {_ADVICE}") from None
    return ledger


def _events(raw: bytes, path: Path) -> Iterator[tuple[int, Event]]:
    for number, line in enumerate(raw.split(b"\n")[:-1], start=1):
        match = _CHECKED.fullmatch(line)
        if match is None or zlib.crc32(match.group(1)) != int(match.group(2), 16):
            raise ArchiveError(f"{path}, line {number}: this is not what was written; {_ADVICE}")
        try:
            yield number, _event(json.loads(line))
        except (KeyError, TypeError, ValueError):
            raise ArchiveError(
                f"{path}, line {number}: no event that this version of qexp knows; {_ADVICE}"
            ) from None


def _event(fields: dict[str, Any]) -> Event:
    kind = _EVENTS[fields["event"]]
    values = {name: fields[name] for name in (item.name for item in dataclasses.fields(kind))}
    event: Event = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    return event


_ADVICE = "restore the journal from a copy, or ask the service for the jobs by the run's tag"


def _cannot(path: Path, error: OSError) -> str:
    return (
        f"{path}: {error.strerror}. Check free space and permissions; what was "
        "written before is kept."
    )
