"""What was declared of a run's data: read, and refused where it has another shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from qexp.archive.file import ArchiveFile
from qexp.errors import ArchiveError

_PATH: Final = "config/metadata_json"
#: Of each map, the key that is always there.
_REQUIRED: Final = {"creators": "name", "publisher": "name", "funding": "funder"}
#: Key -> `str`, a map of keys, or a list that holds the shape of its items.
SHAPE: Final[dict[str, Any]] = {
    "title": str,
    "description": str,
    "creators": [{"name": str, "orcid": str, "affiliation": str, "affiliation_url": str}],
    "publisher": {"name": str, "url": str},
    "funding": [{"funder": str, "funder_url": str, "grant": str, "name": str, "url": str}],
    "license": str,
    "keywords": [str],
    "reproduces": {"run_id": str, "data_sha256": str, "circuits": str},
}


def read_metadata(file: ArchiveFile) -> dict[str, Any]:
    """Title, description, creators, publisher, funding, license, keywords, if declared.

    Any of them may be None. Keys of a later version are kept as they are.

    Raises:
        ArchiveError: They have not the shape that the config's `metadata` have.
    """
    found = file.document(_PATH)
    for problem in _problems(found, SHAPE, "metadata"):
        msg = f"{file.path} holds metadata that qexp does not write ({problem}): restore it."
        raise ArchiveError(msg)
    return found or {}


def _problems(value: Any, shape: Any, where: str) -> Iterator[str]:
    """What of a value is not as its shape says."""
    if value is None:
        return
    if isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        for index, item in enumerate(value):
            yield from _problems(_absent(item), shape[0], f"{where}[{index}]")
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{where} is no map"
            return
        needed = _REQUIRED.get(where.partition(".")[2].partition("[")[0])
        if needed and value.get(needed) is None:
            yield f"{where} has no {needed}"
        for name, inner in shape.items():
            yield from _problems(value.get(name), inner, f"{where}.{name}")
    elif not isinstance(value, shape):
        yield f"{where} is no text"


def _absent(item: Any) -> Any:
    """An item of a list is never left out: `...` has no shape."""
    return ... if item is None else item
