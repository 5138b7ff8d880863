"""The summary of a run, its config and its metadata, read from an archive or a header."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qexp.archive.archive_file import ArchiveFile
from qexp.archive.schema import SUMMARY
from qexp.core.jsonable import to_jsonable
from qexp.core.model import charged_s, config_sections, is_charge_pending
from qexp.errors import ArchiveError
from qexp.text import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REQUIRED: Final = {"creators": "name", "publisher": "name", "funding": "funder"}
"""Key of the metadata -> the key that each of its maps must have."""
METADATA_SHAPE: Final[dict[str, Any]] = {
    "title": str,
    "description": str,
    "creators": [{"name": str, "orcid": str, "affiliation": str, "affiliation_url": str}],
    "publisher": {"name": str, "url": str},
    "funding": [{"funder": str, "funder_url": str, "grant": str, "name": str, "url": str}],
    "license": str,
    "keywords": [str],
    "reproduces": {"run_id": str, "data_sha256": str, "circuits": str},
}
"""Key of the metadata -> `str`, a map of keys, or a list that holds the shape of its items."""
_SUMMARY_TYPES: Final[dict[str, Any]] = {
    **dict.fromkeys(("status", "run_id", "experiment", "engine", "data_sha256"), str),
    **dict.fromkeys(("date", "finished", "backend", "instance"), str | None),
    **dict.fromkeys(("pubs", "results", "jobs", "jobs_done", "usage_pending"), int),
    **dict.fromkeys(("num_qubits", "seed"), int),
    **dict.fromkeys(("usage_s", "predicted_qpu_s", "predicted_charged_s"), float | None),
    "overrides": list,
}
_LARGEST: Final = 2**63
_MOST_SECTIONS: Final = 1000


def summarise_archive(file: ArchiveFile) -> dict[str, Any]:
    """Return the identity of a run, its backend, and its progress.

    These are the keys of `_SUMMARY_TYPES`, and `config`; `pubs` and `jobs` count what was planned,
    `results` and `jobs_done` what has a result.
    """
    return read_summary(file) | {"config": _plain_config(file.text("config/resolved_yaml"))}


def read_summary(file: ArchiveFile) -> dict[str, Any]:
    """Return that summary without `config`: as stated in the archive, else made of its contents."""
    return stated_summary(file) or make_summary(file)


def stated_summary(file: ArchiveFile) -> dict[str, Any] | None:
    """Return the summary that an archive states, None without one that qexp may have written."""
    # Archives before schema 1.3 have none; ValueError: it is no JSON.
    with suppress(ArchiveError, ValueError):
        summary = json.loads(file.attribute("/", SUMMARY))
        if isinstance(summary, dict) and _is_usual(summary):
            return summary
    return None


def _is_usual(summary: Mapping[str, Any]) -> bool:
    """Return whether a summary has the keys, types and numbers of those that qexp writes."""
    if summary.keys() != _SUMMARY_TYPES.keys():
        return False
    numbers = [value for value in summary.values() if isinstance(value, int | float)]
    return (
        all(isinstance(summary[key], kind) for key, kind in _SUMMARY_TYPES.items())
        and all(isinstance(text, str) for text in summary["overrides"])
        # Not so of NaN.
        and all(abs(number) < _LARGEST for number in numbers)
    )


def make_summary(file: ArchiveFile) -> dict[str, Any]:
    """Make the summary of an archive of its contents."""
    has_instance = "instance_json" in file.columns("backend")
    root = ("status", "run_id", "experiment", "engine", "data_sha256")
    return {
        **{name: str(file.attribute("/", name)) for name in root},
        "date": str(file.attribute("/", "date_created")) or None,
        "finished": str(file.attribute("/", "date_finished")) or None,
        "backend": str(file.attribute("backend", "name")) or None,
        "num_qubits": int(file.attribute("backend", "num_qubits")),
        "instance": str(file.document("backend/instance_json")) or None if has_instance else None,
        **_progress(file),
        "predicted_charged_s": _predicted_charged(file),
        "seed": int(file.attribute("config", "seed")),
        "overrides": file.texts("config/overrides"),
    }


def summarise_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of that summary that a header (`RunHeader` as plain JSON) holds.

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
        "config": _plain_config(header["config_yaml"]),
    }


def _progress(file: ArchiveFile) -> dict[str, Any]:
    rows = [file.column(f"pubs/{name}/result_row") for name in file.groups("pubs")]
    predicted = file.numbers("partitions/predicted_qpu_s")
    has_result = file.numbers("jobs/num_results") > 0
    return {
        "pubs": sum(map(len, rows)),
        "results": sum(int(np.count_nonzero(column >= 0)) for column in rows),
        "jobs": len(predicted),
        "jobs_done": len(np.unique(file.numbers("jobs/partition")[has_result])),
        "predicted_qpu_s": total(predicted),
        "usage_s": total(file.numbers("jobs/usage_s")),
        "usage_pending": pending(file),
    }


def _predicted_charged(file: ArchiveFile) -> float | None:
    """Return the QPU seconds predicted for the jobs of a QPU that report a charge.

    A job that points share has one overhead, of which each has its share of the job's charge.
    """
    if str(file.attribute("/", "engine")) != "ibm" or not file.count("jobs/usage_s"):
        return None
    overhead_s, seconds = job_overhead_s(file), []
    rows = (file.numbers("jobs/usage_s"), file.numbers("jobs/predicted_qpu_s"))
    for usage_s, predicted_s, text in zip(*rows, file.texts("jobs/metrics_json"), strict=True):
        with file.reading():
            of_job_s = charged_s(json.loads(text))
        if usage_s > 0 and of_job_s:
            seconds.append(float(predicted_s) - overhead_s * (1 - min(1.0, usage_s / of_job_s)))
    return math.fsum(seconds)


def job_overhead_s(file: ArchiveFile) -> float:
    """Return the part of a job's predicted QPU seconds that does not depend on what it holds."""
    limit = file.document("config/limits_json").get("job_overhead_s") or {}
    return float(limit.get("value", 0.0))


