"""Folders of configs, of the worked examples and of runs."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from qexp.errors import ConfigError
from qexp.text import typed_path


def shipped_root() -> Path:
    """Return the folder of qexp's own `conf/` and `experiments/`, in the wheel or the checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_shipped"
    return inside if inside.is_dir() else package.parent


def shipped_conf() -> Path:
    """Return qexp's own `conf/`."""
    return shipped_root() / "conf"


PRIMARY = "qexp"
"""Name of the primary config, which is qexp's own."""
PROJECT = "project"
"""Name of the config with a project's own defaults."""


def user_conf() -> Path | None:
    """Return `conf/` of the current folder; None if there is none or it is qexp's own."""
    folder = Path.cwd() / "conf"
    is_own = folder.is_dir() and folder.resolve() != shipped_conf().resolve()
    return folder if is_own else None


def config_choices() -> dict[str, list[str]]:
    """List the choices of every config group, those in the user's `conf/` included, all sorted.

    Example: `{"experiment": ["ghz", "lab/mine"]}`.
    """
    found: dict[str, set[str]] = {}
    for conf in filter(None, (user_conf(), shipped_conf())):
        for path in conf.glob("*/**/*.yaml"):
            group, *parts = path.relative_to(conf).with_suffix("").parts
            if group == "sweep" and len(parts) > 1:
                group = f"sweep/{parts.pop(0)}"
            if group != "hydra" and not path.name.startswith("."):
                found.setdefault(group, set()).add("/".join(parts))
    return {group: sorted(found[group]) for group in sorted(found)}


def make_experiments_importable(*, is_own_process: bool = True) -> None:
    """Put the current folder on the import path, and the worked examples last.

    A console script does not have the current folder on its path, as `python -m` does. The user's
    `experiments/` and the shipped one coexist, whether or not the user's has an `__init__.py`.
    In a process that is not qexp's own, all that it finds now stays as it is.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0 if is_own_process else len(sys.path), here)
    shipped = str(shipped_root())
    if shipped not in sys.path:
        sys.path.append(shipped)
    if ShippedExperiments not in sys.meta_path:
        sys.meta_path.append(ShippedExperiments)


class ShippedExperiments:
    """Finds the worked examples that a package `experiments` of the user's does not have."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find `experiments.NAME`, after all other finders have failed."""
        if path is None or fullname.rpartition(".")[0] != "experiments":
            return None
        return PathFinder.find_spec(fullname, [str(shipped_root() / "experiments")], target)


def new_run_id() -> str:
    """Return a unique id that sorts by time: `20261122T091500Z-3f9a2c`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


SWEEP_PREFIX = "sweep-"


def new_point_id(sweep_id: str, number: int) -> str:
    """Return a unique id of a point of a sweep: ids sort in the order of the points."""
    return f"{sweep_id.removeprefix(SWEEP_PREFIX)}-{number:04d}"


def run_folder(given: str | Path) -> Path:
    """Return the folder of a run or a sweep, given it or its `run.h5`, as an absolute path.

    Raises:
        ConfigError: There is no such folder, or no run in it.
    """
    from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME
    from qexp.archive.sweep_file import SWEEP_NAME

    path = typed_path(given)
    folder = path.parent if path.name == ARCHIVE_NAME else path
    if not folder.is_dir():
        raise ConfigError(f"{given} does not exist; name the folder of a run")
    # A sweep that was killed right after it was declared has only its declaration.
    if not any((folder / name).is_file() for name in (JOURNAL_NAME, ARCHIVE_NAME, SWEEP_NAME)):
        raise ConfigError(
            f"{given} holds no run: there is neither {JOURNAL_NAME} nor {ARCHIVE_NAME} in it; name "
            f"the folder of a run"
        )
    return folder.resolve()
