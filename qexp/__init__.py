"""qexp: declare a quantum experiment, run it in one batch, keep everything in one archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qexp.api import cancel, declare, plan, resume, run, status, sweep
    from qexp.archive.read import Archive, open_archive
    from qexp.core.spec import RunSpec
    from qexp.errors import ArchiveError, QexpError
    from qexp.listing.runs import list_runs as runs
    from qexp.sweeps.opened import Sweep, open_sweep

    __version__: str

__all__ = [
    "Archive",
    "ArchiveError",
    "QexpError",
    "RunSpec",
    "Sweep",
    "cancel",
    "declare",
    "open_archive",
    "open_sweep",
    "plan",
    "resume",
    "run",
    "runs",
    "status",
    "sweep",
]

_HOMES = {
    "Archive": "qexp.archive.read:Archive",
    "ArchiveError": "qexp.errors:ArchiveError",
    "QexpError": "qexp.errors:QexpError",
    "RunSpec": "qexp.core.spec:RunSpec",
    "Sweep": "qexp.sweeps.opened:Sweep",
    "cancel": "qexp.api:cancel",
    "declare": "qexp.api:declare",
    "open_archive": "qexp.archive.read:open_archive",
    "open_sweep": "qexp.sweeps.opened:open_sweep",
    "plan": "qexp.api:plan",
    "resume": "qexp.api:resume",
    "run": "qexp.api:run",
    "runs": "qexp.listing.runs:list_runs",
    "status": "qexp.api:status",
    "sweep": "qexp.api:sweep",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that `import qexp` itself costs nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("qexp")
    if name not in _HOMES:
        raise AttributeError(f"module 'qexp' has no attribute {name!r}")
    from importlib import import_module

    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
