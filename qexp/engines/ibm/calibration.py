"""The calibration in force when a job ran, asked for only where it is not known yet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from qexp.engines.ibm.client import one_line, redacted, service_call
from qexp.errors import EngineError

if TYPE_CHECKING:
    from qiskit_ibm_runtime import IBMBackend

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Known:
    since: datetime
    until: datetime
    properties: Mapping[str, Any]


class Calibrations:
    """Calibrations of one backend, each known to hold over a stretch of time.

    The service answers "the last calibration before t" with its date, so one reply holds from
    that date up to t: jobs that ran in between need no request.
    """

    def __init__(self, backend: IBMBackend) -> None:
        self._backend = backend
        self._known: list[_Known] = []

    def at(self, moment: str | None) -> Mapping[str, Any] | None:
        """The backend's properties at a moment, as a JSON-able dict.

        Args:
            moment: ISO 8601 UTC; None if the job never ran.

        Returns:
            `BackendProperties.to_dict()` with dates in ISO 8601, or None where there are none:
            a retired backend or a lost calibration is no reason to lose a result.
        """
        if not moment:
            return None
        try:
            when = _utc(moment)
        except (TypeError, ValueError):
            _log.warning("%r is no time for which a calibration can be had", moment)
            return None
        for known in self._known:
            if known.since <= when <= known.until:
                return known.properties
        return self._fetch(when)

    def _fetch(self, when: datetime) -> Mapping[str, Any] | None:
        try:
            with service_call(f"fetching the calibration of {self._backend.name}"):
                properties = self._backend.properties(datetime=when)
        except EngineError as error:
            _log.warning("%s", one_line(error))
            return None
        except Exception as error:  # Whatever the client trips over in a damaged reply.
            name, kind = self._backend.name, type(error).__name__
            _log.warning(
                "the calibration of %s cannot be read: %s: %s", name, kind, one_line(error)
            )
            return None
        if properties is None:
            return None
        found = cast(dict[str, Any], redacted(properties.to_dict()))
        try:
            since = _utc(str(found["last_update_date"]))
        except (KeyError, ValueError):
            # Kept for this job; when it began to hold is not known, so it serves no other.
            return found
        self._known.append(_Known(min(since, when), when, found))
        return found


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
