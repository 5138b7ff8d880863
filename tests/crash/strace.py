"""Kills at system calls, by `strace`, in the command line as it is: no line of it is patched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.crash.processes import TIMEOUT_S, Ended
from tests.crash.steps import JOURNAL, Kill

WRITTEN = {JOURNAL: ("write", "fsync"), ".run.h5.tmp": ("pwrite64", "fsync")}
_CALL = re.compile(r"(\w+)\(\d+<([^>]*)>")
_MARK = "call "


def is_system_call(kill: Kill) -> bool:
    """Whether `strace` is needed for it."""
    return kill.place.startswith(_MARK)


def watching(run_dir: Path, log: Path) -> list[str]:
    """Options that write every call to `log`."""
    calls = sorted({call for names in WRITTEN.values() for call in names})
    paths = [item for name in WRITTEN for item in ("-P", str(run_dir / name))]
    return ["-y", "-o", str(log), *paths, "-e", f"trace={','.join(calls)}"]


def calls_in(log: str) -> list[Kill]:
    """A kill at the start of each call in the log."""
    seen: Counter[str] = Counter()
    kills = []
    for call, path in _CALL.findall(log):
        name = os.path.basename(path)
        if call in WRITTEN.get(name, ()):
            place = f"{_MARK}{call} {name}"
            seen[place] += 1
            kills.append(Kill(place, seen[place]))
    return kills


def injection(kill: Kill, run_dir: Path) -> list[str]:
    """Options that kill there. Only calls on the one file are counted."""
    _, call, name = kill.place.split(" ")
    return [
        *("-o", os.devnull, "-P", str(run_dir / name), "-e", f"trace={call}"),
        *("-e", f"inject={call}:signal=SIGKILL:when={kill.occurrence}"),
    ]


def run_traced(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], options: Sequence[str]
) -> Ended:
    """Run `python -m command` under `strace`, which ends as the process does."""
    done = subprocess.run(
        ["strace", "-f", "-qq", *options, sys.executable, "-m", *command],
        cwd=cwd,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
