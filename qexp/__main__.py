"""`python -m qexp`, and the script `qexp`."""

import sys


def main() -> None:
    """Run one command, or the experiment that the overrides declare."""
    # Worker processes import this module again, and need neither.
    from qexp.cli.main import COMMANDS
    from qexp.cli.main import main as run_command

    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        run_command(sys.argv[1:])
        return
    from qexp.cli.job import main as run

    run()


if __name__ == "__main__":
    main()
