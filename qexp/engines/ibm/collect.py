"""Outcomes of finished jobs: result, execution spans and calibration, or why there is none."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from qexp.core.model import JobOutcome, Span
from qexp.core.raw import RawData, divide_raw
from qexp.engines.ibm.client import client_reason, reading, redact_json, service_call
from qexp.engines.ibm.codes import advice, key_to_lower
from qexp.engines.ibm.expected import ExpectedPub, expected_form, find_mismatch
from qexp.engines.ibm.jobs import (
    Expiry,
    Job,
    classify_failure,
    reason_code,
    reason_text,
    state_fields,
)
from qexp.engines.ibm.replies import is_status
from qexp.engines.private_api import evaluate_program, program_decoder
from qexp.errors import ArchiveError, EngineError, LostJobError, UndeliveredError
from qexp.redact import redact
from qexp.text import parse_time, utc_text

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult
    from qiskit_ibm_runtime import IBMBackend

_log = logging.getLogger(__name__)


class Collector:
    """Fetches the finished jobs of one batch, whose details `read_details` reads by one request."""

    def __init__(
        self,
        backend: IBMBackend,
        batch_id: str,
        read_details: Callable[[], Mapping[str, Any] | None],
    ) -> None:
        self._backend_name = backend.name
        self._batch_id = batch_id
        self._calibrations = Calibrations(backend)
        self._expiry = Expiry(read_details)

    def collect(self, job_id: str, job: Job) -> JobOutcome:
        """Fetch a job in a final state by at most three requests: metrics, calibration, result.

        A failed job costs its metrics and its log, and the batch's details, once per batch, where
        nothing else says that the batch's time was over.

        Raises:
            UndeliveredError: The job is DONE, but the reply is not its result. Nothing of it is
                kept, so that the next call fetches it again.
            LostJobError: The service no longer knows the job.
            EngineError: The service could not be asked.
        """
        outcome = JobOutcome(
            job_id,
            job.request.partition.index,
            job.state,
            None,
            metrics=_fetch_metrics(job_id, job),
            options=job.options,
            info=self._info(job),
            attempt=job.request.attempt,
            batch_id=self._batch_id,
        )
        if job.state == "DONE":
            return self._with_result(outcome, job)
        return self._with_failure(outcome, job)

    def _with_result(self, outcome: JobOutcome, job: Job) -> JobOutcome:
        job_id = outcome.job_id
        properties = self._calibrations.at(_timestamps(outcome).get("running"))
        result, raw, problem = _fetch_result(job_id, job)
        if problem and not outcome.metrics:
            raise LostJobError(f"the service no longer knows job {job_id}: {problem}")
        if problem:
            raise UndeliveredError(
                f"the reply is not the result of job {job_id}: {problem}", outcome.metrics
            )
        try:
            spans = read_spans(result)
        except Exception as error:  # A result must not be lost for its timing.
            reason = client_reason(error)
            _log.warning("job %s: its execution spans cannot be read: %s", job_id, reason)
            spans = ()
        return replace(outcome, result=result, raw=raw, spans=spans, backend_properties=properties)

    def _with_failure(self, outcome: JobOutcome, job: Job) -> JobOutcome:
        failure = classify_failure(job.entry, outcome.state, _timestamps(outcome), self._expiry)
        reason, logs = _fetch_reason_and_logs(outcome.job_id, job)
        default = "cancelled" if outcome.state == "CANCELLED" else "the service gave no reason"
        fields = state_fields(job.entry)
        key = key_to_lower(reason_code(fields), reason_text(fields))
        what = redact(reason or default)
        return replace(
            outcome,
            error=f"{what.rstrip('.')}; {advice(key)}" if failure == "too_large" and key else what,
            error_code=reason_code(fields),
            info=outcome.info if logs is None else {**outcome.info, "logs": redact(logs)},
            failure=failure,
        )

    def _info(self, job: Job) -> dict[str, Any]:
        from qiskit_ibm_runtime import __version__

        estimated_s = job.entry.get("estimated_running_time_seconds")
        fields = {
            "tags": list(job.handle.tags or ()),
            "primitive_id": job.handle.primitive_id,
            "session_id": self._batch_id,
            "backend": self._backend_name,
            "created": job.entry.get("created"),
            "private": bool(job.handle.private),
            "usage_estimation": {"quantum_seconds": estimated_s},
            "reason_solution": state_fields(job.entry).get("reason_solution"),
            "client": f"qiskit-ibm-runtime {__version__}",
        }
        reported = {name: value for name, value in fields.items() if value is not None}
        return cast(dict[str, Any], redact_json(reported))


def _timestamps(outcome: JobOutcome) -> Mapping[str, Any]:
    timestamps = outcome.metrics.get("timestamps")
    return timestamps if isinstance(timestamps, Mapping) else {}


def _fetch_metrics(job_id: str, job: Job) -> dict[str, Any]:
    with reading(f"fetching the metrics of job {job_id}"):
        try:
            metrics = redact_json(job.handle.metrics())
        except Exception as error:
            if not is_status(error, HTTPStatus.NOT_FOUND):
                raise
            if job.state == "DONE":
                _log.warning("job %s has no metrics: %s", job_id, client_reason(error))
                return {}
            raise LostJobError(
                f"the service no longer knows job {job_id}: {client_reason(error)}"
            ) from None
        if not isinstance(metrics, dict):
            raise TypeError(f"{type(metrics).__name__} instead of fields")
    return metrics


def _fetch_result(job_id: str, job: Job) -> tuple[Any, RawData | None, str | None]:
    """Return a result, its raw data, and what is wrong with it; the service's errors are raised."""
    from qiskit.primitives import PrimitiveResult, PubResult
    from qiskit_ibm_runtime.exceptions import IBMError
    from requests import RequestException

    job.update_handle()
    with reading(f"fetching the result of job {job_id}"):
        try:
            result, raw = _decoded(job_id, job)
        except (IBMError, RequestException, OSError) as error:
            if not is_status(error, HTTPStatus.NOT_FOUND):
                raise
            return None, None, f"the service has none: {client_reason(error)}"
        except Exception as error:  # A decoder can raise anything over a damaged reply.
            reason = f"{type(error).__name__}: {client_reason(error)}"
            return None, None, f"it cannot be decoded ({reason})"
    if not isinstance(result, PrimitiveResult) or not all(
        isinstance(pub, PubResult) for pub in result
    ):
        what = type(result).__name__
        return None, None, f"the client returned {what} instead of a PrimitiveResult"
    return result, raw, find_mismatch(result, _expected(job_id, job), job.request, job.options)


