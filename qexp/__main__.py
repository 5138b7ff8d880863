"""`python -m qexp`."""

from qexp.cli import main

if __name__ == "__main__":
    main()
