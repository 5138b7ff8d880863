"""`python -m qexp`, and the script `qexp`."""


def main() -> None:
    """Run the command line."""
    # Worker processes import this module again, and need no Hydra.
    from qexp.cli import main as run

    run()


if __name__ == "__main__":
    main()
