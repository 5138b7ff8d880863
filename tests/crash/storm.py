"""Kill a run, resume it until it is done, and look for what was lost or done twice."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import qexp
from qexp.archive.verify import verify
from qexp.errors import QexpError
from tests.crash.forms import SHOTS, SINGLE, Form, Pub
from tests.crash.launcher import NOWHERE
from tests.crash.processes import Ended, Processes, environment
from tests.crash.steps import JOURNAL, SENT, Kill
from tests.crash.strace import calls_in, injection, is_system_call, run_traced, watching
from tests.emulator import IBMEmulator

if TYPE_CHECKING:
    from qexp.archive.read import Archive
    from tests.emulator.faults import Scripted

EngineName = Literal["local", "ibm"]


@dataclass(frozen=True)
class Case:
    """The treatment of one run.

    Attributes:
        kills: The first one is for `python -m qexp`, each other one for the resume after it.
        same_command: Resume by the same command line with `run_dir=` instead of `qexp resume`; not
            of a sweep, which has no such command line.
        is_partial: Before all that, a job fails and the run is sealed without its result; the
            first kill is for the resume after it. Only where there is a service.
    """

    kills: tuple[Kill, ...]
    same_command: bool = False
    is_partial: bool = False

    def __str__(self) -> str:
        then = " then ".join(str(kill) for kill in self.kills)
        told = {" (same command)": self.same_command, " (partial before)": self.is_partial}
        return then + "".join(text for text, is_so in told.items() if is_so)


@dataclass
class Found:
    """The result of one case.

    Attributes:
        places: Where the processes were killed; fewer than kills if a process ended before.
        resumes: Processes that were started to go on with the run.
        shots_lost: Shots of the plan that the archive does not have.
        twice: Partitions that were executed twice.
        digest: The `data_sha256` of each archive.
        problems: Everything that is not as promised, one line each.
        steps: The trace of the last resume.
    """

    case: Case
    places: list[str] = field(default_factory=list)
    resumes: int = 0
    shots_lost: int = 0
    twice: int = 0
    digest: tuple[str, ...] | None = None
    problems: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n  ".join([str(self.case), *self.problems])

    def check(self, is_so: object, problem: str) -> None:
        """Note a problem unless something is so."""
        if not is_so:
            self.problems.append(problem)


class Scene:
    """Plays cases on one engine.

    Args:
        engine: Where the run runs.
        processes: Starts the command line.
        folder: For the runs; those without a problem are removed.
        form: What is run.
    """

    def __init__(
        self, engine: EngineName, processes: Processes, folder: Path, form: Form = SINGLE
    ) -> None:
        self.engine = engine
        self.form = form
        self._processes = processes
        self._folder = Path(tempfile.mkdtemp(prefix=f"{engine}-", dir=folder))
        self._count = 0
        (self._folder / "home").mkdir(parents=True, exist_ok=True)
        self.steps, self.digest = self._undisturbed()

    def play(self, case: Case, faults: Sequence[Scripted] = ()) -> Found:
        """Run, kill, resume until it ends by itself, and check.

        Args:
            case: What is done.
            faults: What else goes wrong on the service.
        """
        found = Found(case)
        with self._service() as emulator:
            if emulator is not None:
                emulator.faults.extend(faults)
            run = Run(self, emulator)
            kills = list(case.kills)
            if case.is_partial:
                ended = run.start_partial()
                found.check(ended.code == 4, f"the partial run ended with {describe(ended)}")
                damaged = [problem for path in run.archives() for problem in verify(path)]
                found.check(not damaged, f"a partial archive is damaged: {damaged}")
            else:
                ended = run.start(kills.pop(0))
                is_fine = ended.was_killed or ended.code == self.form.exit_code
                found.check(is_fine, f"the run ended: {describe(ended)}")
            for kill in (*kills, None):
                if ended.was_killed:
                    found.places.append(run.killed_at)
                known = run.done()
                ended = run.resume(kill, same_command=case.same_command)
                found.resumes += 1
                is_fine = ended.was_killed or ended.code == self.form.exit_code
                found.check(is_fine, f"resume ended with {describe(ended)}")
                found.check(
                    not (known & run.submitted_since()), "a partition with a result was submitted"
                )
            found.steps = run.trace.read_text().splitlines()
            self._inspect(found, run)
        if not found.problems:
            shutil.rmtree(run.folder.parent)
        return found

    def _undisturbed(self) -> tuple[list[str], tuple[str, ...]]:
        """The steps of a run that nothing disturbs, and its digests; both engines are exact."""
        with self._service() as emulator:
            run = Run(self, emulator)
            ended = run.start(None)
            if ended.code != self.form.exit_code:
                raise RuntimeError(f"the undisturbed run ended with {describe(ended)}")
            return run.steps(), run.digest()

    def _inspect(self, found: Found, run: Run) -> None:
        found.shots_lost = len(self.form.pubs) * SHOTS
        missing = self.form.num_points - len(run.archives())
        found.check(not missing, f"{missing} archives are missing")
        if missing:
            return
        for path in run.archives():
            found.problems.extend(f"verify: {problem}" for problem in verify(path))
        for index, archive in run.opened():
            found.check(archive.status == "complete", f"status is {archive.status}")
            found.shots_lost -= num_shots(archive)
            if run.emulator is not None:
                run.emulator.wait_until_idle()
                found.problems.extend(differences(archive, index, run))
        if run.emulator is not None:
            jobs = run.emulator.jobs_by_tag()
            found.check(set(jobs.values()) == {1}, f"jobs by tag: {dict(jobs)}")
            expected = self.form.num_jobs + found.case.is_partial
            found.check(len(jobs) == expected, f"{len(jobs)} jobs were submitted")
        found.digest = run.digest()
        found.check(found.shots_lost == 0, f"{found.shots_lost} shots are lost")
        found.check(found.digest == self.digest, f"the digest is {found.digest}")
        found.twice = sum(count > 1 for count in run.executions().values())
        found.check(found.twice == 0, f"executions: {run.executions()}")
        left = self.form.left_behind(run.folder)
        found.check(not left, f"left behind: {left}")
        self._resume_again(found, run)

    def _resume_again(self, found: Found, run: Run) -> None:
        before = (_sha256s(run.archives()), run.executions())
        ended = run.resume(None)
        is_fine = ended.code == self.form.exit_code
        found.check(is_fine, f"resuming a finished run ended with {describe(ended)}")
        found.check(
            (_sha256s(run.archives()), run.executions()) == before,
            "resuming a finished run changed something",
        )

    @contextmanager
    def _service(self) -> Iterator[IBMEmulator | None]:
        if self.engine == "local":
            yield None
            return
        with IBMEmulator() as emulator:
            yield emulator

    def launch(self, run: Run, kill: Kill | None, *command: str) -> Ended:
        """Start a command of a run, to be killed or not."""
        run.trace.write_text("")
        cwd, env = run.folder.parent, environment(self._folder / "home", run.env)
        if kill is not None and is_system_call(kill):
            return run_traced(command, cwd, env, injection(kill, run.folder))
        arguments = [str(kill or NOWHERE), str(run.folder), str(run.trace), *command]
        return self._processes.run(arguments, cwd, env)

    def system_calls(self) -> list[Kill]:
        """A kill at each system call by which an undisturbed run writes what `strace` watches."""
        with self._service() as emulator:
            run = Run(self, emulator)
            log = run.folder.parent / "strace.txt"
            env = environment(self._folder / "home", run.env)
            ended = run_traced(run.command(), run.folder.parent, env, watching(run.folder, log))
            if ended.code != 0:
                raise RuntimeError(f"the traced run ended with {describe(ended)}")
            return calls_in(log.read_text())

    def new_folder(self) -> Path:
        """A folder for one run and what belongs to it."""
        self._count += 1
        folder = self._folder / f"{self._count:05d}"
        folder.mkdir()
        return folder


class Run:
    """One run, from the outside.

    Args:
        scene: Where it is played.
        emulator: The service, if there is one.
        overrides: Further ones.
        variables: Further ones of its processes' environment.
    """

    def __init__(
        self,
        scene: Scene,
        emulator: IBMEmulator | None,
        overrides: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        base = scene.new_folder()
        self.scene = scene
        self.emulator = emulator
        self.env = {**(emulator.env if emulator is not None else {}), **(variables or {})}
        self._more = (*scene.form.where(scene.engine), *overrides)
        self.folder = base / "run"
        self.trace = base / "trace.txt"
        self.killed_at = ""
        self._known = 0

    def command(self) -> tuple[str, ...]:
        return self.scene.form.command(self.folder, self._more)

    def start(self, kill: Kill | None, *more: str) -> Ended:
        return self._launch(kill, *self.command(), *more)

    def start_partial(self) -> Ended:
        """The first job fails, and is not tried again."""
        assert self.emulator is not None
        self.emulator.fail_next_job("The cryostat is warm.", 9999)
        return self._launch(None, *self.command(), "execution.retries=0")

    def resume(
        self, kill: Kill | None, *flags: str, same_command: bool = False, verb: str = "resume"
    ) -> Ended:
        self._known = len(self.events())
        form = self.scene.form
        if not form.has_begun(self.folder):
            # Nothing has begun, and nothing says that it had.
            return self.start(kill)
        if not form.is_sweep and (same_command or not self._has_config()):
            # Without the config on disk only who has it can go on.
            overrides = (*form.overrides, *self._more)
            return self._launch(kill, "qexp", *overrides, f"run_dir={self.folder}")
        return self._launch(kill, "qexp", verb, str(self.folder), *flags)

    def _launch(self, kill: Kill | None, *command: str) -> Ended:
        ended = self.scene.launch(self, kill, *command)
        traced = self.steps()
        if traced:
            self.killed_at = traced[-1].removesuffix("~")
        else:
            self.killed_at = kill.place if kill is not None else ""
        return ended

    def steps(self) -> list[str]:
        """The trace of the last process, without the signals that were sent to it."""
        return [line for line in self.traced() if not line.startswith(SENT)]

    def traced(self) -> list[str]:
        """The lines of its trace."""
        return self.trace.read_text().splitlines()

    def _has_config(self) -> bool:
        return (self.folder / "parts" / "header.json").exists() or any(
            event["event"] == "planned" for event in self.events()
        )

    def archives(self) -> list[Path]:
        """The archives that there are, of its points in order."""
        folders = self.scene.form.folders(self.folder)
        return [path for folder in folders if (path := folder / "run.h5").exists()]

    def opened(self) -> Iterator[tuple[int, Archive]]:
        """Each of them, open, and the number of its point."""
        for folder_number, folder in enumerate(self.scene.form.folders(self.folder)):
            with qexp.open_archive(folder) as archive:
                yield folder_number, archive

    def digest(self) -> tuple[str, ...]:
        """The `data_sha256` of each archive."""
        return tuple(archive.data_sha256 for _, archive in self.opened())

    def events(self) -> list[dict[str, Any]]:
        """The journal's whole lines."""
        path = self.folder / JOURNAL
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def done(self) -> set[int]:
        """Partitions that have a result, as the journal says."""
        return {
            event["partition"]
            for event in self.events()
            if event["event"] == "collected" and event["state"] == "DONE"
        }

    def submitted_since(self) -> set[int]:
        """Partitions that the last resume has submitted."""
        new = self.events()[self._known :]
        return {event["partition"] for event in new if event["event"] == "submitting"}

    def executions(self) -> dict[Any, int]:
        """How often each PUB was executed, as the service says; without one, each partition."""
        if self.emulator is not None:
            held = (self.scene.form.held(job) for job in self.emulator.taken if job.ran)
            return dict(sorted(Counter(pub for pubs in held for pub in pubs).items()))
        results = [
            event["partition"]
            for event in self.events()
            if event["event"] == "collected" and event["state"] == "DONE"
        ]
        return dict(sorted(Counter(results).items()))


