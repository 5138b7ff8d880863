"""`python -m qexp`, and the script `qexp`."""

from qexp.cli.main import main

if __name__ == "__main__":
    main()
