"""The calibration in force when a job ran, asked for only where it is not known yet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from qexp.engines.ibm.client import client_reason, redact_json, service_call
from qexp.errors import EngineError
from qexp.text import parse_time

if TYPE_CHECKING:
    from qiskit_ibm_runtime import IBMBackend

_log = logging.getLogger(__name__)


class Calibrations:
    """Calibrations of one backend, each known to hold over a stretch of time.

    The service answers "the last calibration before t" with its date, so one reply holds from
    that date up to t: jobs that ran in between need no request.

    Args:
        backend: The backend.
    """

    def __init__(self, backend: IBMBackend) -> None:
        self._backend = backend
        self._held: list[tuple[datetime, datetime, Mapping[str, Any]]] = []

    def at(self, moment: str | None) -> Mapping[str, Any] | None:
        """Return the backend's properties at a moment.

        Args:
            moment: ISO 8601 UTC; None if the job never ran.

        Returns:
            `BackendProperties.to_dict()`, JSON-able, with dates in ISO 8601, or None where there
            are none: a retired backend or a lost calibration is no reason to lose a result.
        """
        if not moment:
            return None
        when = parse_time(moment) if isinstance(moment, str) else None
        if when is None:
            _log.warning("%r is no time for which a calibration can be had", moment)
            return None
        for since, until, properties in self._held:
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
        except Exception as error:  # Whatever the client trips over in a damaged reply.
            kind, reason = type(error).__name__, client_reason(error)
            _log.warning("the calibration of %s cannot be read: %s: %s", name, kind, reason)
            return None
        if fetched is None:
            return None
        properties = cast(dict[str, Any], redact_json(fetched.to_dict()))
        since = parse_time(str(properties.get("last_update_date")))
        # Without a date it is not known since when it holds: it serves no other job.
        if since is not None:
            self._held.append((min(since, when), when, properties))
        return properties
