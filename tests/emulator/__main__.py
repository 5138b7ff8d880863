"""Run the emulator by hand: prints the environment to set in another shell, ends with Ctrl-C.

With `--state FILE` it begins with the sessions and jobs in the file, if there is one, and writes
its own to it at the end. With `--replay FILE` it replies what a transcript of `qexp doctor` has.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.emulator.emulator import IBMEmulator
from tests.emulator.replay import Replay


def main() -> None:
    """Serve until interrupted or terminated."""
    parser = argparse.ArgumentParser(prog="python -m tests.emulator", description=__doc__)
    parser.add_argument("--state", metavar="FILE", type=Path, help="sessions and jobs, as JSON")
    parser.add_argument("--replay", metavar="FILE", type=Path, help="a transcript of qexp doctor")
    given = parser.parse_args()
    state: Path | None = given.state
    # A shell that starts it in the background has SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    emulator = IBMEmulator()
    if state is not None and state.exists():
        emulator.load(state)
    replay = None if given.replay is None else Replay.from_file(given.replay)
    if replay is not None:
        emulator.faults.append(replay)
    with suppress(KeyboardInterrupt), emulator:
        lines = [
            f"export {name}={shlex.quote(value)}" for name, value in emulator.proxy_env.items()
        ]
        if replay is not None:
            lines.append(replay.command)
        sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()
        signal.pause()
    # No job runs any more.
    if state is not None:
        emulator.save(state)


if __name__ == "__main__":
    main()
