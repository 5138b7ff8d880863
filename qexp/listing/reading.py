"""How a run's entry is read: from `run.h5`, or from parts and journal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.parts import StoredParts
from qexp.archive.summary import summarise_archive, summarise_header
from qexp.archive.verify import is_as_sealed, lacks_digest
from qexp.errors import ArchiveError
from qexp.journal.file import read_ledger
from qexp.journal.ledger import Ledger
from qexp.listing.entry import Entry, as_fields, not_read

#: Above this size a listing does not read a whole file to compare its digest; `verify` does.
CHECKED_BYTES: Final = 16 * 2**20

_NOT_SEALED: Final = "{} is not what was sealed: restore it from a copy."


def read_entry(path: str) -> Iterator[dict[str, Any]]:
    """The fields of a run's entry as plain JSON, without `path` and `size_bytes`.

    Called in a process of its own, see `qexp.archive.isolated`.

    Args:
        path: The archive, or the folder of a run that has none yet.
    """
    where = Path(path)
    try:
        entry = entry_of_unfinished(where) if where.is_dir() else _sealed(where)
    except ArchiveError as error:
        entry = not_read(where, "damaged", str(error))
    except OSError as error:
        entry = not_read(where, "unreadable", f"{where} cannot be read: {error.strerror}.")
    yield as_fields(entry)


def _sealed(path: Path) -> Entry:
    with path.open("rb") as stream:
        size_bytes = os.fstat(stream.fileno()).st_size
    is_small = size_bytes <= CHECKED_BYTES
    is_sealed = is_as_sealed(path) if is_small else None
    if is_sealed is False:
        raise ArchiveError(_NOT_SEALED.format(path))
    try:
        file = ArchiveFile(path)
    except ArchiveError as error:
        # Another schema, or no archive of qexp.
        return not_read(path, "unreadable", str(error))
    try:
        if lacks_digest(file):
            raise ArchiveError(_NOT_SEALED.format(path))
        return Entry(**summarise_archive(file), is_checked=is_sealed is True)
    finally:
        file.close()


def entry_of_unfinished(folder: Path) -> Entry:
    """The entry of a run that has no archive yet.

    Raises:
        ArchiveError: What is there is damaged.
        OSError: The folder cannot be read.
    """
    os.listdir(folder)
    known: dict[str, Any] = {"run_id": folder.absolute().name}
    stored = StoredParts(folder)
    if stored.has_parts:
        known |= summarise_header(stored.read_header())
    ledger = read_ledger(folder)
    if ledger.plan is not None:
        known |= {"jobs": ledger.num_partitions, "jobs_done": len(ledger.done)}
    return Entry("unfinished", **known, problem=_why_unfinished(ledger))


def _why_unfinished(ledger: Ledger) -> str:
    if ledger.plan is None:
        return "its plan is not complete; nothing was submitted"
    out = len(ledger.open())
    return f"not sealed, {out} jobs may be out" if out else "not sealed, no job is out"
