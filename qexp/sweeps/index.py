"""Records of all points of a sweep, kept in `index.json` in its folder.

It is a cache that can always be made again: a record counts only while the files it was read from
have the size and times with which they were read or, where they were copied, the same content. One
that is damaged, or cannot be written, such as in a folder that is read-only, changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from qexp import __version__
from qexp.archive.analyses import analysis_files
from qexp.archive.atomic_files import read_with_digest, write_with_digest
from qexp.archive.digests import COMPARED_BYTES
from qexp.archive.schema import ARCHIVE_NAME
from qexp.errors import ArchiveError
from qexp.sweeps.records import Record, RecordReader, share_overheads

INDEX_NAME: Final = "index.json"
#: An index of another format, or of another version of qexp, is made again.
_FORMAT: Final = f"5 {__version__}"


def read_records(
    sweep: Path, folders: Sequence[str]
) -> tuple[list[Record], dict[str, list[str] | None]]:
    """Return the record of each point, and `ANALYSIS_variable` -> long name and unit.

    `folders` are the names of the points' folders in that of the sweep. Points that changed since
    they were last read are read again; one archive is open at a time.
    """
    path = sweep / INDEX_NAME
    kept = _load(path)
    reader = RecordReader(kept["about"])
    known: dict[str, list[Any]] = kept["points"]
    entries: dict[str, list[Any]] = {}
    for name in folders:
        folder = sweep / name
        files = [folder / ARCHIVE_NAME, *analysis_files(folder).values()]
        signature, entry = _signature(files), known.get(name)
        if not signature or entry is None or entry[0] != signature:
            # Before the record is read: what changes meanwhile is read again next time.
            sha256 = _sha256(files) if signature else ""
            is_copy = sha256 and entry is not None and entry[1] == sha256
            record = entry[2] if entry is not None and is_copy else reader.read(folder)
            # The reason why it is damaged has its path.
            entry = [signature, "" if record["status"] == "damaged" else sha256, record]
        entries[name] = entry
    # A point without an archive costs nothing to look at, and may change at any time.
    stored = {name: entry for name, entry in entries.items() if entry[0]}
    if stored != known:
        content = {"format": _FORMAT, "about": reader.about, "points": stored}
        with suppress(OSError, ArchiveError):
            write_with_digest(path, json.dumps(content).encode())
    return share_overheads([record for *_, record in entries.values()]), reader.about


def _load(path: Path) -> dict[str, Any]:
    with suppress(OSError, ArchiveError, ValueError):
        content = json.loads(read_with_digest(path))
        if isinstance(content, dict) and content.get("format") == _FORMAT:
            return content
    return {"about": {}, "points": {}}


def _sha256(files: Sequence[Path]) -> str:
    """Return the SHA-256 of the names and bytes of files, `""` if reading a record takes less."""
    digest = hashlib.sha256()
    with suppress(OSError):
        if max(file.stat().st_size for file in files) <= COMPARED_BYTES:
            for file in files:
                digest.update(f"{file.name} {file.stat().st_size}\n".encode() + file.read_bytes())
            return digest.hexdigest()
    return ""


def _signature(files: Sequence[Path]) -> str:
    """Return sizes and times of the files of a point, `""` without an archive."""
    try:
        stats = [file.stat() for file in files]
    except OSError:
        return ""
    # The inode's time changes even where the time of the content was set back.
    return " ".join(f"{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}" for s in stats)
