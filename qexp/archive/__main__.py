"""`python -m qexp.archive`: the commands live in `qexp.commands`."""

from qexp.commands.main import main

if __name__ == "__main__":
    main()
