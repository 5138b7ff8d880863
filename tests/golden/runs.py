"""The golden runs: their names, their files, and copies to work on."""

from __future__ import annotations

import json
import tarfile
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import qexp

HERE = Path(__file__).resolve().parent
ARCHIVES = HERE / "archives"
EXPECTED = HERE / "expected"
WRITTEN = HERE / "written"
INPUTS = HERE / "inputs"
SEALED = "run.h5"
STATE_NAME = "emulator.json"
"""State of the emulator, in the folder of a run whose jobs are out."""

DECIDING = (
    "ibm-quantum-schemas",
    "numpy",
    "qiskit",
    "qiskit-aer",
    "qiskit-ibm-runtime",
    "qiskit-qasm3-import",
    "rustworkx",
    "samplomatic",
    "scipy",
)
"""Packages that decide the data: only the same versions give bit-identical data."""


@cache
def members() -> dict[str, tuple[str, ...]]:
    """Return the names of the files of each run, by `SCHEMA/NAME`."""
    found = {}
    for path in sorted(ARCHIVES.glob("*/*.tar.gz")):
        with tarfile.open(path) as packed:
            found[f"{path.parent.name}/{path.name.removesuffix('.tar.gz')}"] = tuple(
                packed.getnames()
            )
    return found


def keys(*, sealed: bool | None = None) -> list[str]:
    """Return the keys of the runs: `SCHEMA/NAME`, and `SCHEMA/NAME/RUN` for points of a sweep.

    Args:
        sealed: True: those with a `run.h5`; False: those without; None: all of them.
    """
    found = []
    for key, names in members().items():
        folders = {str(Path(name).parent) for name in names if Path(name).name == SEALED}
        if not folders and sealed is not True:
            found.append(key)
        if sealed is not False:
            found += [key if folder == "." else f"{key}/{folder}" for folder in sorted(folders)]
    return found


def unpack(key: str, target: Path) -> Path:
    """Unpack a run below `target`; return the run's folder."""
    schema, name, *_ = key.split("/")
    folder = target / schema / name
    if not folder.exists():
        folder.mkdir(parents=True)
        with tarfile.open(ARCHIVES / schema / f"{name}.tar.gz") as packed:
            # Python has filters from 3.11.4 on.
            safe: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            packed.extractall(folder, **safe)
    return target / key


@cache
def expected(key: str) -> dict[str, Any]:
    """Return the recorded facts about a run; see `facts.py`."""
    loaded: dict[str, Any] = json.loads((EXPECTED / f"{key}.json").read_text(encoding="utf-8"))
    return loaded


def installed() -> dict[str, str]:
    """Return the installed versions of the packages that decide the data."""
    return {name: version(name) for name in DECIDING}


def is_same_software(archive: qexp.Archive) -> bool:
    """Return whether the installed packages should give the same data as an archive's."""
    recorded = dict(item.split("==", 1) for item in archive.environment["distributions"])
    return {name: recorded.get(name) for name in DECIDING} == installed()
