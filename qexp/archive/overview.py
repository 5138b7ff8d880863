"""One run in a line: what a listing says of it, read without its results and circuits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qexp.archive.file import ArchiveFile
from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def overview(file: ArchiveFile) -> dict[str, Any]:
    """What identifies a run, where it ran, and how far it came.

    Args:
        file: An open archive.

    Returns:
        `status`, `run_id`, `experiment`, `date`, `finished`, `engine`, `backend`, `num_qubits`,
        `pubs` and `results` (planned, and with a result), `jobs` and `jobs_done` (likewise),
        `usage_s`, `predicted_qpu_s`, `seed`, `overrides`, `data_sha256`, `config`.

    Raises:
        ArchiveError: The file is damaged.
    """
    root = ("status", "run_id", "experiment", "engine", "data_sha256")
    return {
        **{name: str(file.attribute("/", name)) for name in root},
        "date": str(file.attribute("/", "date_created")) or None,
        "finished": str(file.attribute("/", "date_finished")) or None,
        "backend": str(file.attribute("backend", "name")) or None,
        "num_qubits": int(file.attribute("backend", "num_qubits")),
        **_pubs(file),
        **_jobs(file),
        "seed": int(file.attribute("config", "seed")),
        "overrides": file.texts("config/overrides"),
        "config": load_config(file.text("config/resolved_yaml")),
    }


def overview_of_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a run that has no archive yet, as far as its header says.

    Args:
        header: `RunHeader` as plain JSON.

    Raises:
        ArchiveError: It holds no config.
    """
    names = {"run_id": "run_id", "experiment": "experiment", "date": "created", "engine": "engine"}
    return {
        **{name: header[key] for name, key in names.items()},
        "backend": header["backend"].get("name"),
        "num_qubits": header["backend"].get("num_qubits"),
        "seed": header["seed"],
        "overrides": header["overrides"],
        "config": load_config(header["config_yaml"]),
    }


def load_config(text: str) -> dict[str, Any]:
    """A resolved config as plain values.

    Raises:
        ArchiveError: It is no mapping in valid YAML.
    """
    import yaml  # type: ignore[import-untyped]

    # The one written in C takes a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # qexp writes no aliases, and a few of them can stand for more than fits into memory.
        if "*" in text and any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text, loader)):
            raise yaml.YAMLError("aliases are not allowed")
        loaded = yaml.load(text, loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ArchiveError(f"The recorded config is not valid YAML: {reason[:200]}") from None
    if not isinstance(loaded, dict):
        raise ArchiveError("The recorded config is not a mapping of keys.")
    return loaded


def total(values: NDArray[np.float64]) -> float | None:
    """The sum of what is finite, None where nothing is known."""
    known = values[np.isfinite(values)]
    return math.fsum(known) if known.size else None


def _pubs(file: ArchiveFile) -> dict[str, int]:
    rows = [file.column(f"pubs/{name}/result_row") for name in file.groups("pubs")]
    return {
        "pubs": sum(len(column) for column in rows),
        "results": sum(int(np.count_nonzero(column >= 0)) for column in rows),
    }


def _jobs(file: ArchiveFile) -> dict[str, Any]:
    planned = file.count("partitions/partition")
    known: dict[str, Any] = {"jobs": planned, "jobs_done": 0}
    known["usage_s"] = known["predicted_qpu_s"] = None
    if planned:
        known["predicted_qpu_s"] = total(file.column("partitions/predicted_qpu_s"))
    if file.count("jobs/partition"):
        has_result = file.column("jobs/num_results") > 0
        known["jobs_done"] = len(np.unique(file.column("jobs/partition")[has_result]))
        known["usage_s"] = total(file.column("jobs/usage_s"))
    return known
