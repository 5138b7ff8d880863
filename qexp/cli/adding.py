"""`resume SWEEP --add ...`: points that are added to a sweep, composed by its own command line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from qexp.cli.job import run_overrides
from qexp.config.paths import new_point_id
from qexp.config.sweep_launcher import Launch


def add_points(folder: Path, words: Sequence[str], *, is_quiet: bool) -> int:
    """Add points to a sweep, and go on with it.

    Args:
        folder: The sweep's folder.
        words: What is added, see `qexp.config.added_points.extended_overrides`.
        is_quiet: Print nothing on stdout.

    Returns:
        The exit code.

    Raises:
        ConfigError: The points cannot be added; nothing was changed.
        QexpError: As `qexp.experiment.resume`.
    """
    from qexp.archive.sweep_file import read_sweep
    from qexp.config.added_points import extended_overrides

    overrides = extended_overrides(folder, read_sweep(folder), words)
    return run_overrides(["-m", *overrides], partial(_resume, is_quiet=is_quiet))


def _resume(launch: Launch, *, is_quiet: bool) -> list[None]:
    from dataclasses import replace

    from qexp.archive.sweep_file import read_sweep, write_sweep
    from qexp.config.added_points import merge_points
    from qexp.experiment import resume
    from qexp.journal.lock import lock_folder
    from qexp.progress import Terminal

    folder = launch.folder
    with lock_folder(folder):
        sweep = read_sweep(folder)
        merged, order = merge_points(sweep, launch.sweep.points, partial(new_point_id, sweep.id))
        specs = [launch.specs[position] for position in order]
        write_sweep(folder, replace(sweep, points=merged, overrides=launch.sweep.overrides))
    with Terminal(specs, folder, is_quiet=is_quiet) as terminal:
        resume(specs, folder, terminal)
    return [None] * len(launch.specs)
