"""The points of a sweep as one experiment: what the default launcher does."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.cli.output import describe_error
from qexp.config.launching import DeclaredPoint, Ends
from qexp.config.overrides import typed_overrides
from qexp.config.paths import id_of_sweep
from qexp.errors import ConfigError, Failed, exit_code
from qexp.interrupts import stop_requested
from qexp.text import utc_now

if TYPE_CHECKING:
    pass

_log = logging.getLogger("qexp")


def run_together(
    points: Sequence[DeclaredPoint], folder: Path, ends: Ends
) -> list[Failed | float | None]:
    """Run the points of a sweep as one experiment.

    Args:
        points: The points, in order.
        folder: The sweep's folder.
        ends: Receives the error that ended it.

    Returns:
        For each point, the error; the number that `sweep.value` names; None for one that did all it
        was asked for.

    Raises:
        QexpError: Nothing was submitted.
        KeyboardInterrupt: A stop was asked for.
    """
    from qexp.config.cleanup import LOG_NAME, clean_up
    from qexp.experiment import run
    from qexp.progress import terminal_for
    from qexp.runlog import logging_into

    logging.captureWarnings(True)
    logging.getLogger("qexp").setLevel(logging.INFO)
    specs = [point.spec for point in points]
    gc.enable()
    is_new = _make(folder)
    failure: Failed | None = None
    try:
        _declare(points, folder)
        with (
            _without_other_logs(),
            logging_into(folder / LOG_NAME, "the sweep ended with an error"),
            terminal_for(specs, folder) as terminal,
        ):
            run(specs, folder, terminal)
    except KeyboardInterrupt as error:
        if is_new and clean_up(folder, error):
            raise KeyboardInterrupt("interrupted before anything was submitted") from None
        raise
    except BaseException as error:  # A panic in Qiskit's Rust code is no `Exception`.
        if is_new and clean_up(folder, error):
            raise
        failure = Failed(describe_error(error, folder / LOG_NAME), exit_code(error))
        ends.add(failure)
    if stop_requested():
        raise KeyboardInterrupt(f"interrupted; what was measured is kept: {folder}")
    return [failure] * len(points)


@contextmanager
def _without_other_logs() -> Iterator[None]:
    """Keep warnings off the terminal, where Hydra logs what belongs to no job of its own."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = handlers


def _make(folder: Path) -> bool:
    """Make a sweep's folder; return False if there is something in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return not any(folder.iterdir())
    except OSError as error:
        raise ConfigError(f"hydra.sweep.dir: {folder}: {error.strerror}") from None


def _declare(points: Sequence[DeclaredPoint], folder: Path) -> None:
    """Write the declaration of a sweep.

    Raises:
        ConfigError: The folder holds a sweep, or two points have one folder.
        ArchiveError: It cannot be written.
    """
    from qexp.archive.sweep_file import SweepDeclaration, SweepPoint, is_sweep, write_sweep

    if is_sweep(folder):
        raise ConfigError(
            f"hydra.sweep.dir: {folder} already holds a sweep, which is never overwritten; name "
            f"another folder or leave hydra.sweep.dir as it is (to go on with that sweep: "
            f"python -m qexp resume {folder})"
        )
    names = [point.folder for point in points]
    if len({*names}) < len(names):
        raise ConfigError(
            f"hydra.sweep.subdir: gives several points the folder {max(names, key=names.count)}; "
            f"leave it as it is"
        )
    declared = [
        SweepPoint(
            folder=point.folder,
            draws=point.draws,
            overrides=point.spec.overrides,
            config_yaml=point.spec.config_yaml,
            sources=point.spec.sources,
        )
        for point in points
    ]
    sweep = SweepDeclaration(
        id_of_sweep(folder), utc_now("milliseconds"), tuple(declared), typed_overrides()
    )
    write_sweep(folder, sweep)
