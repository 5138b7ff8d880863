"""The main job: compose the config, check it, run it, for a single run or each point of a sweep."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from qexp.cli.output import describe_error, print_error, print_line
from qexp.cli.verbs import PROGRAM, VERBS
from qexp.config import hydra_internals, messages
from qexp.config.overrides import hydra_arguments, typed_overrides
from qexp.config.paths import config_choices
from qexp.config.sweep import CheckedSweeper
from qexp.errors import ConfigError, ExitCode, Failed, exit_code

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from qexp.core.spec import RunSpec

_log = logging.getLogger("qexp")


def run(arguments: Sequence[str]) -> int:
    """Run the experiment that the overrides declare; return the exit code."""
    # Until a run begins: imports and configs leave no garbage worth looking for.
    gc.disable()
    try:
        return _run_hydra(arguments)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(str(error) or "interrupted; what was measured is kept") from None
    finally:
        gc.enable()
        # The rest ends with the process; Python would look through all of it once more.
        gc.freeze()


def _run_hydra(arguments: Sequence[str]) -> int:
    arguments = hydra_arguments(arguments)
    _refuse_mistyped(*hydra_internals.parse_arguments(arguments))
    hydra_internals.register(CheckedSweeper)
    failures: list[Failed] = []
    try:
        hydra_internals.run_main(partial(run_point, failures=failures), arguments)
    except SystemExit as ended:
        # Hydra has printed what was asked for, or why it could not.
        return ExitCode.REFUSED if ended.code else ExitCode.DONE
    except Exception as error:
        problem = messages.compose_message(error)
        if problem is None:
            raise
        raise ConfigError(problem) from error
    return failures[-1].exit_code if failures else ExitCode.DONE


def _refuse_mistyped(overrides: Sequence[str], unknown: Sequence[str]) -> None:
    """Refuse words and flags that are no overrides, and say what to type instead.

    Args:
        overrides: Arguments that Hydra takes for overrides.
        unknown: Arguments that Hydra does not know.

    Raises:
        ConfigError: There is such a word or flag.
    """
    flags = [item for item in unknown if item.startswith("-")]
    words = [item for item in (*overrides, *unknown) if not item.startswith(("-", "~"))]
    words = [item for item in words if "=" not in item]
    if flags:
        flag, _, value = flags[0].partition("=")
        problem = (
            f"{flags[0]}: unknown flag; {_instead_of(flag, value or next(iter(words), '...'))}"
        )
        raise ConfigError(f"{problem}'{PROGRAM} --help' and --hydra-help explain")
    if words:
        raise ConfigError(f"{_word_problem(words[0])}; '{PROGRAM} --help' explains")


def _instead_of(flag: str, value: str) -> str:
    """Say what was meant by an unknown flag, if that can be guessed."""
    from qexp.config.schema import RootNode

    key, keys = flag.lstrip("-"), {*config_choices(), *RootNode.model_fields}
    if key.partition(".")[0] in keys:
        return f"overrides have no dashes, type {key}={value}; "
    close = messages.closest(key, keys)
    if close is not None:
        return f"did you mean '{close}={value}'? "
    return messages.did_you_mean(flag, hydra_internals.hydra_flags())


def _word_problem(word: str) -> str:
    experiments = {name: f"experiment={name}" for name in config_choices().get("experiment", [])}
    if word in VERBS:
        return f"{word}: a verb comes first, type {PROGRAM} {word} ..."
    if word in experiments:
        return f"{word}: an experiment is an override, type {experiments[word]}"
    typed = {**experiments, **{name: name for name in VERBS}}
    close = messages.closest(word, typed)
    hint = f"did you mean '{typed[close]}'? " if close else ""
    return f"{word}: no verb and no override (key=value); {hint}the verbs are: {', '.join(VERBS)}"


def run_point(config: DictConfig, failures: list[Failed]) -> Failed | None:
    """Run one point of a sweep, or the only run; a point that fails stops no other.

    Args:
        config: The composed config.
        failures: Receives the returned value, for a run in this process.

    Returns:
        The error, which is printed already; None for a run that did all it was asked for.
    """
    from qexp.config.cleanup import LOG_NAME, clean_up

    run_dir = Path(HydraConfig.get().runtime.output_dir).resolve()
    # Nothing that was there before is ever removed; `hydra.run.dir` may name any folder.
    is_new = config.get("run_dir") is None and not any(run_dir.iterdir())
    try:
        _run(config, run_dir)
    except KeyboardInterrupt as error:
        if is_new and clean_up(run_dir, error):
            raise KeyboardInterrupt("interrupted before anything was submitted") from None
        raise
    except (Exception, SystemExit) as error:
        if not isinstance(error, ConfigError):
            _log.error("the run ended with an error", exc_info=True)
        failed = Failed(describe_error(error, run_dir / LOG_NAME), exit_code(error))
        if is_new:
            clean_up(run_dir, error)
        failures.append(failed)
        point = _sweep_point()
        print_error(f"{point}: {failed.message}" if point else failed.message)
        return failed
    return None


def _sweep_point() -> str | None:
    """Return the overrides of this point of a sweep; None for a single run."""
    is_point = HydraConfig.get().mode is RunMode.MULTIRUN
    return " ".join(typed_overrides()) if is_point else None


def _run(config: DictConfig, run_dir: Path) -> None:
    from qexp.config.load import load

    logging.captureWarnings(True)
    _refuse_ignored_sweep()
    spec = load(config)
    gc.enable()
    is_resumed = config.run_dir is not None
    if is_resumed and _is_done(run_dir, config.run_dir, spec):
        return

    from qexp.experiment import resume, run
    from qexp.progress import Terminal

    with Terminal(spec, run_dir, _sweep_point()) as terminal:
        (resume if is_resumed else run)(spec, run_dir, terminal)


def _refuse_ignored_sweep() -> None:
    hydra_config = HydraConfig.get()
    params = hydra_config.sweeper.get("params")
    if params and hydra_config.mode is not RunMode.MULTIRUN:
        raise ConfigError(
            f"hydra.sweeper.params: a sweep over {', '.join(map(str, params))} is declared, but "
            f"this is a single run; add -m, or set hydra.sweeper.params=null"
        )


def _is_done(run_dir: Path, named: str, spec: RunSpec) -> bool:
    """Return True, and say so, if nothing is left to do for the run that the config names."""
    from qexp.config.paths import run_folder
    from qexp.config.runs import finished_archive, refuse_other_config

    if run_folder(named) != run_dir:
        raise ConfigError(
            f"hydra.run.dir: {run_dir} is not the folder of the run that run_dir={named} names; "
            f"leave hydra.run.dir as it is"
        )
    refuse_other_config(run_dir, spec)
    archive = finished_archive(run_dir)
    if archive is not None:
        print_line(f"complete, nothing is left to do: {archive}")
    return archive is not None
