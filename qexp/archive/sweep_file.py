"""The declaration of a sweep in its folder: its points, in order.

It is all that a resume needs of points that were never planned, and it says which keys were swept.
Each point has a folder of its own beside it, with the same files as a single run's folder. Points
that run together have `sweep.json` and share one journal, which is beside it. Where another
launcher makes each a run of its own, the declaration is `points.json`, and each has a journal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qexp.archive.atomic_files import read_with_digest, write_with_digest
from qexp.core.model import SourceFile, config_sections
from qexp.errors import ArchiveError
from qexp.redact import redactor

SWEEP_NAME: Final = "sweep.json"
POINTS_NAME: Final = "points.json"
_FORMAT: Final = 2


@dataclass(frozen=True)
class SweepPoint:
    """A point as declared."""

    folder: str  # name of its folder, which is also its run id
    draws: Mapping[str, Any]  # swept key -> its value here, as plain JSON
    overrides: tuple[str, ...]  # all of its overrides, with its derived seeds: they repeat it alone
    config: tuple[str, ...]  # its resolved config by top-level keys, see `config_sections`
    sources: tuple[SourceFile, ...] = ()  # files that declare it

    @property
    def config_yaml(self) -> str:
        """The text of its resolved config."""
        return "".join(self.config)


@dataclass(frozen=True)
class SweepDeclaration:
    """A sweep as declared."""

    id: str  # its id, which the tags of its jobs have
    created: str  # ISO 8601 in UTC
    points: tuple[SweepPoint, ...]  # in order; points that are added later come last
    overrides: tuple[str, ...] = ()  # of the command line, with all values of swept keys

    @property
    def swept(self) -> tuple[str, ...]:
        """The swept keys, in the order in which they were declared."""
        return tuple(dict.fromkeys(key for point in self.points for key in point.draws))


def is_sweep(folder: Path) -> bool:
    """Return True for the folder of a sweep."""
    return (folder / SWEEP_NAME).is_file()


def write_sweep(folder: Path, sweep: SweepDeclaration, name: str = SWEEP_NAME) -> None:
    """Write the declaration of a sweep to the file of this name, durably.

    Raises:
        ArchiveError: It cannot be written.
    """
    from qexp.core.jsonable import dumps

    sources = list(dict.fromkeys(source for point in sweep.points for source in point.sources))
    numbers = {source: number for number, source in enumerate(sources)}
    sections: dict[str, int] = {}
    content = {
        "format": _FORMAT,
        "id": sweep.id,
        "created": sweep.created,
        "overrides": sweep.overrides,
        # Most points are declared by the same files.
        "sources": [{"name": source.name, "text": source.text} for source in sources],
        "points": [
            {
                "folder": point.folder,
                "draws": point.draws,
                "overrides": point.overrides,
                # Configs of a sweep have most of their sections in common.
                "config": [sections.setdefault(text, len(sections)) for text in point.config],
                "sources": [numbers[source] for source in point.sources],
            }
            for point in sweep.points
        ],
        "sections": [*sections],
    }
    text = dumps(content, redactor())
    write_with_digest(folder / name, text.encode("utf-8", "backslashreplace"))


def read_sweep(folder: Path, name: str = SWEEP_NAME) -> SweepDeclaration:
    """Read the declaration of a sweep from the file of this name.

    Raises:
        ArchiveError: There is none, or it is damaged or of a later version.
    """
    path = folder / name
    if not path.is_file():
        raise ArchiveError(f"{folder} holds no sweep: there is no {name} in it")
    content = json.loads(read_with_digest(path))
    if content.get("format") not in (1, _FORMAT):
        raise ArchiveError(
            f"{path} has format {content.get('format')}, and this version of qexp reads {_FORMAT}; "
            f"use the version that the sweep was made with"
        )
    try:
        sources = [SourceFile(**source) for source in content["sources"]]
        points = tuple(
            SweepPoint(
                folder=point["folder"],
                draws=point["draws"],
                overrides=tuple(point["overrides"]),
                config=config_sections(point["config_yaml"])
                if content["format"] == 1
                else tuple(content["sections"][number] for number in point["config"]),
                sources=tuple(sources[number] for number in point["sources"]),
            )
            for point in content["points"]
        )
        return SweepDeclaration(
            content["id"], content["created"], points, tuple(content["overrides"])
        )
    except (IndexError, KeyError, TypeError) as error:
        raise ArchiveError(f"{path} is no declaration of a sweep ({error})") from None
