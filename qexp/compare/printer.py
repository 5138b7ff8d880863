"""A comparison as text, at most 80 columns wide; sections without a difference take one line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import IO, Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from qexp.compare.model import (
    TOP,
    Calibration,
    Change,
    Comparison,
    DataComparison,
    PubComparison,
    WorkloadMatch,
)
from qexp.core.jsonable import dumps
from qexp.redact import redactor
from qexp.text import format_ranges, printable

WIDTH: Final = 80
_LONGEST_VALUE: Final = 200
_MOST_MOVED: Final = 8
_SAME_SOFTWARE: Final = "the same Python, platform, packages and repository"


class Printer:
    """Prints comparisons, on a terminal in lines as wide as that."""

    def __init__(self, out: IO[str], top: int = TOP) -> None:
        width = None if out.isatty() else WIDTH
        self._console = Console(file=out, width=width, highlight=False, emoji=False)
        self._top = top
        self._redact = redactor()

    def comparison(self, result: Comparison) -> None:
        """Print all sections."""
        for name, side in (("A", result.a), ("B", result.b)):
            part = "" if side.num_results == side.num_pubs else f"{side.num_results} of "
            pubs = f"{part}{_counted(side.num_pubs, 'PUB')}"
            self.line(f"{name}  {side.run_id}  {side.experiment}, {side.status}, {pubs}")
            self.line(f"   {side.backend}, engine {side.engine}, seed {side.seed}")
        self.line("")
        self._changes("run", "same experiment, status, engine, backend and seed", result.run)
        self._changes("config", "the same", result.config)
        self.circuits(result)
        self._changes("software", _SAME_SOFTWARE, result.software)
        self._calibration(result.calibration)
        self.data(result.data)

    def circuits(self, result: Comparison) -> None:
        """Print which PUBs both runs have."""
        common = _counted(sum(len(match.pairs) for match in result.circuits), "PUB")
        if result.same_circuits:
            self._section("circuits", f"the same, {common}")
            return
        self._section("circuits", f"{common} in common")
        for side, names in (("A", result.workloads_only_a), ("B", result.workloads_only_b)):
            if names:
                self.line(f"  workloads that only {side} has: {', '.join(names)}")
        for match in result.circuits:
            for text in _match_lines(match):
                self.line(f"  {match.workload}: {text}")

    def installed(self, changes: Sequence[Change]) -> None:
        """Print the differences of installed from recorded software; new packages are counted."""
        kept = [change for change in changes if change.kind != "added"]
        self._changes("software", _SAME_SOFTWARE, kept, ("then", "now"))
        if len(kept) < len(changes):
            count = len(changes) - len(kept)
            self.line(f"  packages that were not installed then: {count}")

    def data(self, result: DataComparison) -> None:
        """Print the verdict, and the PUBs that differ most."""
        self._section("data", data_verdict(result))
        others = [pub for pub in result.pubs if not pub.same_isa]
        if result.verdict == "different" and others:
            apart = sum(pub.same_isa for pub in result.different)
            self.line(
                f"  {len(others)} of them were transpiled to other circuits, with other noise; of "
                f"the {len(result.pubs) - len(others)} that were not, {apart} differ by themselves"
            )
        rows = [_pub_row(pub) for pub in sorted(result.pubs, key=_likeness)[: self._top]]
        if rows:
            columns = ("PUB", "distance", "by chance", "Hellinger", "largest z", "p", "adjusted p")
            self._table(columns, rows, num_left=1)
            self._more(len(result.pubs), "PUBs, those that differ most first")

    def line(self, text: str) -> None:
        """Print one line without secrets and terminal escapes; a long one is folded."""
        self._console.print(Text(self._safe(text)))

    def _section(self, name: str, summary: str) -> None:
        self._console.print(Text.assemble((name, "bold"), f": {self._safe(summary)}"))

    def _changes(
        self,
        name: str,
        same: str,
        changes: Sequence[Change],
        sides: tuple[str, str] = ("A", "B"),
    ) -> None:
        if not changes:
            self._section(name, same)
            return
        self._section(name, _counted(len(changes), "difference"))
        rows = [
            (
                change.key,
                "-" if change.kind == "added" else self._value(change.a),
                "-" if change.kind == "removed" else self._value(change.b),
            )
            for change in changes
        ]
        self._table(("", *sides), rows, num_left=3)

    def _calibration(self, result: Calibration) -> None:
        if not result.known_a or not result.known_b:
            lacking = [
                n for n, known in (("A", result.known_a), ("B", result.known_b)) if not known
            ]
            self._section("calibration", f"{' and '.join(lacking)} has none recorded")
            return
        if result.is_same:
            self._section("calibration", "the same")
            return
        summary = "of different devices, so that only medians are compared"
        if result.same_device:
            alone = sum(q.num_a + q.num_b - 2 * q.num_common for q in result.quantities)
            only = f", {alone} in one run only" if alone else ""
            summary = f"{_counted(len(result.moved), 'value')} differ{only}"
        self._section("calibration", f"{summary} (A {result.date_a}, B {result.date_b})")
        rows = [
            (
                f"median {q.quantity}",
                f"{q.num_changed} of {q.num_common} differ" if result.same_device else "",
                *_values(q.median_a, q.median_b, q.unit),
            )
            for q in result.quantities
        ]
        rows += [
            (moved.quantity, moved.where, *_values(moved.a, moved.b, moved.unit))
            for moved in result.moved[: self._top]
        ]
        self._table(("", "where", "A", "B", "B/A"), rows, num_left=2)
        self._more(len(result.moved), "values, those that moved most first")

    def _more(self, count: int, what: str) -> None:
        if count > self._top:
            self.line(f"  {self._top} of {count} {what}; --top {count} shows all")

    def _table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], num_left: int) -> None:
        """Print a table without its empty columns; the first `num_left` are aligned left."""
        used = [k for k in range(len(heads)) if any(row[k] for row in rows)]
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
        for k in used:
            justify: Any = "left" if k < num_left else "right"
            table.add_column(heads[k], justify=justify, overflow="fold")
        for row in rows:
            table.add_row(*(Text(self._safe(row[k])) for k in used))
        self._console.print(Padding(table, (0, 0, 0, 2), expand=False))

    def _value(self, value: Any) -> str:
        # Redacted before it is cut: the beginning of a secret would not be recognised.
        text = self._redact(value if isinstance(value, str) and value else dumps(value))
        text = text.replace("\n", "\\n")
        return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."

    def _safe(self, text: str) -> str:
        return printable(self._redact(text))


def _match_lines(match: WorkloadMatch) -> Iterator[str]:
    if not match.is_same:
        yield f"{len(match.pairs)} of A's {match.num_a} and B's {match.num_b} PUBs are the same"
    if match.reasons:
        parts = dict.fromkeys(part for reasons in match.reasons.values() for part in reasons)
        yield f"other {' and '.join(parts)}: {format_ranges(match.reasons)}"
    for side, indices in (("A", match.only_a), ("B", match.only_b)):
        if rest := [index for index in indices if index not in match.reasons]:
            yield f"only in {side}: {format_ranges(rest)}"
    if match.moved:
        listed = ", ".join(f"{i} -> {j}" for i, j in match.moved[:_MOST_MOVED])
        rest_count = len(match.moved) - _MOST_MOVED
        yield f"at another index: {listed}{f' and {rest_count} more' if rest_count > 0 else ''}"
    if match.other_isa:
        yield f"same circuits, transpiled to other ones: {format_ranges(match.other_isa)}"
    if match.other_target:
        yield f"other shots or precision: {format_ranges(match.other_target)}"


def _values(a: float, b: float, unit: str) -> Iterator[str]:
    """Format the value in A, the value in B, and their ratio; `-` where there is none."""
    for value in (a, b):
        text = f"{value * 1e6:.1f} us" if unit == "s" else f"{value:.3g}"
        yield "-" if math.isnan(value) else text
    ratio = b / a if a > 0 else math.nan
    yield f"{ratio:.2f}" if math.isfinite(ratio) else "-"


def _likeness(pub: PubComparison) -> tuple[float, float]:
    """Return a key that sorts PUBs without a test first, then those that differ most."""
    if pub.problem:
        return (2.0 if pub.identical else -1.0), 0.0
    p_value = 1.0 if pub.p_value is None else pub.p_value
    return p_value, -(pub.total_variation or pub.max_z or 0.0)


def _pub_row(pub: PubComparison) -> tuple[str, ...]:
    name = f"{pub.workload} {pub.a}" if pub.a == pub.b else f"{pub.workload} {pub.a}/{pub.b}"
    if pub.problem:
        return name, pub.problem, "", "", "", "", ""
    distance = pub.max_difference if pub.total_variation is None else pub.total_variation
    distances = (distance, pub.expected_total_variation, pub.hellinger)
    p_values = (pub.p_value, pub.p_adjusted)
    return (
        name,
        *("" if value is None else f"{value:.4f}" for value in distances),
        "" if pub.max_z is None else f"{pub.max_z:.2f}",
        *("" if p is None else _p_value_text(p).removeprefix("= ") for p in p_values),
    )


def data_verdict(data: DataComparison) -> str:
    """Return the verdict on the data of two runs, with what it is based on."""
    whole = "" if data.is_whole else " that both runs have"
    common = f"{_counted(data.num_common, 'PUB')}{whole}"
    if data.verdict == "identical":
        return f"bit-identical ({common})"
    if not data.num_common:
        return "nothing to compare: no PUB of which both runs have a result"
    if data.num_identical:
        common += f", {data.num_identical} bit-identical"
    tested = f", p {_p_value_text(data.p_value)}" if data.p_value is not None else ""
    facts = f"{common}{tested}, level {data.alpha:g}"
    if data.verdict == "compatible":
        return f"statistically compatible ({facts})"
    if data.verdict == "different":
        apart = len(data.different)
        how = f"{apart} by themselves" if apart else "none by itself, but all together"
        return f"statistically different: {how} ({facts})"
    if len(data.untested) == data.num_common:
        return f"not identical, and of no kind that can be tested ({common})"
    return (
        f"not all tested: {_counted(len(data.untested), 'PUB')} not identical, of no kind that can "
        f"be tested; the others compatible ({facts})"
    )


def _p_value_text(p_value: float) -> str:
    """Format a p-value with its relation: `= 0.034`, `< 1e-99`."""
    return f"= {p_value:.2g}" if p_value >= 1e-99 else "< 1e-99"


def _counted(count: int, noun: str) -> str:
    """Format a number of things: `1 PUB`, `3 PUBs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
