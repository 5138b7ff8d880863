"""Run the emulator by hand: prints the environment to set in another shell, ends with Ctrl-C."""

from __future__ import annotations

import shlex
import signal
import sys
from contextlib import suppress

from tests.emulator.emulator import IBMEmulator


def main() -> None:
    """Serve until interrupted or terminated."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), IBMEmulator() as emulator:
        lines = [
            f"export {name}={shlex.quote(value)}" for name, value in emulator.proxy_env.items()
        ]
        sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
