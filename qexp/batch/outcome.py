"""The outcome of a job, divided among the attempts that it is of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from qexp.batch.request import planned_piece, simulation_seed
from qexp.core.model import FINAL_FAILURES, JobOutcome, Span
from qexp.journal.ledger import Attempt
from qexp.points import Experiment


def outcomes_of(
    experiment: Experiment, attempts: Sequence[Attempt], outcome: JobOutcome
) -> Iterator[tuple[Attempt, JobOutcome]]:
    """Yield the outcome of each open attempt of a job: its results, spans and share of the usage.

    The results of PUBs that have theirs from another job are left out: such an attempt has failed
    as a `duplicate`, and its usage is kept. `attempts` are all of the job, in the order of their
    PUBs in it; those of which an earlier process stored the outcome are over.
    """
    pieces = [planned_piece(experiment, attempt.piece) for attempt in attempts]
    executions = sum(piece.executions for piece in pieces)
    for attempt, piece in zip(attempts, pieces, strict=True):
        if attempt.is_over:
            continue
        part = replace(
            outcome,
            partition=attempt.partition,
            attempt=attempt.number,
            batch_id=attempt.batch,
            first=attempt.first,
            stop=attempt.stop,
            # All wait for each execution about as long, whatever the circuit.
            share=piece.executions / executions if executions else 1 / len(pieces),
        )
        if len(attempts) > 1:
            part = _sliced(part, attempt.offset, attempt.offset + piece.num_pubs)
            part = _told_apart(part, simulation_seed(experiment, attempt.piece))
        yield attempt, _or_duplicate(experiment, attempt, part)


def _told_apart(outcome: JobOutcome, seed: int) -> JobOutcome:
    """Return the outcome of a member of a shared job, with the seed that it was simulated with.

    The failure of a job that would only be repeated says nothing about one member.
    """
    if outcome.failure in (*FINAL_FAILURES, "internal", "too_long"):
        outcome = replace(outcome, failure="shared")
    if outcome.info.get("seed") in (None, seed):
        return outcome
    options: Any = dict(outcome.options)
    simulator = options.get("simulator", {})
    if simulator.get("seed_simulator") == outcome.info["seed"]:
        options["simulator"] = {**simulator, "seed_simulator": seed}
    return replace(outcome, options=options, info={**outcome.info, "seed": seed})


def _sliced(outcome: JobOutcome, first: int, stop: int) -> JobOutcome:
    """Return what an outcome says of some PUBs of its job."""
    from qiskit.primitives import PrimitiveResult

    result: Any = outcome.result
    if result is not None:
        result = PrimitiveResult(list(result)[first:stop], metadata=result.metadata)
    spans = tuple(
        Span(span.start, span.stop, span.pub - first, span.size)
        for span in outcome.spans
        if first <= span.pub < stop
    )
    raw = outcome.raw and outcome.raw.part(first, stop)
    return replace(outcome, result=result, spans=spans, raw=raw)


def _or_duplicate(experiment: Experiment, attempt: Attempt, outcome: JobOutcome) -> JobOutcome:
    """Return an outcome as it is, or as that of a duplicate if its results are not needed."""
    ledger = experiment.ledger
    if ledger.has_result(attempt.piece):
        kept = ledger.job_of(ledger.pieces_of(attempt.piece)[0])
        is_done = outcome.state == "DONE"
        return replace(
            outcome,
            result=None,
            raw=None,
            state="ERROR" if is_done else outcome.state,
            failure="duplicate",
            error=f"not needed: job {kept} gave the result of its PUBs",
            info={**outcome.info, "service_state": "DONE"} if is_done else outcome.info,
        )
    if outcome.state != "DONE" and attempt.job in ledger.duplicates:
        return replace(outcome, failure="duplicate")
    return outcome
