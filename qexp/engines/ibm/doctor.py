"""The part of `python -m qexp doctor --live` that knows IBM's client: proposal, checks, clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qexp.core.findings import Finding
from qexp.engines.ibm.client import reading
from qexp.engines.ibm.live_checks import LiveChecks
from qexp.engines.ibm.tiny_jobs import MOST_QPU_S, NUM_PUBS, PREDICTED_QPU_S, SHOTS
from qexp.engines.ibm.transcript import Transcript
from qexp.engines.private_api import instance_of

if TYPE_CHECKING:
    from qiskit_ibm_runtime import IBMBackend

_SMALL_SKEW_S: Final = 5.0
_LARGE_SKEW_S: Final = 300.0
"""From then on, access tokens are taken for valid that have expired, or the other way round."""


def proposal(backend: IBMBackend) -> list[str]:
    """Describe what would be submitted and what it may cost, by one request.

    Raises:
        EngineError: The service could not be asked.
    """
    with reading(f"reading the status of {backend.name}"):
        pending = int(backend.status().pending_jobs)
    circuits = f"{NUM_PUBS} one-qubit circuits with {SHOTS} shots"
    most = f"at most {MOST_QPU_S} s (max_execution_time)"
    return [
        f"backend    {backend.name}, {backend.num_qubits} qubits, {pending} jobs in its queue",
        f"submits    a batch of two jobs of {circuits}: one is run,",
        "           one cancelled; a third, for the closed batch, has to be refused",
        f"QPU time   {PREDICTED_QPU_S:.0f} s predicted, {most}",
    ]


def check_service(checks: LiveChecks, transcript: Transcript) -> None:
    """Make all checks, and record every request and every finding.

    Args:
        checks: The checks; their findings go into the transcript, too.
        transcript: A new transcript.

    Raises:
        EngineError: The service could not be asked about the backend.
        KeyboardInterrupt: It was stopped.
    """
    backend, report = checks.backend, checks.report

    def noted(finding: Finding) -> None:
        transcript.note(finding)
        report(finding)

    checks.report = noted
    service = backend.service
    try:
        with transcript.recording(service):
            with reading(f"reading what the service says of {backend.name}"):
                # Again, so that the transcript has all that a replay needs.
                service.backend(backend.name, instance=instance_of(backend))
                backend.refresh()
            checks.run()
    finally:
        noted(_judge_clock(transcript.skew_s()))
        if transcript.failure:
            report(Finding("transcript", "problem", transcript.failure, "make room, and try again"))


def _judge_clock(skew_s: float | None) -> Finding:
    name, advice = "clock skew", "set this machine's clock, as by 'timedatectl set-ntp true'"
    if skew_s is None:
        return Finding(name, "warning", "the service sent no date")
    found = f"the service's clock is {skew_s:+.0f} s from this one"
    if abs(skew_s) <= _SMALL_SKEW_S:
        return Finding(name, "ok", f"less than {_SMALL_SKEW_S:.0f} s")
    return Finding(name, "problem" if abs(skew_s) > _LARGE_SKEW_S else "warning", found, advice)
