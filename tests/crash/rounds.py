"""Plays a storm: run, kill, resume until it ends by itself, and account for every execution."""

from __future__ import annotations

import argparse
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import qexp
import qexp.cli.resume
from qexp.archive.schema import JOURNAL_NAME
from qexp.archive.verify import verify
from qexp.errors import ExitCode, QexpError
from tests.crash.forms import SHOTS, Pub
from tests.crash.launcher import PAUSES
from tests.crash.steps import SENT
from tests.crash.storm import Run, Scene, describe, differences, num_shots
from tests.crash.weather import Storm
from tests.emulator import IBMEmulator
from tests.emulator.mishaps import Witness

if TYPE_CHECKING:
    from qexp.archive.read import Archive
    from tests.crash.processes import Ended
    from tests.emulator.state import Job

MAX_RESUMES = 20
"""More than the 16 requests that the longest trouble concerns: a new run is not patient."""
POLICY = (
    "execution.outage=3",
    "execution.retries=6",
    "execution.follow_ups=6",
    "execution.retry_too_long=true",
)
QUICK = {PAUSES: "0.1"}
RETRY_REFUSED = "--retry-refused"
ALLOWED = {
    ExitCode.DONE,
    ExitCode.ENGINE_FAILED,
    ExitCode.JOBS_FAILED,
    ExitCode.UNFINISHED,
    ExitCode.INTERRUPTED,
}
"""Exit codes of a process that met a fault."""
LOOKS = 2
"""How often a job is looked for by its tag; one that was listed in neither counts as missing."""


@dataclass
class Played:
    """What came of one round.

    Attributes:
        kills: Signals that were sent, by name.
        places: Where processes were killed.
        troubles: Faults that concerned at least one request, by kind.
        codes: Exit codes of all processes but those that were killed.
        executions: Jobs that were executed to their end.
        repeated: Further executions of a PUB, by their cause.
        problems: Everything that is not as promised: its kind, and what was found.
        longest_s: The longest that a process took.
        traces: The steps of each process.
    """

    storm: Storm
    kills: Counter[str] = field(default_factory=Counter)
    places: list[str] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    resumes: int = 0
    executions: int = 0
    repeated: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)
    longest_s: float = 0.0
    traces: list[list[str]] = field(default_factory=list)

    def __str__(self) -> str:
        found = [f"PROBLEM: {kind}: {what}" for kind, what in self.problems]
        return "\n  ".join([str(self.storm), *found])

    def check(self, is_so: object, kind: str, problem: str) -> None:
        """Note a problem unless something is so."""
        if not is_so:
            self.problems.append((kind, problem))


def play(scene: Scene, storm: Storm) -> Played:
    """Play one round against an emulator of its own; its folder is kept if there is a problem."""
    played = Played(storm)
    with IBMEmulator() as emulator:
        witness = Witness(emulator)
        troubles = [(trouble.kind, trouble.make(emulator, witness)) for trouble in storm.troubles]
        emulator.faults.extend([witness, *(fault for _, fault in troubles)])
        policy = (*POLICY, *(("execution.on_interrupt=cancel",) if storm.cancels else ()))
        run = Run(scene, emulator, policy, QUICK)

        def calm() -> None:
            for _, fault in troubles:
                fault.stop()
            emulator.release()

        is_complete = _weather(played, run, calm)
        played.troubles.update(kind for kind, fault in troubles if fault.done)
        calm()
        emulator.wait_until_idle()
        if is_complete:
            _resume_in_calm(played, run)
            _inspect_data(played, run)
        else:
            played.check(False, "does not end", f"{MAX_RESUMES} resumes ended {played.codes}")
        _inspect_executions(played, run, witness, is_complete=is_complete)
    if not played.problems:
        shutil.rmtree(run.folder.parent)
    return played


