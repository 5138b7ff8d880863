"""Requests that no job waits for, such as closing a batch: tried again beside the work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from qexp.batch.pacing import Patience
from qexp.errors import EngineError
from qexp.points import Experiment

_log = logging.getLogger(__name__)


@dataclass
class _Errand:
    name: str
    request: Callable[[], None]
    give_up: Callable[[EngineError], None]
    patience: Patience
    not_before_s: float = 0.0


@dataclass
class Errands:
    """Requests that failed and are made again, each for up to `execution.outage`."""

    experiment: Experiment
    _waiting: dict[str, _Errand] = field(default_factory=dict)

    def run(
        self, name: str, request: Callable[[], None], give_up: Callable[[EngineError], None]
    ) -> bool:
        """Make a request now; if it fails, again when `run_due` or `finish` is called in time.

        One errand of a name waits; another one replaces it. The request records what follows from
        it; `give_up` is called with the last error, once it has failed for too long. Return True if
        it did not fail.
        """
        self._waiting.pop(name, None)
        return self._try(_Errand(name, request, give_up, Patience(self.experiment)))

    def run_due(self) -> None:
        """Make the requests again whose delay has passed."""
        now_s = self.experiment.clock.now_s()
        for errand in [each for each in self._waiting.values() if each.not_before_s <= now_s]:
            self._try(errand)

    def drop(self, name: str) -> None:
        """Forget a request that nobody needs any more."""
        self._waiting.pop(name, None)

    def finish(self) -> None:
        """Return once each request was made, or given up.

        Raises:
            StopRequested: The experiment was asked to stop.
        """
        while self._waiting:
            first_s = min(each.not_before_s for each in self._waiting.values())
            self.experiment.pause(max(0.0, first_s - self.experiment.clock.now_s()))
            self.run_due()

    def _try(self, errand: _Errand) -> bool:
        try:
            errand.request()
        except EngineError as error:
            _log.warning("%s", error)
            delay_s = errand.patience.next_delay_s(error)
            if delay_s is None:
                self._waiting.pop(errand.name, None)
                errand.give_up(error)
                return False
            errand.not_before_s = self.experiment.clock.now_s() + delay_s
            self._waiting[errand.name] = errand
            return False
        self._waiting.pop(errand.name, None)
        return True
