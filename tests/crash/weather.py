"""Draws a storm: faults on any endpoint, mishaps of jobs, kills and signals."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from tests.crash.cases import drawn
from tests.crash.steps import ANY, Kill, SignalName
from tests.emulator import faults, mishaps
from tests.emulator.faults import Endpoint, Scripted
from tests.emulator.routes import Request, Response

if TYPE_CHECKING:
    from tests.emulator.emulator import IBMEmulator

Fault: TypeAlias = Scripted | mishaps.Late
NUM_KILLS = 3
OFTEN = {
    "POST token": faults.TOKEN,
    "GET usage": faults.USAGE,
    "GET backends": faults.BACKENDS,
    "GET configuration": faults.CONFIGURATION,
    "GET properties": faults.PROPERTIES,
    "GET status": faults.STATUS,
    "POST /sessions": faults.OPEN_SESSION,
    "GET session": faults.SESSION,
    "PATCH session": faults.CLOSE_SESSION,
    "POST /jobs": faults.POST_JOB,
    "GET /jobs": faults.LIST_JOBS,
    "GET job": faults.JOB,
    "GET results": faults.RESULTS,
    "GET metrics": faults.METRICS,
}
SELDOM = {
    "DELETE session": faults.CANCEL_SESSION,
    "GET logs": faults.LOGS,
    "POST cancel": faults.CANCEL_JOB,
}
"""Asked only where a job fails or is cancelled."""
CLIENT_ERRORS = (400, 401, 403, 404, 408, 409, 413, 422, 425, 429)
SERVER_ERRORS = (500, 502, 503, 504, 520, 521, 522, 524)
EDITS = {"cut": faults.truncated, "garbled": faults.garbled, "empty": faults.empty}
TIMES = (1, 1, 1, 2, 3, 6, 10, 16)
"""Up to more than IBM's client tries by itself, and more than fit into an outage of 3 s."""
FEW_TIMES = (1, 1, 1, 2, 3, 4)
"""For replies that a process may rightly leave at."""
NTH = (1, 1, 1, 1, 2, 2, 3, 5)
LONGEST_RESUME = 30
"""Steps; the shortest resume that has something to merge takes more."""
JOB_CODES = (6000, 9999, 1305, 1000, 1217)
"""Internal error, unknown, ran too long, another internal one, session closed."""


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong.

    Attributes:
        kind: Its row of the table.
        text: All that was drawn.
        make: Makes it anew for one emulator.
    """

    kind: str
    text: str
    make: Callable[[IBMEmulator, mishaps.Witness], Fault]

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True)
class Storm:
    """All that happens in one round.

    Attributes:
        seed: It is drawn from this; None: it was declared.
        kills: The first one is for `python -m qexp`, the others are for the resumes after it.
        cancels: Whether a signal cancels jobs (`execution.on_interrupt`).
        num_spared: Number of processes before the first that is killed.
        overrides: Further ones, of the first process.
        verbs: What is typed after the first process, before it is only `resume`.
    """

    troubles: tuple[Trouble, ...]
    kills: tuple[Kill, ...] = ()
    cancels: bool = False
    seed: int | None = None
    num_spared: int = 0
    overrides: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"seed {self.seed}{', on_interrupt=cancel' if self.cancels else ''}"]
        lines += [f"  {self.num_spared} processes are spared"] * bool(self.num_spared)
        lines += [f"  {trouble}" for trouble in self.troubles]
        return "\n".join([*lines, *(f"  kill {kill}" for kill in self.kills)])


def storm(seed: int, steps: Sequence[str]) -> Storm:
    """Draw one.

    Args:
        seed: Decides all of it.
        steps: The trace of a run that nothing disturbs.
    """
    rng = random.Random(seed)
    troubles = tuple(_trouble(rng) for _ in range(rng.randint(1, 4)))
    kills = tuple(_kill(rng, steps, is_first=number == 0) for number in range(NUM_KILLS))
    return Storm(troubles, kills, cancels=rng.random() < 0.2, seed=seed)


def _kill(rng: random.Random, steps: Sequence[str], *, is_first: bool) -> Kill:
    (kill,) = drawn(rng, steps, 1)
    if not is_first and rng.random() < 0.85:
        # A resume takes other steps, and fewer.
        number = int(LONGEST_RESUME ** rng.random())
        kill = Kill(ANY, number, rng.choice(("before", "torn", "after")))
    names: list[SignalName] = ["SIGKILL"] * 3 + [rng.choice(("SIGINT", "SIGTERM"))]
    return replace(kill, signal=rng.choice(names))


def _trouble(rng: random.Random) -> Trouble:
    if rng.random() < 0.3:
        return rng.choice((_failure, _cancellation, _late, _gone, _expiry, _twice, _busy))(rng)
    return rng.choice((_status, _status, _status, _drop, _edit, _cut_refusal, _delay))(rng)


def _status(rng: random.Random) -> Trouble:
    name, endpoint = _endpoint(rng)
    is_server = rng.random() < 0.5
    code = rng.choice(SERVER_ERRORS if is_server else CLIENT_ERRORS)
    after, retry_after_s = rng.random() < 0.5, rng.choice((None, None, 0, 1, 2))
    nth, times = rng.choice(NTH), rng.choice(TIMES if is_server else FEW_TIMES)
    when = "after" if after else "before"
    told = "" if retry_after_s is None else f", Retry-After: {retry_after_s}"
    return Trouble(
        f"{'5xx' if is_server else '4xx'} {when} the act",
        f"{code} on {name}{told}, {_span(nth, times)}",
        lambda emulator, witness: faults.status(
            endpoint, code, after=after, retry_after_s=retry_after_s, nth=nth, times=times
        ),
    )


def _drop(rng: random.Random) -> Trouble:
    name, endpoint = _endpoint(rng)
    after, nth, times = rng.random() < 0.5, rng.choice(NTH), rng.choice(TIMES)
    return Trouble(
        f"connection lost {'after' if after else 'before'} the act",
        f"{name}, {_span(nth, times)}",
        lambda emulator, witness: faults.drop(endpoint, after=after, nth=nth, times=times),
    )


def _edit(rng: random.Random) -> Trouble:
    (name, endpoint), kind = _endpoint(rng), rng.choice(sorted(EDITS))
    nth, times = rng.choice(NTH), rng.choice(TIMES)
    return Trouble(
        f"reply {kind}",
        f"{name}, {_span(nth, times)}",
        lambda emulator, witness: faults.edited(endpoint, EDITS[kind], nth=nth, times=times),
    )


def _cut_refusal(rng: random.Random) -> Trouble:
    name, endpoint = _endpoint(rng)
    code, nth, times = rng.choice((400, 422)), rng.choice(NTH), rng.choice(FEW_TIMES)
    reply = Response(code, '{"errors": [{"code": 12')

    def act(request: Request, proceed: Callable[[], Response]) -> Response:
        return reply

    return Trouble(
        "refusal cut",
        f"{code} on {name}, {_span(nth, times)}",
        lambda emulator, witness: Scripted(endpoint, act, nth, times),
    )


def _delay(rng: random.Random) -> Trouble:
    name, endpoint = _endpoint(rng)
    seconds, nth, times = rng.choice((0.2, 0.5, 1.0)), rng.choice(NTH), rng.choice((1, 2, 3))
    return Trouble(
        "reply delayed",
        f"{name}, {seconds} s, {_span(nth, times)}",
        lambda emulator, witness: faults.then(
            endpoint, lambda: time.sleep(seconds), nth=nth, times=times
        ),
    )


def _failure(rng: random.Random) -> Trouble:
    ends: tuple[Literal["queue", "start", "end"], ...] = ("queue", "start", "end")
    code, at, nth = rng.choice(JOB_CODES), rng.choice(ends), rng.choice((1, 2, 3))
    return Trouble(
        "job fails",
        f"code {code} at its {at}, job {nth}",
        lambda emulator, witness: mishaps.failing(emulator, code, at, nth=nth),
    )


def _cancellation(rng: random.Random) -> Trouble:
    nth = rng.choice((1, 2, 3))
    return Trouble(
        "job cancelled",
        f"job {nth}",
        lambda emulator, witness: mishaps.cancelled(emulator, nth=nth),
    )


def _late(rng: random.Random) -> Trouble:
    nth, listings = rng.choice((1, 2, 3)), rng.choice((1, 1, 2, 3, 5))
    return Trouble(
        "job listed late",
        f"job {nth}, after {listings} listings",
        lambda emulator, witness: mishaps.Late(emulator, witness, nth, listings),
    )


def _gone(rng: random.Random) -> Trouble:
    nth = rng.choice((1, 1, 2, 3))
    return Trouble(
        "404 of a job that exists",
        f"request {nth}",
        lambda emulator, witness: faults.status(faults.JOB, 404, error=1291, nth=nth),
    )


def _expiry(rng: random.Random) -> Trouble:
    nth = rng.choice((1, 2, 3))
    return Trouble(
        "batch expires",
        f"with job {nth}",
        lambda emulator, witness: mishaps.expired(emulator, nth=nth),
    )


def _twice(rng: random.Random) -> Trouble:
    name = rng.choice(("POST /jobs", "POST /jobs", "POST /sessions"))
    nth, told = rng.choice((1, 1, 2, 3)), rng.choice(("first", "second"))
    return Trouble(
        "request doubled by a proxy",
        f"{name}, request {nth}, the reply is that to the {told}",
        lambda emulator, witness: mishaps.doubled(
            OFTEN[name], witness, emulator, nth=nth, is_first_told=told == "first"
        ),
    )


def _busy(rng: random.Random) -> Trouble:
    seconds, nth = rng.choice((0.3, 1.0, 2.0)), rng.choice((1, 2, 3))
    return Trouble(
        "device busy",
        f"{seconds} s from job {nth} on",
        lambda emulator, witness: mishaps.busy(emulator, seconds, nth=nth),
    )


def _endpoint(rng: random.Random) -> tuple[str, Endpoint]:
    return rng.choice([*OFTEN.items(), *OFTEN.items(), *SELDOM.items()])


def _span(nth: int, times: int) -> str:
    return f"request {nth}" if times == 1 else f"requests {nth} to {nth + times - 1}"
