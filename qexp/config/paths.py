"""Folders of configs, of the worked examples and of runs."""

from __future__ import annotations

import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

from qexp.errors import ConfigError


def shipped_root() -> Path:
    """Return the folder of qexp's own `conf/` and `experiments/`, in the wheel or the checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_shipped"
    return inside if inside.is_dir() else package.parent


def shipped_conf() -> Path:
    """Return qexp's own `conf/`."""
    return shipped_root() / "conf"


def user_conf() -> Path | None:
    """Return `conf/` of the current folder; None if there is none or it is qexp's own."""
    folder = Path.cwd() / "conf"
    is_own = folder.is_dir() and folder.resolve() != shipped_conf().resolve()
    return folder if is_own else None


def config_choices() -> dict[str, list[str]]:
    """List the choices of every config group, those in the user's `conf/` included.

    Returns:
        Group -> sorted choices, such as `{"experiment": ["ghz", "lab/mine"]}`, sorted by group.
    """
    found: dict[str, set[str]] = {}
    for conf in filter(None, (user_conf(), shipped_conf())):
        for path in conf.glob("*/**/*.yaml"):
            group, *parts = path.relative_to(conf).with_suffix("").parts
            if group != "hydra" and not path.name.startswith("."):
                found.setdefault(group, set()).add("/".join(parts))
    return {group: sorted(found[group]) for group in sorted(found)}


def make_experiments_importable(*, is_own_process: bool = True) -> None:
    """Put the current folder on the import path, and the worked examples last.

    A console script does not have the current folder on its path, as `python -m` does. Neither
    `experiments/` has an `__init__.py`, so that the user's and the shipped one coexist.

    Args:
        is_own_process: True to put the current folder first, as `python -m` does; False to leave
            all that the process finds now as it is.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0 if is_own_process else len(sys.path), here)
    shipped = str(shipped_root())
    if shipped not in sys.path:
        sys.path.append(shipped)


def new_run_id() -> str:
    """Return a unique id that sorts by time: `20261122T091500Z-3f9a2c`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def run_folder(given: str | Path) -> Path:
    """Return the folder of a run as an absolute path.

    Args:
        given: The folder, or the `run.h5` in it.

    Raises:
        ConfigError: There is no such folder, or no run in it.
    """
    from qexp.archive.schema import ARCHIVE_NAME, JOURNAL_NAME

    path = Path(given).expanduser()
    folder = path.parent if path.name == ARCHIVE_NAME else path
    if not folder.is_dir():
        raise ConfigError(f"{given} does not exist; name the folder of a run")
    if not any((folder / name).is_file() for name in (JOURNAL_NAME, ARCHIVE_NAME)):
        raise ConfigError(
            f"{given} holds no run: there is neither {JOURNAL_NAME} nor {ARCHIVE_NAME} in it; name "
            f"the folder of a run"
        )
    return folder.resolve()
