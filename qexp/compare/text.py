"""A comparison as text, at most 80 columns wide; sections without a difference take one line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

from qexp.compare.model import (
    Calibration,
    Change,
    Comparison,
    DataComparison,
    Moved,
    PubComparison,
    Side,
    WorkloadMatch,
)
from qexp.core.jsonable import dumps
from qexp.redact import redactor

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 80
TOP = 10
_LONGEST_VALUE = 200


def as_json(found: Comparison) -> str:
    """The comparison as one JSON document, with what is derived in it."""
    plain = json.loads(dumps(found, redactor()))
    plain["differs"] = found.differs
    plain["data"]["num_different"] = len(found.data.different)
    plain["data"]["num_untested"] = len(found.data.untested)
    for moved, of in zip(plain["calibration"]["moved"], found.calibration.moved, strict=True):
        moved["ratio"] = of.ratio if math.isfinite(of.ratio) else None
    for match, of_match in zip(plain["circuits"], found.circuits, strict=True):
        match["moved"] = [list(pair) for pair in of_match.moved]
    return json.dumps(plain, indent=2)


class Printer:
    """Prints comparisons.

    Args:
        out: Where to; its width counts where it is a terminal.
        top: Most rows of the tables of calibrations and PUBs.
    """

    def __init__(self, out: IO[str], top: int = TOP) -> None:
        from rich.console import Console

        width = None if out.isatty() else WIDTH
        self._console: Console = Console(file=out, width=width, highlight=False, emoji=False)
        self._top = top
        self._redact = redactor()

    def comparison(self, found: Comparison) -> None:
        """Print all sections."""
        for name, side in (("A", found.a), ("B", found.b)):
            for text in _described(name, side):
                self.line(text)
        self.line("")
        self._changes("run", "same experiment, status, engine, backend and seed", found.run)
        self._changes("config", "the same", found.config)
        self.circuits(found)
        self.software(found.software)
        self._calibration(found.calibration)
        self.data(found.data)

    def software(self, changes: Sequence[Change], sides: tuple[str, str] = ("A", "B")) -> None:
        """Print what differs in the software.

        Args:
            changes: The differences.
            sides: Heads of the columns.
        """
        same = "the same Python, platform, packages and repository"
        self._changes("software", same, changes, sides)

    def data(self, found: DataComparison) -> None:
        """Print the verdict, and the PUBs that differ most."""
        self._section("data", verdict(found))
        others = [pub for pub in found.pubs if not pub.same_isa]
        if found.verdict == "different" and others:
            apart = sum(pub.same_isa for pub in found.different)
            self.line(
                f"  {len(others)} of them were transpiled to other circuits, with other noise; of "
                f"the {len(found.pubs) - len(others)} that were not, {apart} differ by themselves"
            )
        rows = [
            row
            for pub in sorted(found.pubs, key=_by_difference)[: self._top]
            if (row := _pub_row(pub))
        ]
        if rows and found.verdict != "identical":
            columns = ("PUB", "distance", "by chance", "Hellinger", "largest z", "p", "adjusted p")
            self._table(columns, rows, right=range(1, 7))
            self._more(len(found.pubs), "PUBs, those that differ most first")

    def line(self, text: str) -> None:
        """Print one line; a long one is folded."""
        from rich.text import Text

        self._console.print(Text(self._shown(text)))

    def _section(self, name: str, summary: str) -> None:
        from rich.text import Text

        self._console.print(Text.assemble((name, "bold"), f": {self._shown(summary)}"))

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
        rows = [(each.key, self._value(each, "a"), self._value(each, "b")) for each in changes]
        self._table(("", *sides), rows)

    def circuits(self, found: Comparison) -> None:
        """Print which PUBs both runs have."""
        if found.same_circuits:
            total = sum(len(match.pairs) for match in found.circuits)
            self._section("circuits", f"the same, {_counted(total, 'PUB')}")
            return
        common = sum(len(match.pairs) for match in found.circuits)
        self._section("circuits", f"{_counted(common, 'PUB')} in common")
        for side, names in (("A", found.workloads_only_a), ("B", found.workloads_only_b)):
            if names:
                self.line(f"  workloads that only {side} has: {', '.join(names)}")
        for match in found.circuits:
            for text in _match_lines(match):
                self.line(f"  {match.workload}: {text}")

    def _calibration(self, found: Calibration) -> None:
        if not found.known_a or not found.known_b:
            lacking = [n for n, known in (("A", found.known_a), ("B", found.known_b)) if not known]
            self._section("calibration", f"{' and '.join(lacking)} has none recorded")
            return
        if found.is_same:
            self._section("calibration", "the same")
            return
        told = (
            _moved_or_alone(found)
            if found.same_device
            else ("of different devices, so that only medians are compared")
        )
        self._section("calibration", f"{told} (A {found.date_a}, B {found.date_b})")
        medians = [
            (
                f"median {q.quantity}",
                f"{q.num_changed} of {q.num_common} differ" if found.same_device else "",
                _quantity(q.median_a, q.unit),
                _quantity(q.median_b, q.unit),
                _ratio(q.median_b / q.median_a if q.median_a > 0 else math.nan),
            )
            for q in found.quantities
        ]
        moved = [_moved_row(m) for m in found.moved[: self._top]]
        self._table(("", "where", "A", "B", "B/A"), [*medians, *moved], right=range(2, 5))
        self._more(len(found.moved), "values, those that moved most first")

    def _more(self, count: int, what: str) -> None:
        if count > self._top:
            self.line(f"  {self._top} of {count} {what}; --top {count} shows all")

    def _table(
        self, columns: Iterable[str], rows: Sequence[Sequence[str]], right: Iterable[int] = ()
    ) -> None:
        """A table without the columns that are empty."""
        from rich.box import SIMPLE_HEAD
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        used = [k for k in range(len(rows[0])) if any(row[k] for row in rows)]
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
        names, to_right = list(columns), set(right)
        for k in used:
            justify: Any = "right" if k in to_right else "left"
            table.add_column(names[k], justify=justify, overflow="fold")
        for row in rows:
            table.add_row(*(Text(self._shown(row[k])) for k in used))
        self._console.print(Padding(table, (0, 0, 0, 2), expand=False))

    def _value(self, change: Change, side: str) -> str:
        if change.kind == {"a": "added", "b": "removed"}[side]:
            return "-"
        value = getattr(change, side)
        # Before it is cut: the beginning of a secret would not be known as one.
        text = self._redact(value if isinstance(value, str) and value else dumps(value))
        return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."

    def _shown(self, text: str) -> str:
        """Without secrets, and without characters that would steer a terminal."""
        text = self._redact(text)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def verdict(found: DataComparison) -> str:
    """What is said of the data, in one line."""
    of = "" if found.is_whole else " that both runs have"
    common = f"{_counted(found.num_common, 'PUB')}{of}"
    if found.verdict == "identical":
        return f"bit-identical ({common})"
    if not found.num_common:
        return "nothing to compare: no PUB of which both runs have a result"
    same = f", {found.num_identical} bit-identical" if found.num_identical else ""
    if found.verdict == "untested":
        count = len(found.untested)
        if count == found.num_common:
            return f"not identical, and of no kind that can be tested ({common})"
        p_value = f", p {_compared(found.p_value)}" if found.num_tested else ""
        return (
            f"not all tested: {_counted(count, 'PUB')} not identical, of no kind that can be "
            f"tested; the others compatible ({common}{same}{p_value}, level {found.alpha:g})"
        )
    facts = f"{common}{same}, p {_compared(found.p_value)}, level {found.alpha:g}"
    if found.verdict == "compatible":
        return f"statistically compatible ({facts})"
    apart = len(found.different)
    how = f"{apart} by themselves" if apart else "none by itself, but all together"
    return f"statistically different: {how} ({facts})"


def _described(name: str, side: Side) -> tuple[str, str]:
    part = "" if side.num_results == side.num_pubs else f"{side.num_results} of "
    pubs = f"{part}{_counted(side.num_pubs, 'PUB')}"
    return (
        f"{name}  {side.run_id}  {side.experiment}, {side.status}, {pubs}",
        f"   {side.backend}, engine {side.engine}, seed {side.seed}",
    )


def _match_lines(match: WorkloadMatch) -> Iterable[str]:
    if not match.is_same:
        yield f"{len(match.pairs)} of A's {match.num_a} and B's {match.num_b} PUBs are the same"
    if match.reasons:
        parts = dict.fromkeys(part for reasons in match.reasons.values() for part in reasons)
        yield f"other {' and '.join(parts)}: {ranges(match.reasons)}"
    for side, indices in (("A", match.only_a), ("B", match.only_b)):
        if rest := [index for index in indices if index not in match.reasons]:
            yield f"only in {side}: {ranges(rest)}"
    if match.moved:
        listed = ", ".join(f"{i} -> {j}" for i, j in match.moved[:8])
        more = f" and {len(match.moved) - 8} more" if len(match.moved) > 8 else ""
        yield f"at another index: {listed}{more}"
    if match.other_isa:
        yield f"same circuits, transpiled to other ones: {ranges(match.other_isa)}"
    if match.other_target:
        yield f"other shots or precision: {ranges(match.other_target)}"


def ranges(indices: Iterable[int], most: int = 8) -> str:
    """Indices as short text: `0-4, 7, 9-12`.

    Args:
        indices: Any indices.
        most: Most ranges that are listed.
    """
    runs: list[list[int]] = []
    ordered = sorted(set(indices))
    for index in ordered:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    listed = [str(a) if a == b else f"{a}-{b}" for a, b in runs[:most]]
    more = f", ... ({len(ordered)} in all)" if len(runs) > most else ""
    return ", ".join(listed) + more


def _moved_or_alone(found: Calibration) -> str:
    alone = sum(q.num_a + q.num_b - 2 * q.num_common for q in found.quantities)
    differ = f"{_counted(len(found.moved), 'value')} differ"
    return f"{differ}, {alone} in one run only" if alone else differ


def _moved_row(moved: Moved) -> tuple[str, ...]:
    a, b = _quantity(moved.a, moved.unit), _quantity(moved.b, moved.unit)
    return moved.quantity, moved.where, a, b, _ratio(moved.ratio)


def _quantity(value: float, unit: str) -> str:
    if math.isnan(value):
        return "-"
    return f"{value * 1e6:.1f} us" if unit == "s" else f"{value:.3g}"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if math.isfinite(ratio) else "-"


def _by_difference(pub: PubComparison) -> tuple[float, float]:
    if pub.problem:
        return (2.0 if pub.identical else -1.0), 0.0
    p_value = 1.0 if pub.p_value is None else pub.p_value
    return p_value, -(pub.total_variation or pub.max_z or 0.0)


def _pub_row(pub: PubComparison) -> tuple[str, ...]:
    index = f"{pub.a}" if pub.a == pub.b else f"{pub.a}/{pub.b}"
    name = f"{pub.workload} {index}"
    if pub.problem:
        return name, pub.problem, "", "", "", "", ""
    distance = pub.max_difference if pub.total_variation is None else pub.total_variation
    return (
        name,
        _number(distance),
        _number(pub.expected_total_variation),
        _number(pub.hellinger),
        "" if pub.max_z is None else f"{pub.max_z:.2f}",
        _p(pub.p_value),
        _p(pub.p_adjusted),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _p(value: float | None) -> str:
    return "" if value is None else _compared(value).removeprefix("= ")


def _compared(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"= {value:.2g}" if value >= 1e-99 else "< 1e-99"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