def _weather(played: Played, run: Run, calm: Callable[[], None]) -> bool:
    """Start, and resume until the run is complete; return whether it is.

    Where more than `resume` is typed, troubles end before that.
    """
    storm, ended = played.storm, _timed(played, run)
    verbs = [*storm.verbs]
    while (verbs or ended.code != ExitCode.DONE) and played.resumes < MAX_RESUMES:
        played.resumes += 1
        # One that was killed is not typed again.
        verb = verbs.pop(0) if verbs else "resume"
        if storm.verbs and verb == "resume":
            calm()
        # What was refused for a passing reason stays so until somebody says otherwise.
        once_more = ended.code == ExitCode.JOBS_FAILED and can_retry_refused()
        ended = _timed(played, run, *((RETRY_REFUSED,) if once_more else ()), verb=verb)
    return ended.code == ExitCode.DONE


def _timed(played: Played, run: Run, *flags: str, verb: str = "resume") -> Ended:
    """Start the first process, or one that goes on, and check how it ends.

    It is given the first kill that no process has come to yet.
    """
    storm, kill = played.storm, None
    if played.resumes >= storm.num_spared:
        kill = next(islice(storm.kills, played.kills.total(), None), None)
    began_s = time.monotonic()
    if played.resumes:
        ended = run.resume(kill, *flags, verb=verb)
    else:
        ended = run.start(kill, *storm.overrides)
    played.longest_s = max(played.longest_s, time.monotonic() - began_s)
    played.traces.append(run.steps())
    if ended.was_killed:
        played.kills["SIGKILL"] += 1
        played.places.append(run.killed_at)
        return ended
    played.codes[ended.code] += 1
    told = f"{ended.code} in process {played.resumes}: {describe(ended)}"
    played.check(ended.code in ALLOWED, f"exit code {ended.code}", told)
    played.check("Traceback" not in ended.err + ended.out, "traceback", told)
    traced = run.traced()
    sent = next((index for index, line in enumerate(traced) if line.startswith(SENT)), None)
    if sent is not None:
        played.kills[traced[sent].removeprefix(SENT)] += 1
        _check_stop(played, ended, traced[:sent], traced[sent + 1 :])
    return ended


def _check_stop(played: Played, ended: Ended, before: list[str], after: list[str]) -> None:
    """Check that who was asked to stop has stopped, unless there was nothing left to stop."""
    where = f"signal at {before[-1] if before else 'the start'}"
    begun = [line for line in after if line.startswith(f"write {JOURNAL_NAME} submitting")]
    played.check(not begun, "stop forgotten", f"{where}: {len(begun)} more jobs were submitted")
    was_sealed = any(line.startswith(f"write {JOURNAL_NAME} sealed") for line in before)
    played.check(
        ended.code != ExitCode.DONE or was_sealed, "stop forgotten", f"{where}: the exit code is 0"
    )


def _resume_in_calm(played: Played, run: Run) -> None:
    """Resume the complete run once more: only what was left open may change."""
    before = run.executions()
    ended = run.resume(None)
    told = f"resuming the complete run ended with {describe(ended)}"
    played.check(ended.code == ExitCode.DONE, "exit code after the end", told)
    played.check(run.executions() == before, "executed after the end", f"{run.executions()}")


def _inspect_data(played: Played, run: Run) -> None:
    form, paths = run.scene.form, run.archives()
    if len(paths) < form.num_points:
        missing = f"{form.num_points - len(paths)} archives are missing"
        played.check(False, "data", f"the exit code was 0, and {missing}")
        return
    for path in paths:
        for problem in verify(path):
            played.check(False, "data", f"verify: {problem}")
    lost = len(form.pubs) * SHOTS
    for index, archive in run.opened():
        lost -= num_shots(archive)
        played.check(archive.status == "complete", "data", f"status is {archive.status}")
        for difference in differences(archive, index, run):
            played.check(False, "data", difference)
    played.check(lost == 0, "data", f"{lost} shots are lost")
    # What the emulator draws for a PUB depends on the job that it is in.
    is_other = any(event["event"] == "cut" for event in run.events()) or form.is_sweep
    played.check(is_other or run.digest() == run.scene.digest, "data", f"digests: {run.digest()}")
    left = form.left_behind(run.folder)
    played.check(not left, "left behind", f"{left}")


