"""Verdicts in one line: on the data of two runs, and on a reproduction."""

from __future__ import annotations

from qexp.compare.model import Comparison, DataComparison
from qexp.errors import NotReproducedError

USE_ARCHIVED = "to run the circuits as they are in the archive: --circuits archived"
"""Advice if circuits cannot be generated as they were."""


def data_verdict(data: DataComparison) -> str:
    """Return the verdict on the data of two runs, with what it is based on."""
    whole = "" if data.is_whole else " that both runs have"
    common = f"{counted(data.num_common, 'PUB')}{whole}"
    if data.verdict == "identical":
        return f"bit-identical ({common})"
    if not data.num_common:
        return "nothing to compare: no PUB of which both runs have a result"
    if data.num_identical:
        common += f", {data.num_identical} bit-identical"
    tested = f", p {p_value_text(data.p_value)}" if data.p_value is not None else ""
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
        f"not all tested: {counted(len(data.untested), 'PUB')} not identical, of no kind that can "
        f"be tested; the others compatible ({facts})"
    )


def reproduction_verdict(found: Comparison) -> str:
    """Return the outcome of a reproduction.

    Args:
        found: The archive compared with the archive of the new run.

    Raises:
        NotReproducedError: The data differ, or not all of them could be compared.
    """
    data, missing = found.data, found.a.num_results - found.data.num_common
    if missing:
        raise NotReproducedError(
            f"not reproduced: for {missing} of {found.a.num_results} PUBs the new run has another "
            f"circuit or no result; other software or another generator may be the reason; "
            f"{USE_ARCHIVED}"
        )
    if data.verdict == "identical":
        return "reproduced: bit-identical"
    if data.verdict == "compatible":
        return "reproduced: statistically compatible, not bit-identical"
    if data.verdict == "untested":
        reasons = "; ".join(dict.fromkeys(pub.problem for pub in data.untested))
        raise NotReproducedError(
            f"not reproduced: the data of {len(data.untested)} of {data.num_common} PUBs are not "
            f"bit-identical and cannot be tested: {reasons}"
        )
    raise NotReproducedError(
        f"not reproduced: the data are not compatible (level {data.alpha:g}); to see all of it: "
        f"python -m qexp diff {found.a.path} {found.b.path}"
    )


def p_value_text(p_value: float) -> str:
    """Format a p-value with its relation: `= 0.034`, `< 1e-99`."""
    return f"= {p_value:.2g}" if p_value >= 1e-99 else "< 1e-99"


def counted(count: int, noun: str) -> str:
    """Format a number of things: `1 PUB`, `3 PUBs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