def num_shots(archive: Archive) -> int:
    found = 0
    for results in archive.results.values():
        for index in range(len(results)):
            with suppress(QexpError, LookupError):
                found += sum(register.num_shots for register in results[index].data.values())
    return found


def differences(archive: Archive, point: int, run: Run) -> Iterator[str]:
    """Bits in the archive of a point that are not those that the service has measured."""
    assert run.emulator is not None
    taken = {job.id: job for job in run.emulator.taken}
    for job in archive.jobs:
        if job.state != "DONE":
            continue
        measured = run.emulator.results[job.job_id]
        truths = dict(zip(run.scene.form.held(taken[job.job_id]), measured, strict=True))
        for index in range(job.first, job.stop):
            data = archive.results[job.workload][index].data
            for register, bits in truths[Pub(point, job.workload, index)].items():
                # The archive's bits are in Qiskit's order, most significant first.
                stored = np.unpackbits(data[register].array, axis=-1)[..., ::-1]
                if not np.array_equal(stored[..., : bits.shape[-1]], bits):
                    yield f"{job.workload}[{index}] is not what job {job.job_id} measured"


def _sha256s(paths: Sequence[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def describe(ended: Ended) -> str:
    return f"{ended.code}: {' '.join((ended.err or ended.out)[-600:].split())}"