def _decoded(job_id: str, job: Job) -> tuple[Any, RawData | None]:
    """Return the result, and the raw data of a client-side Estimator, which the client drops."""
    primitive = job.request.primitive
    if primitive.kind == "sampler" or primitive.implementation == "legacy":
        return job.handle.result(), None
    found = job.handle.result(decoder=program_decoder())
    raw = None
    try:
        raw = divide_raw(found)
    except Exception as error:  # A result must not be lost for its raw data.
        _log.warning("job %s: its raw data cannot be kept: %s", job_id, client_reason(error))
    return evaluate_program(found, primitive.kind), raw


def _expected(job_id: str, job: Job) -> Sequence[ExpectedPub] | None:
    """Return the form of the job's result, or None if its PUBs can no longer be read."""
    if job.expected is None:
        try:
            job.expected = expected_form(job.request.load_pubs())
        except ArchiveError as error:  # A result must not be lost for it.
            _log.warning("job %s: the form of its result is not checked: %s", job_id, error)
    return job.expected


def _fetch_reason_and_logs(job_id: str, job: Job) -> tuple[str | None, str | None]:
    """Return the reason of a failure and the job's log, as far as the service has them."""
    from qiskit_ibm_runtime.exceptions import IBMError

    reason = state_fields(job.entry).get("reason")
    with reading(f"fetching the log of job {job_id}"):
        if reason or job.state == "CANCELLED":
            job.update_handle()
        try:
            if not reason and job.state != "CANCELLED":
                reason = job.handle.error_message()
            logs = str(job.handle.logs())
        except IBMError as error:
            _log.warning("job %s: its log cannot be read: %s", job_id, client_reason(error))
            logs = None
    return str(reason) if reason else None, logs


