"""The section on provenance: everything that the run depended on, folded."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from qexp.report.parts import Fold, table
from qexp.report.text import date, number, plural

if TYPE_CHECKING:
    from qexp.archive.read import Archive

_SHOWN_FIRST = ("qexp", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "numpy", "scipy", "rustworkx")
_MAX_EVENTS = 400
_MAX_TEXT = 60_000


def identity(archive: Archive) -> tuple[tuple[str, str], ...]:
    """What identifies the run."""
    facts = [
        ("Run", archive.run_id),
        ("Experiment", archive.experiment),
        ("Started", archive.created),
        ("Backend and engine", f"{archive.backend['name']}, {archive.engine}"),
        ("Batches", ", ".join(batch.id for batch in archive.batches) or "none"),
        ("Command", shlex.join(["python", "-m", "qexp", *archive.overrides])),
        ("Seed", str(archive.seed)),
        ("Digest of the data", f"sha256 {archive.data_sha256}"),
        ("Archive", f"{archive.path.name}, schema {archive.schema}"),
    ]
    metadata = archive.metadata
    for name in ("license", "keywords"):
        value = metadata.get(name)
        if value:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            facts.append((name.capitalize(), text))
    return tuple(facts)


def folds(archive: Archive) -> tuple[Fold, ...]:
    """All that is folded."""
    made = [
        Fold("Config", "as resolved", text=_cut(archive.config_yaml)),
        _sources(archive),
        _software(archive),
        _seeds(archive),
        _not_honoured(archive),
        _limits(archive),
        _options(archive),
        _journal(archive),
    ]
    return tuple(fold for fold in made if fold is not None)


def _sources(archive: Archive) -> Fold | None:
    sources = archive.sources
    if not sources:
        return None
    inner = tuple(Fold(source.name, text=_cut(source.text)) for source in sources)
    return Fold(
        "Sources", f"{plural(len(sources), 'file')} that declare the experiment", inner=inner
    )


def _software(archive: Archive) -> Fold:
    environment = archive.environment
    installed = dict(item.partition("==")[::2] for item in environment["distributions"])
    facts = [("Python", environment["python"]), ("Platform", environment["platform"])]
    facts += [(name, installed[name]) for name in _SHOWN_FIRST if name in installed]
    commit = environment["git_commit"]
    state = " with uncommitted changes" if environment["git_dirty"] else ""
    facts.append(("Git commit", f"{commit}{state}" if commit else "not in a git repository"))
    known = {"python", "platform", "git_commit", "git_dirty", "git_diff", "distributions"}
    facts += [(name, _text(value)) for name, value in environment.items() if name not in known]
    packages = "\n".join(environment["distributions"])
    inner = [Fold("All packages", f"{len(environment['distributions'])}", text=packages)]
    if environment["git_diff"]:
        inner.append(Fold("Uncommitted changes", text=_cut(environment["git_diff"])))
    return Fold(
        "Software", f"Python {environment['python']}", facts=tuple(facts), inner=tuple(inner)
    )


def _seeds(archive: Archive) -> Fold:
    return Fold("Seeds", f"seed {archive.seed}", text=_cut(_text(archive.seeds)), is_wrapped=True)


def _not_honoured(archive: Archive) -> Fold | None:
    found = {name: options for name, options in archive.not_honoured.items() if options}
    if not found:
        return None
    return Fold("Options without effect on this engine", text=_cut(_text(found)), is_wrapped=True)


def _limits(archive: Archive) -> Fold | None:
    limits = {name: item for name, item in archive.limits.items() if isinstance(item, dict)}
    if not limits:
        return None
    rows = [
        [
            name,
            _number(item.get("value")),
            str(item.get("source", "")),
            str(item.get("checked", "")),
        ]
        for name, item in limits.items()
    ]
    return Fold(
        "Limits in force", f"{len(rows)}", table=table("limit|#value|source|looked up", rows)
    )


def _options(archive: Archive) -> Fold | None:
    if not len(archive.jobs):
        return None
    different: dict[str, str] = {}
    for workload in archive.workloads:
        job = next((job for job in archive.jobs if job.workload == workload), None)
        if job is not None:
            different[workload] = _text(job.options)
    inner = tuple(Fold(name, text=_cut(text), is_wrapped=True) for name, text in different.items())
    return Fold("Options as finalised", "of each workload's first job", inner=inner)


def _journal(archive: Archive) -> Fold | None:
    events = archive.journal
    if not events:
        return None
    rows = [
        [str(event.get("time", "")), str(event.get("event", "")), _details(event)]
        for event in events[:_MAX_EVENTS]
    ]
    note = (
        f"The first {_MAX_EVENTS} of {len(events):,} events." if len(events) > _MAX_EVENTS else ""
    )
    made = table("time|event|details", rows, note=note)
    return Fold(
        "Journal",
        f"{plural(len(events), 'event')}, {date(str(events[0].get('time', '')))}",
        table=made,
    )


def _details(event: dict[str, Any]) -> str:
    hidden = ("time", "event", "crc32")
    shown = {k: v for k, v in event.items() if k not in hidden and v is not None}
    text = ", ".join(
        f"{name} {len(value)} digests"
        if name == "parts" and isinstance(value, list)
        else f"{name} {value}"
        for name, value in shown.items()
    )
    return text if len(text) <= 300 else f"{text[:299]}…"


def _number(value: Any) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() else number(value, 6)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)


def _cut(text: str) -> str:
    if len(text) <= _MAX_TEXT:
        return text
    return f"{text[:_MAX_TEXT]}\n… (cut here: {len(text):,} characters; the archive has all of it)"
