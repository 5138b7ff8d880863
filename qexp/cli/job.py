"""The command line: compose, check, run, and one line for whatever went wrong."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from qexp.config import hydra_problems, problems
from qexp.config.hydra_setup import open_nodes, register, shipped_root, typed_overrides
from qexp.errors import ConfigError, Failed
from qexp.runlog import keep_standard_streams

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from qexp.core.spec import RunSpec

_log = logging.getLogger("qexp")


def main() -> None:
    """Run `qexp`; exits with 0 only if everything that was asked for was done."""
    # Until a run begins: imports and configs leave no garbage worth looking for.
    gc.disable()
    try:
        _main()
    finally:
        gc.enable()
        # What is left ends with the process; Python would look through all of it once more.
        gc.freeze()


def _main() -> None:
    keep_standard_streams()
    if sys.argv[1:] == ["--version"]:
        _print_version()
        return
    register()
    # Until jobs are out, which `qexp.interrupts` takes over.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.argv[1:] = _flags_first(open_nodes(sys.argv[1:]))
    # A log that cannot be written (a full disk) is no reason for a traceback on the terminal.
    logging.raiseExceptions = False
    # Makes Hydra raise instead of printing, so that every error is printed here, in one way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _app()
    except Exception as error:
        problem = hydra_problems.of_composing(error)
        told = error if problem is None else ConfigError(problem)
        _print(problems.of_error(told))
        sys.exit(problems.exit_code(told))
    except KeyboardInterrupt as error:
        _print(str(error) or "interrupted; what was measured is kept")
        sys.exit(problems.INTERRUPTED)
    if _failures:
        sys.exit(_failures[-1].exit_code)


def _flags_first(arguments: list[str]) -> list[str]:
    """Hydra's parser wants all overrides together; people put `-m` and `--cfg job` anywhere."""
    overrides = [item for item in arguments if "=" in item and not item.startswith("-")]
    return [item for item in arguments if item not in overrides] + overrides


_failures: list[Failed] = []
"""How runs in this process failed; a sweep's own error tells the points of all processes."""


@hydra.main(version_base="1.3", config_path=str(shipped_root() / "conf"), config_name="qexp")
def _app(config: DictConfig) -> Failed | None:
    """One run: in a multirun, one point. A failed point does not stop the others."""
    run_dir = Path(HydraConfig.get().runtime.output_dir).resolve()
    # Nothing that was there before is ever removed; `hydra.run.dir` may name any folder.
    is_new = config.get("run_dir") is None and not any(run_dir.iterdir())
    try:
        _run(config, run_dir)
    except KeyboardInterrupt as error:
        from qexp.config.leftovers import is_worth_keeping, remove

        if is_new and not is_worth_keeping(run_dir, error):
            remove(run_dir)
            raise KeyboardInterrupt("interrupted before anything was submitted") from None
        raise
    except (Exception, SystemExit) as error:
        from qexp.config.leftovers import is_worth_keeping, remove

        if not isinstance(error, ConfigError):
            _log.error("the run ended with an error", exc_info=True)
        log = run_dir / "run.log"
        failed = Failed(problems.of_error(error, log), problems.exit_code(error))
        if is_new and not is_worth_keeping(run_dir, error):
            remove(run_dir, keep_log=problems.is_explained_by_log(error))
        _failures.append(failed)
        point = _sweep_point()
        _print(f"{point}: {failed.message}" if point else failed.message)
        return failed
    return None


def _sweep_point() -> str | None:
    """What tells this run from the others of a sweep; None outside of one."""
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
    """Whether nothing is left to do for the run that the config names; it is said, if so."""
    from qexp.config.runs import finished_archive, finished_line, refuse_other_config, run_folder

    if run_folder(named) != run_dir:
        raise ConfigError(
            f"hydra.run.dir: {run_dir} is not the folder of the run that run_dir={named} goes on "
            f"with; leave hydra.run.dir as it is"
        )
    refuse_other_config(run_dir, spec)
    archive = finished_archive(run_dir)
    if archive is not None:
        sys.stdout.write(f"{finished_line(archive)}\n")
    return archive is not None


def _print_version() -> None:
    from qexp import __version__

    sys.stdout.write(f"qexp {__version__}\n")


def _print(message: str) -> None:
    sys.stderr.write(f"qexp: {message}\n")
    sys.stderr.flush()
