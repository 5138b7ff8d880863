"""Sweeps to be killed at each line of their journals, which together have every kind of line.

A sweep that nothing disturbs has nine kinds. In the others a point cannot run, a job is refused,
fails, expires or doubles, or the user cancels.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from qexp.journal.events import Event, Repaired
from tests.crash.forms import LANES, SWEEP, WITH_BAD_POINT, Form
from tests.crash.steps import JOURNAL, Kill
from tests.crash.weather import Storm, Trouble
from tests.emulator import faults, mishaps
from tests.emulator.faults import CANCEL_SESSION, POST_JOB

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crash.weather import Fault
    from tests.emulator import IBMEmulator

PLAIN: Final[dict[str, Form]] = {
    "nothing else": SWEEP,
    "two backends": LANES,
    "a point cannot run": WITH_BAD_POINT,
}
"""Sweeps of which every process ends alike, and every PUB is executed once, on either engine."""

KINDS: Final = frozenset(
    re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    for kind in Event.__subclasses__()
    # A repair writes the whole file anew.
    if kind is not Repaired
)
_LINE: Final = re.compile(rf"write {re.escape(JOURNAL)} (\w+)~?")


def kills_at_lines(steps: Sequence[str]) -> Iterator[Kill]:
    """Yield a kill before each line of the journal, and once it is durable.

    Of each kind of line, one is also torn.

    Args:
        steps: The trace of the process that wrote them.
    """
    seen: Counter[str] = Counter()
    for match in filter(None, map(_LINE.fullmatch, steps)):
        event = match[1]
        seen[event] += 1
        yield Kill(f"write {JOURNAL} {event}", seen[event], "before")
        if seen[event] == 1:
            yield Kill(f"write {JOURNAL} {event}", 1, "torn")
        yield Kill(f"fsync {JOURNAL} {event}", seen[event], "after")


def _trouble(text: str, make: Callable[[IBMEmulator, mishaps.Witness], Fault]) -> Trouble:
    return Trouble("mishap", text, make)


def _held_until_cancelled() -> tuple[Trouble, ...]:
    return (
        _trouble("device busy", lambda emulator, _: faults.first(POST_JOB, emulator.hold)),
        _trouble("free", lambda emulator, _: faults.then(CANCEL_SESSION, emulator.release)),
    )


TROUBLED: Final[dict[str, Storm]] = {
    "a shared job is refused": Storm(
        troubles=(_trouble("invalid", lambda *_: faults.status(POST_JOB, 400, error=1002)),)
    ),
    "jobs are too large": Storm(
        troubles=(_trouble("too large", lambda *_: faults.status(POST_JOB, 413, times=2)),)
    ),
    "no more jobs are allowed": Storm(
        troubles=(_trouble("forbidden", lambda *_: faults.status(POST_JOB, 403, nth=2)),)
    ),
    "a shared job fails": Storm(
        troubles=(_trouble("fails", lambda one, _: mishaps.failing(one, 6000, "end", nth=1)),)
    ),
    "the batch expires": Storm(
        troubles=(_trouble("expires", lambda one, _: mishaps.expired(one, nth=2)),)
    ),
    "a proxy doubles a job": Storm(
        troubles=(
            _trouble("doubled", lambda one, told: mishaps.doubled(POST_JOB, told, one, nth=1)),
        )
    ),
    "the user cancels": Storm(
        troubles=_held_until_cancelled(),
        overrides=("stop_after=submit",),
        verbs=("cancel", "resume"),
    ),
}
"""Sweeps against the emulator, without kills."""
