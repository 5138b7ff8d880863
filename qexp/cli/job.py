"""The main job: compose the config, check it, run it, for a single run or each point of a sweep."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from qexp.cli.output import describe_error, print_error, print_line
from qexp.cli.together import Together
from qexp.cli.verbs import PROGRAM, VERBS
from qexp.config import hydra_internals, messages
from qexp.config.launching import Ends, watched
from qexp.config.overrides import hydra_arguments, typed_overrides
from qexp.config.paths import config_choices, make_experiments_importable
from qexp.config.sweep import CheckedSweeper
from qexp.config.sweep_launcher import RunTogether, SharedLauncher
from qexp.errors import ConfigError, ExitCode, Failed, QexpError, exit_code
from qexp.interrupts import stop_requested
from qexp.text import typed_path

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from qexp.core.spec import RunSpec


def run(arguments: Sequence[str], run_together: RunTogether | None = None) -> int:
    """Run what overrides and flags declare; return the exit code.

    `run_together` runs the points of a sweep; None: as a new experiment.
    """
    # Until a run begins: imports and configs leave no garbage worth looking for.
    gc.disable()
    try:
        return _run_hydra(arguments, run_together)
    finally:
        gc.enable()
        # The rest ends with the process; Python would look through all of it once more.
        gc.freeze()


def _run_hydra(arguments: Sequence[str], run_together: RunTogether | None) -> int:
    _refuse_undecodable(arguments)
    arguments = hydra_arguments(arguments)
    mistyped = hydra_internals.mistyped(arguments)
    if mistyped:
        _refuse_mistyped(mistyped)
    hydra_internals.register(CheckedSweeper, SharedLauncher)
    ends = Ends(print_error)
    together = Together(ends)
    try:
        with closing(together), watched(ends, run_together or together):
            hydra_internals.run_main(partial(run_point, ends=ends), arguments)
    except SystemExit as ended:
        # Hydra has printed what was asked for, or why it could not.
        return ExitCode.REFUSED if ended.code else ExitCode.DONE
    except Exception as error:
        problem = messages.compose_message(error)
        if problem is not None:
            raise ConfigError(problem) from error
        if not isinstance(error, QexpError):
            # A sweeper may not bear that points have no value.
            ends.check()
        raise
    ends.check()
    return ends.exit_code


def _refuse_undecodable(arguments: Sequence[str]) -> None:
    """Refuse text in another encoding than the locale's, which no archive could hold."""
    for argument in arguments:
        if not argument.isprintable() and any("\ud800" <= one <= "\udfff" for one in argument):
            raise ConfigError(
                f"{argument}: it is no text in the encoding of this locale, "
                f"{sys.getfilesystemencoding()}; set PYTHONUTF8=1, or correct the locale (LC_ALL)"
            )


def _refuse_mistyped(arguments: Sequence[str]) -> None:
    """Refuse a word or flag that is no override, and say what to type instead."""
    from qexp.config.schema import RootNode

    word, _, value = arguments[0].partition("=")
    value = value or next((item for item in arguments[1:] if not item.startswith("-")), "...")
    name, choices = word.lstrip("-"), config_choices()
    keys = {*choices, *RootNode.model_fields}
    meant = {flag: flag for flag in hydra_internals.hydra_flags()}
    meant |= {key: f"{key}={value}" for key in keys}
    meant |= {verb: f"{PROGRAM} {verb} ..." for verb in VERBS}
    meant |= {choice: f"experiment={choice}" for choice in choices.get("experiment", ())}
    if name.partition(".")[0] in keys:
        meant[name] = f"{name}={value}"
    close = messages.closest(name, meant)
    hint = f"did you mean '{meant[close]}'? " if close else ""
    raise ConfigError(
        f"{arguments[0]}: no verb, no flag and no override (key=value); {hint}"
        f"'{PROGRAM} --help' explains"
    )


def run_point(config: DictConfig, ends: Ends) -> Failed | float | None:
    """Run one point of a sweep, or the only run; a point that fails stops no other.

    Return the error, which `ends` receives for a run in this process; the number that `sweep.value`
    names; None for a run that did all it was asked for.

    Raises:
        KeyboardInterrupt: A stop was asked for, so that no further point may run.
    """
    from qexp.config.cleanup import LOG_NAME, cleaning_up

    run_dir = Path(HydraConfig.get().runtime.output_dir).resolve()
    # Nothing that was there before is ever removed; `hydra.run.dir` may name any folder.
    is_new = config.get("run_dir") is None and not any(run_dir.iterdir())
    value: Failed | float | None = None
    try:
        with cleaning_up(run_dir, is_new=is_new, failure="the run ended with an error"):
            _run(config, run_dir)
            value = _value(config, run_dir)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        point, message = _sweep_point(), describe_error(error, run_dir / LOG_NAME)
        value = Failed(f"{point}: {message}" if point else message, exit_code(error))
        ends.add(value)
    if stop_requested():
        raise KeyboardInterrupt(f"interrupted; what was measured is kept: {run_dir}")
    return value


def _value(config: DictConfig, run_dir: Path) -> float | None:
    """Return what a sweeper that optimises asks for; None if it asks for nothing."""
    named = OmegaConf.select(config, "sweep.value")
    if named is None or config.stop_after is not None or _sweep_point() is None:
        return None
    from qexp.archive.analyses import read_number

    return read_number(run_dir, named)


def _sweep_point() -> str | None:
    """Return the overrides of this point of a sweep; None for a single run."""
    is_point = HydraConfig.get().mode is RunMode.MULTIRUN
    return " ".join(typed_overrides()) if is_point else None


def _run(config: DictConfig, run_dir: Path) -> None:
    from qexp.config.load import load

    logging.captureWarnings(True)
    # A launcher may have started this process.
    make_experiments_importable()
    _refuse_ignored_sweep(config)
    spec = load(config)
    gc.enable()
    is_resumed = config.run_dir is not None
    if is_resumed and _is_done(run_dir, config.run_dir, spec):
        return

    from qexp.experiment import resume, run
    from qexp.progress import Terminal

    with Terminal([spec], run_dir, _sweep_point()) as terminal:
        (resume if is_resumed else run)(spec, run_dir, terminal)


def _refuse_ignored_sweep(config: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    params = hydra_config.sweeper.get("params")
    # A point of a sweep that is repeated alone has the keys that were swept.
    is_point = bool(OmegaConf.select(config, "sweep.keys"))
    if params and not is_point and hydra_config.mode is not RunMode.MULTIRUN:
        raise ConfigError(
            f"hydra.sweeper.params: a sweep over {', '.join(map(str, params))} is declared, but "
            f"this is a single run; add -m, or set hydra.sweeper.params=null"
        )


def _is_done(run_dir: Path, named: str, spec: RunSpec) -> bool:
    """Return True, and say so, if nothing is left to do for the run that the config names."""
    from qexp.config.runs import check_resumable

    # From where its user stands, also with `hydra.job.chdir`.
    there = Path(HydraConfig.get().runtime.cwd) / typed_path(named)
    archive = check_resumable(run_dir, str(there), spec)
    if archive is not None:
        print_line(f"complete, nothing is left to do: {archive}")
    return archive is not None
