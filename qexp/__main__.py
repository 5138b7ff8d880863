"""`python -m qexp`, and the script `qexp`."""


def main() -> None:
    """Run one verb, or the experiment that the overrides declare."""
    # Imported here, because worker processes import this module again.
    from qexp.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
