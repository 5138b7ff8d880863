"""Arguments that several verbs have in common."""

from __future__ import annotations

import argparse

from qexp.compare.model import ALPHA


def add_alpha(parser: argparse.ArgumentParser) -> None:
    """Add `--alpha`, the level of the verdict on data, a number between 0 and 1."""
    parser.add_argument(
        "--alpha",
        type=_level,
        default=ALPHA,
        help="largest probability of calling equal data different (default: %(default)s)",
    )


def _level(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"got {text}; it must be between 0 and 1, as 0.01 is")
    return value