class Calibrations:
    """Calibrations of one backend, each valid over a stretch of time.

    The service answers "the last calibration before t" with its date, so one reply is valid from
    that date up to t: jobs that ran in between need no request.
    """

    def __init__(self, backend: IBMBackend) -> None:
        self._backend = backend
        self._valid: list[tuple[datetime, datetime, Mapping[str, Any]]] = []

    def at(self, moment: str | None) -> Mapping[str, Any] | None:
        """Return the backend's properties at a moment, ISO 8601; None if the job never ran.

        Returns:
            `BackendProperties.to_dict()`, JSON-able, with dates in ISO 8601, or None where there
            are none: a retired backend or a lost calibration is no reason to lose a result.
        """
        if not moment:
            return None
        when = parse_time(moment) if isinstance(moment, str) else None
        if when is None:
            _log.warning("%r is not a time, so the calibration then is unknown", moment)
            return None
        for since, until, properties in self._valid:
            if since <= when <= until:
                return properties
        return self._fetch(when)

    def _fetch(self, when: datetime) -> Mapping[str, Any] | None:
        name = self._backend.name
        try:
            with service_call(f"fetching the calibration of {name}"):
                fetched = self._backend.properties(datetime=when)
        except EngineError as error:
            _log.warning("%s", client_reason(error))
            return None
        except Exception as error:  # The client can raise anything over a damaged reply.
            kind, reason = type(error).__name__, client_reason(error)
            _log.warning("the calibration of %s cannot be read: %s: %s", name, kind, reason)
            return None
        if fetched is None:
            return None
        properties = cast(dict[str, Any], redact_json(fetched.to_dict()))
        since = parse_time(str(properties.get("last_update_date")))
        # Without a date, nobody knows since when it is valid: it serves no other job.
        if since is not None:
            self._valid.append((min(since, when), when, properties))
        return properties


def read_spans(result: PrimitiveResult[Any]) -> tuple[Span, ...]:
    """Read the execution spans of a job's result, sorted by start, stop and PUB.

    The legacy Sampler reports `ExecutionSpans`, whose slices count shots. The client-side
    primitives report chunks of program items, counted in elements (parameter set x
    randomization); each is multiplied by its shots. Items that belong to no PUB (circuits that
    learn the measurement noise) are left out. Times are ISO 8601 in UTC.
    """
    metadata: Mapping[str, Any] = result.metadata or {}
    spans = [*_legacy_spans(metadata), *_chunk_spans(result, metadata)]
    return tuple(sorted(spans, key=lambda span: (span.start, span.stop, span.pub)))


def _legacy_spans(metadata: Mapping[str, Any]) -> Iterator[Span]:
    execution = metadata.get("execution")
    for span in execution.get("execution_spans", ()) if isinstance(execution, Mapping) else ():
        for pub in span.pub_idxs:
            # Not filter_by_pub: it fails for TwirledSliceSpanV2 (qiskit-ibm-runtime 0.51).
            size = int(span.mask(pub).sum())
            yield Span(utc_text(span.start), utc_text(span.stop), int(pub), size)


def _chunk_spans(result: PrimitiveResult[Any], metadata: Mapping[str, Any]) -> Iterator[Span]:
    chunks = getattr(metadata.get("executor"), "chunk_timing", ())
    if not chunks:
        return
    items_per_pub, shots = _items_per_pub(metadata), _shots_per_element(metadata)
    for chunk in chunks:
        sizes: Counter[int] = Counter()
        for part in chunk.parts:
            sizes[part.idx_item // items_per_pub] += part.size * shots
        for pub, size in sizes.items():
            if pub < len(result):
                yield Span(utc_text(chunk.start), utc_text(chunk.stop), pub, size)


def _items_per_pub(metadata: Mapping[str, Any]) -> int:
    """Return the program items of a PUB: one per noise factor of gate folding, else one."""
    from qiskit_ibm_runtime.options_models.zne import DEFAULT_NOISE_FACTORS

    resilience = metadata.get("options", {}).get("resilience", {})
    zne = resilience.get("zne", {})
    if not resilience.get("zne_mitigation") or zne.get("amplifier") == "pea":
        return 1
    factors = zne.get("noise_factors", "auto")
    return len(DEFAULT_NOISE_FACTORS if factors == "auto" else factors)


def _shots_per_element(metadata: Mapping[str, Any]) -> int:
    """Return the shots of one element: in a Sampler's metadata, but not in an Estimator's."""
    options, shots = metadata.get("options", {}), int(metadata.get("shots") or 1)
    twirling, resilience = options.get("twirling", {}), options.get("resilience")
    is_twirled = twirling.get("enable_gates") or twirling.get("enable_measure")
    if resilience is None or not is_twirled:
        return shots
    from qiskit_ibm_runtime.executor.calculate_twirling_shots import calculate_twirling_shots
    from qiskit_ibm_runtime.executor_estimator.pec import calculate_pec_twirling_shots

    pec = resilience.get("pec_mitigation")
    split = calculate_pec_twirling_shots if pec else calculate_twirling_shots
    randomizations = twirling["num_randomizations"], twirling["shots_per_randomization"]
    return int(split(shots, *randomizations)[1])