def _inspect_executions(played: Played, run: Run, witness: Witness, *, is_complete: bool) -> None:
    """Account for every execution and every batch."""
    emulator, form = run.emulator, run.scene.form
    assert emulator is not None
    taken = emulator.taken
    played.executions = sum(job.ran for job in taken)
    for pub in form.pubs:
        executed = [job for job in taken if job.ran and pub in form.held(job)]
        _inspect_pub(played, witness, pub, executed)
    used = {job.session_id for job in taken} | {
        event["batch"] for event in run.events() if event["event"] == "batch_opened"
    }
    # Nobody knows of a batch without jobs whose opening was not answered.
    for session in emulator.sessions:
        is_open = session.id in used and session.accepting_jobs
        played.check(not is_open, "batch left open", f"batch {session.id} takes jobs")
    try:
        with ExitStack() as stack:
            folders = form.folders(run.folder)
            archives = [stack.enter_context(qexp.open_archive(folder)) for folder in folders]
            told = [job for job in taken if job.id in witness.told]
            _inspect_charges(played, witness, archives, told)
    except QexpError as error:
        played.check(not is_complete, "no archive", str(error))


def _inspect_pub(played: Played, witness: Witness, pub: Pub, executed: list[Job]) -> None:
    """Check that each execution but one has a cause in the scenario."""
    ids = ", ".join(f"{job.id} {job.status}" for job in executed)
    for number, job in enumerate(executed[1:], start=1):
        cause = _cause(witness, executed[:number], job)
        if cause is not None:
            played.repeated[cause] += 1
            continue
        told = f"{pub} was executed {len(executed)} times: {ids}"
        played.check(False, "executed again without cause", f"{told}; {job.id} had none")


def _cause(witness: Witness, earlier: list[Job], job: Job) -> str | None:
    """The cause of a further execution: none while a result of an earlier one could be had."""
    if job.id in witness.doubled:
        return "a proxy doubled the request"
    reasons = [_why_useless(witness, each) for each in earlier]
    return None if None in reasons else reasons[-1]


def _why_useless(witness: Witness, job: Job) -> str | None:
    """The reason why a job's result could not be had before another was submitted, or None."""
    if job.status == "Failed":
        return "it had failed after it ran"
    # That one of two was cancelled is no reason where nobody but qexp can have made them.
    if job.status == "Cancelled" and witness.doubled:
        return "it was cancelled as one of two"
    if witness.was_undelivered(job):
        return "its result could not be had"
    if witness.unlisted[job.id] >= LOOKS:
        return f"it was not listed {LOOKS} times or more"
    return None


def _inspect_charges(
    played: Played, witness: Witness, archives: Sequence[Archive], jobs: list[Job]
) -> None:
    """Check that archives name each executed job that was ever listed, and what it used."""
    named = {job.job_id for archive in archives for job in archive.jobs}
    named |= {str(event["job"]) for one in archives for event in one.journal if "job" in event}
    for job in jobs:
        is_named = job.id in named or not job.ran
        played.check(is_named, "executed, not named", f"job {job.id} is nowhere in the archives")
    charged_s = sum(job.usage_s for job in jobs if job.id not in witness.unmeasured)
    usage_s = sum(archive.usage_s for archive in archives)
    played.check(
        math.isclose(usage_s, charged_s, abs_tol=1e-6),
        "executed, not charged",
        f"usage_s is {usage_s:g}, the service charged {charged_s:g}",
    )


@cache
def can_retry_refused() -> bool:
    """Whether this version has the option."""
    parser = argparse.ArgumentParser()
    qexp.cli.resume.configure(parser)
    return RETRY_REFUSED in parser.format_help()