def charged(file: ArchiveFile) -> float:
    """Return the QPU seconds charged for all jobs that report them."""
    return total(file.numbers("jobs/usage_s")) or 0.0


def pending(file: ArchiveFile) -> int:
    """Return the number of jobs whose charge was not final yet when they were collected."""
    texts = file.texts("jobs/metrics_json")
    with file.reading():
        return sum(is_charge_pending(json.loads(text)) for text in texts if "pending" in text)


def total(values: NDArray[np.float64]) -> float | None:
    """Return the sum of the finite values, None if there are none."""
    known = values[np.isfinite(values)]
    return math.fsum(known) if known.size else None


def load_config(text: str) -> dict[str, Any]:
    """Parse a recorded config.

    Raises:
        ArchiveError: It is no mapping in valid YAML.
    """
    import yaml  # type: ignore[import-untyped]

    # The loader written in C takes a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # qexp writes no aliases, and a few nested ones can expand beyond the memory.
        if "*" in text and any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text, loader)):
            raise yaml.YAMLError("aliases are not allowed")
        loaded = yaml.load(text, loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = one_line(error)[:200]
        raise ArchiveError(f"the recorded config is not valid YAML: {reason}") from None
    if not isinstance(loaded, dict):
        raise ArchiveError("the recorded config is not a mapping of keys")
    return loaded


def _plain_config(text: str) -> dict[str, Any]:
    """Return a recorded config as plain JSON, which must not be changed.

    It is parsed by its top-level keys: of most runs of a listing most of them are the same.
    """
    try:
        sections = [_section(part) for part in config_sections(text) if part]
    except ArchiveError:
        sections = [to_jsonable(load_config(text))]
    return {key: value for section in sections for key, value in section.items()}


@lru_cache(_MOST_SECTIONS)
def _section(text: str) -> dict[str, Any]:
    return dict(to_jsonable(load_config(text)))


def read_metadata(file: ArchiveFile) -> dict[str, Any]:
    """Return title, description, creators, publisher, funding, license, keywords, if declared.

    Any of them may be None. Keys of a later version are kept as they are.

    Raises:
        ArchiveError: They do not have the shape of the config's `metadata`.
    """
    metadata = file.document("config/metadata_json")
    for problem in _deviations(metadata, METADATA_SHAPE, "metadata"):
        raise ArchiveError(
            f"{file.path} holds metadata that qexp does not write ({problem}): restore it"
        )
    return metadata or {}


def _deviations(value: Any, shape: Any, where: str) -> Iterator[str]:
    """Describe each deviation of a value from its declared shape; None is allowed anywhere."""
    if value is None:
        return
    if isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        for index, item in enumerate(value):
            # An item of a list is never None: `...` deviates from every shape.
            present = ... if item is None else item
            yield from _deviations(present, shape[0], f"{where}[{index}]")
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{where} is no map"
            return
        needed = _REQUIRED.get(where.partition(".")[2].partition("[")[0])
        if needed and value.get(needed) is None:
            yield f"{where} has no {needed}"
        for name, inner in shape.items():
            yield from _deviations(value.get(name), inner, f"{where}.{name}")
    elif not isinstance(value, shape):
        yield f"{where} is no text"
