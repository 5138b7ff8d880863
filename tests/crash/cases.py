"""Which kills are worth a run."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.crash.steps import JOURNAL, Kill

# First match wins.
_KINDS = (
    # The journal is named by `steps`, with the event, and by `strace`, without.
    (rf"(?:call )?(?:write|fsync) {re.escape(JOURNAL)}(?: (\w+))?", "journal: {}"),
    (r"reply (\w+ /\w+).*", "request: {}"),
    (r"close (?:POINT/)?parts/.*", "merge"),
    (r"\w+ (?:POINT|\.?sweep\.json.*)", "declaration"),
    (r"\w+ (?:POINT/)?(?:parts/\.?(?:header|partition).*|parts|\.)", "plan on disk"),
    (r"\w+ (?:POINT/)?parts/.*", "outcomes on disk"),
    (r"(?:call )?(?:fill|copy to|close|flush|pwrite64|write) .*run\.h5.*", "merge"),
    (r"\w+ \.holder\.json", "lock"),
    (r"\w+ (?:POINT/)?\.?(?:run\.h5|parts-).*", "sealing"),
)


def kind_of(place: str) -> str:
    """What a step is part of, for the table."""
    for pattern, kind in _KINDS:
        match = re.fullmatch(pattern, place)
        if match is not None:
            return kind.format(*(group or "(by strace)" for group in match.groups()))
    return "other"


def kills_at(steps: Sequence[str], every: int, *, thin: str = "") -> Iterator[Kill]:
    """Kills at every step of the journal and towards the service, and every n-th of the others.

    Args:
        steps: A trace.
        every: n.
        thin: The only kind of step of which just every n-th counts; all others count in full.
    """
    seen: Counter[str] = Counter()
    others = 0
    for step in steps:
        place, can_tear = step.removesuffix("~"), step.endswith("~")
        seen[place] += 1
        kind = kind_of(place)
        outward = kind.startswith(("journal", "request"))
        is_thin = not outward and thin in ("", kind)
        others += is_thin
        if is_thin and others % every:
            continue
        # SIGKILL takes nothing back that was written: fsync only separates it from what follows.
        if not (outward and place.startswith("fsync")):
            yield Kill(place, seen[place], "before")
        if can_tear:
            yield Kill(place, seen[place], "torn")
        if place.startswith((f"fsync {JOURNAL}", "reply", "replace")):
            yield Kill(place, seen[place], "after")


def drawn(rng: random.Random, steps: Sequence[str], count: int) -> tuple[Kill, ...]:
    """Some kills at random, all kinds alike; a process that has fewer steps is not killed."""
    kinds: dict[str, list[Kill]] = {}
    for kill in kills_at(steps, 1):
        kinds.setdefault(kind_of(kill.place), []).append(kill)
    return tuple(rng.choice(kinds[rng.choice(sorted(kinds))]) for _ in range(count))
