"""qexp: declare a quantum experiment, run it in one batch, keep everything in one archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qexp.archive.read import Archive, open_archive
    from qexp.errors import ArchiveError, QexpError

    __version__: str

__all__ = ["Archive", "ArchiveError", "QexpError", "open_archive"]

_HOMES = {
    "Archive": "qexp.archive.read",
    "ArchiveError": "qexp.errors",
    "QexpError": "qexp.errors",
    "open_archive": "qexp.archive.read",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that `import qexp` itself costs nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("qexp")
    if name not in _HOMES:
        raise AttributeError(f"module 'qexp' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
