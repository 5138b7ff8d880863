"""Outcomes of finished jobs: the result, or why there is none."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, cast

from qexp.core.model import JobOutcome, Span
from qexp.engines.ibm.calibration import Calibrations
from qexp.engines.ibm.client import client_reason, reading, redact_json
from qexp.engines.ibm.execution_spans import read_spans
from qexp.engines.ibm.failures import Expiry, classify_failure
from qexp.engines.ibm.jobs import Job, reason_code, state_fields
from qexp.engines.ibm.refusals import is_status
from qexp.errors import LostJobError, UndeliveredError
from qexp.redact import redact

_log = logging.getLogger(__name__)


class Collector:
    """Fetches the finished jobs of one batch.

    Args:
        backend_name: The backend that they ran on.
        batch_id: The batch.
        calibrations: Calibrations of the backend.
        expiry: When the batch's time is over.
    """

    def __init__(
        self, backend_name: str, batch_id: str, calibrations: Calibrations, expiry: Expiry
    ) -> None:
        self._backend_name = backend_name
        self._batch_id = batch_id
        self._calibrations = calibrations
        self._expiry = expiry

    def collect(self, job_id: str, job: Job) -> JobOutcome:
        """Fetch a job in a final state by at most three requests: metrics, calibration, result.

        A failed job costs its metrics and its log, and where nothing else tells that the batch's
        time was over, once per batch the batch's details.

        Raises:
            UndeliveredError: It is DONE, but what came is not its result. Nothing of that is
                kept, so that it is fetched anew the next time.
            LostJobError: The service does not know it any more.
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
        properties = self._calibrations.at(_timestamps(outcome).get("running"))
        result, problem = _fetch_result(outcome.job_id, job)
        if problem and not outcome.metrics:
            raise LostJobError(f"the service knows job {outcome.job_id} no more: {problem}")
        if problem:
            raise UndeliveredError(f"the result of job {outcome.job_id} did not arrive: {problem}")
        return replace(
            outcome,
            result=result,
            spans=_spans(result, outcome.job_id),
            backend_properties=properties,
        )

    def _with_failure(self, outcome: JobOutcome, job: Job) -> JobOutcome:
        failure = classify_failure(job.entry, outcome.state, _timestamps(outcome), self._expiry)
        reason, logs = _fetch_reason_and_logs(outcome.job_id, job)
        default = "cancelled" if outcome.state == "CANCELLED" else "the service gave no reason"
        return replace(
            outcome,
            error=redact(reason or default),
            error_code=reason_code(state_fields(job.entry)),
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
        known = {name: value for name, value in fields.items() if value is not None}
        return cast(dict[str, Any], redact_json(known))


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
                f"the service knows job {job_id} no more: {client_reason(error)}"
            ) from None
        if not isinstance(metrics, dict):
            raise TypeError(f"{type(metrics).__name__} instead of fields")
    return metrics


def _fetch_result(job_id: str, job: Job) -> tuple[Any, str | None]:
    """Return what came as the result, and what is wrong with it. Errors of the service pass."""
    from qiskit.primitives import PrimitiveResult, PubResult
    from qiskit_ibm_runtime.exceptions import IBMError
    from requests import RequestException

    job.update_handle()
    with reading(f"fetching the result of job {job_id}"):
        try:
            result = job.handle.result()
        except (IBMError, RequestException, OSError) as error:
            if not is_status(error, HTTPStatus.NOT_FOUND):
                raise
            return None, f"the service has none: {client_reason(error)}"
        except Exception as error:  # Whatever a decoder trips over in a damaged reply.
            return None, f"it cannot be decoded ({type(error).__name__}: {client_reason(error)})"
    if not isinstance(result, PrimitiveResult) or not all(
        isinstance(pub, PubResult) for pub in result
    ):
        return None, f"the client returned {type(result).__name__} instead of a PrimitiveResult"
    if len(result) != job.request.partition.num_pubs:
        return None, f"{len(result)} PUB results instead of {job.request.partition.num_pubs}"
    return result, _missing_shots(result, job)


def _missing_shots(result: Any, job: Job) -> str | None:
    """Return what lacks shots; with twirling, there are as many as the randomizations need."""
    from qiskit.primitives import BitArray

    shots = job.request.partition.shots
    twirling = job.options.get("twirling") or {}
    if shots is None or twirling.get("enable_gates") or twirling.get("enable_measure"):
        return None
    for index, pub in enumerate(result):
        for name, bits in pub.data.items():
            if isinstance(bits, BitArray) and bits.num_shots < shots:
                return f"{bits.num_shots} of {shots} shots in {name!r} of PUB {index}"
    return None


def _fetch_reason_and_logs(job_id: str, job: Job) -> tuple[str | None, str | None]:
    """Return why a job failed and its log, as far as the service has them."""
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


def _spans(result: Any, job_id: str) -> tuple[Span, ...]:
    try:
        return read_spans(result)
    except Exception as error:  # A result must not be lost for its timing.
        _log.warning("job %s: its execution spans cannot be read: %s", job_id, client_reason(error))
        return ()
