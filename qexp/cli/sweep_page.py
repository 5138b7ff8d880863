"""Pages of a sweep: its points, and the differences of its pairs."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from qexp.cli.show_page import Columns, Page, duration
from qexp.core.jsonable import as_text, to_jsonable
from qexp.sweeps.opened import Sweep
from qexp.sweeps.pairs import ComparedPair, Difference
from qexp.text import format_duration

_MAX_POINTS: Final = 50
_MAX_REASONS: Final = 10
_DIGITS: Final = 12


def sweep_json(sweep: Sweep) -> dict[str, Any]:
    """Return the JSON form of a sweep; expectation values are only in the dataset."""
    names = ("id", "created", "status", "swept", "overrides")
    return {
        "path": str(sweep.path),
        **{name: to_jsonable(getattr(sweep, name)) for name in names},
        "points": [
            {"index": point.index, "folder": point.folder.name, "draws": to_jsonable(point.draws)}
            | {key: to_jsonable(value) for key, value in record.items() if key != "evs"}
            for point, record in zip(sweep.points, sweep.records, strict=True)
        ],
    }


def format_sweep(sweep: Sweep, width: int, *, is_terminal: bool = False) -> str:
    """Format the summary of a sweep in `width` columns."""
    page = Page(width, is_terminal=is_terminal)
    page.print_title(f"sweep  {sweep.path.absolute().name}", sweep.status)
    page.print_facts(_facts(sweep))
    rows = [
        {"point": point, **record}
        for point, record in zip(sweep.points, sweep.records, strict=True)
    ]
    columns: Columns = {
        "point": lambda row: str(row["point"].index),
        **{
            name: lambda row, key=key: as_text(row["point"].draws.get(key))  # type: ignore[misc]
            for key, name in short_names(sweep.swept).items()
        },
        "status": lambda row: row["status"],
        "PUBs": _pubs,
        "usage": lambda row: duration(row.get("usage_s")),
        "data": lambda row: row.get("data_sha256", "")[:_DIGITS],
        "folder": lambda row: row["point"].folder.name,
    }
    page.print_table("points", columns, rows[:_MAX_POINTS], len(rows), left=2 + len(sweep.swept))
    lacking = [row for row in rows if row["reason"]]
    if lacking:
        lines = [f"{r['point'].index} {r['status']}: {r['reason']}" for r in lacking[:_MAX_REASONS]]
        more = len(lacking) - _MAX_REASONS
        page.print_lines("not complete", [*lines, *([f"... and {more} more"] if more > 0 else [])])
        page.print_command(f"to go on: python -m qexp resume {shlex.quote(str(sweep.path))}")
    return page.text


def format_differences(
    compared: Sequence[ComparedPair], differences: Sequence[Difference], width: int, top: int
) -> str:
    """Format the comparison of pairs, those that differ most first."""
    page = Page(width)
    pairs = sorted(compared, key=lambda one: _rank(one.p_adjusted))
    page.print_table("pairs of equal circuits", _PAIR, pairs[:top], len(pairs), left=3)
    tested = [one for one in differences if one.p_value is not None]
    by_change: dict[str, list[Difference]] = {}
    for one in sorted(tested, key=lambda one: _rank(one.p_adjusted)):
        by_change.setdefault(one.change, []).append(one)
    for change, found in by_change.items():
        heading = f"B minus A: {change}" if change else "B minus A"
        page.print_table(heading, _DIFFERENCE, found[:top], len(found), left=0)
    untested = len(differences) - len(tested)
    lines = [f"p-values are adjusted for {len(tested)} tests, by Holm"] if tested else []
    lines += [f"{untested} numbers without a test: no error bar, or no scatter"] if untested else []
    page.print_lines("tests", lines)
    return page.text


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return key -> its last part where that tells the keys apart, else the key."""
    lasts = Counter(key.rpartition(".")[2] for key in keys)
    return {k: last if lasts[last := k.rpartition(".")[2]] == 1 else k for k in keys}


def _facts(sweep: Sweep) -> Iterator[tuple[str, str]]:
    yield "declared", sweep.created
    yield "overrides", " ".join(sweep.overrides)
    for key in sweep.swept:
        values = dict.fromkeys(as_text(point.draws.get(key)) for point in sweep.points)
        yield (
            "swept",
            f"{key}: {', '.join([*values][:_MAX_REASONS])}"
            + (f" and {len(values) - _MAX_REASONS} more" if len(values) > _MAX_REASONS else ""),
        )
    statuses = Counter(str(record["status"]) for record in sweep.records)
    states = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    yield "points", f"{len(sweep)}: {states}"
    usage, predicted = (
        math.fsum(record.get(name) or 0.0 for record in sweep.records)
        for name in ("usage_s", "predicted_qpu_s")
    )
    yield "usage", f"{format_duration(usage)} (predicted {format_duration(predicted)} on a QPU)"


def _pubs(row: Mapping[str, Any]) -> str:
    if "num_pubs" not in row:
        return ""
    done, planned = row["num_results"], row["num_pubs"]
    return str(planned) if done == planned else f"{done}/{planned}"


def _rank(p_value: float | None) -> float:
    return math.inf if p_value is None else p_value


def _p(p_value: float | None) -> str:
    return "" if p_value is None else f"{p_value:.2g}"


_PAIR: Final[Columns] = {
    "A": lambda one: str(one.pair.a),
    "B": lambda one: str(one.pair.b),
    "circuits": lambda one: "same" if one.pair.same_isa else "transpiled to others",
    "distance": lambda one: "" if one.distance is None else f"{one.distance:.4f}",
    "p": lambda one: _p(one.data.p_value),
    "adjusted p": lambda one: _p(one.p_adjusted),
    "data": lambda one: one.data.verdict,
    "change": lambda one: one.pair.change or "none",
}
_DIFFERENCE: Final[Columns] = {
    "pairs": lambda one: str(len(one.pairs)),
    "difference": lambda one: (
        f"{one.mean:+.4g}" + ("" if math.isnan(one.error) else f" ± {one.error:.2g}")
    ),
    "test": lambda one: one.test or "",
    "p": lambda one: _p(one.p_value),
    "adjusted p": lambda one: _p(one.p_adjusted),
    "number": lambda one: one.name,
}
