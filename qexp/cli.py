"""The command line: compose, check, run, and one line for whatever went wrong."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from qexp.config import problems
from qexp.config.hydra_setup import open_nodes, register, shipped_root, typed_overrides
from qexp.errors import ConfigError, Failed, GeneratorError, QexpError

if TYPE_CHECKING:
    from omegaconf import DictConfig

_log = logging.getLogger("qexp")

_INTERRUPTED = 130
_INTERNAL_ERROR = 70


def main() -> None:
    """Run `qexp`; exits with 0 only if everything that was asked for was done."""
    if sys.argv[1:] == ["--version"]:
        _print_version()
        return
    register()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.argv[1:] = _flags_first(open_nodes(sys.argv[1:]))
    # A log that cannot be written (a full disk) is no reason for a traceback on the terminal.
    logging.raiseExceptions = False
    # Makes Hydra raise instead of printing, so that every error is printed here, in one way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _app()
    except Exception as error:
        problem = _compose_problem(error)
        _exit(error if problem is None else ConfigError(problem))
    except KeyboardInterrupt as error:
        _exit(error)
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
    is_new = not any(run_dir.iterdir())
    try:
        _run(config, run_dir)
    except KeyboardInterrupt:
        if is_new and not _was_opened(run_dir):
            _remove(run_dir)
            raise KeyboardInterrupt("interrupted before anything was submitted") from None
        raise
    except (Exception, SystemExit) as error:
        _log.error("the run ended with an error", exc_info=True)
        failed = Failed(_line(error, run_dir), getattr(error, "exit_code", _INTERNAL_ERROR))
        if is_new and not _was_opened(run_dir):
            _remove(run_dir, keep_log=_is_explained_by_log(error))
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

    from qexp.run import run
    from qexp.terminal import Terminal

    with Terminal(spec, _sweep_point()) as terminal:
        run(spec, run_dir, terminal)


def _refuse_ignored_sweep() -> None:
    hydra_config = HydraConfig.get()
    params = hydra_config.sweeper.get("params")
    if params and hydra_config.mode is not RunMode.MULTIRUN:
        raise ConfigError(
            f"hydra.sweeper.params: a sweep over {', '.join(map(str, params))} is declared, but "
            f"this is a single run; add -m, or set hydra.sweeper.params=null"
        )


def _was_opened(run_dir: Path) -> bool:
    """Whether the run got as far as a batch, so that something may have been measured."""
    return (run_dir / "run.h5").exists() or (run_dir / "parts" / "batch.json").exists()


def _remove(run_dir: Path, *, keep_log: bool = False) -> None:
    """Remove what a run left that never came to a batch, and the folders made for it."""
    shutil.rmtree(run_dir / "parts", ignore_errors=True)
    if keep_log:
        return
    logging.shutdown()
    shutil.rmtree(run_dir, ignore_errors=True)
    for parent in run_dir.parents[:2]:
        # outputs/<experiment>[/<sweep>], unless another run is in it
        if parent.name == "outputs" or any(parent.iterdir()):
            break
        parent.rmdir()


def _is_explained_by_log(error: BaseException) -> bool:
    """Whether the error is of the user's own code or of ours, so that a traceback is of use."""
    return isinstance(error, GeneratorError) or not isinstance(error, QexpError)


def _print_version() -> None:
    from qexp import __version__

    sys.stdout.write(f"qexp {__version__}\n")


def _exit(error: BaseException) -> None:
    interrupted = isinstance(error, KeyboardInterrupt)
    kept = str(error) or "interrupted; what was measured is kept"
    _print(kept if interrupted else _line(error, None))
    sys.exit(_INTERRUPTED if interrupted else getattr(error, "exit_code", _INTERNAL_ERROR))


def _line(error: BaseException, run_dir: Path | None) -> str:
    from qexp.redact import redact

    text = " ".join(str(error).split())
    if not isinstance(error, QexpError):
        text = f"internal error, please report it: {type(error).__name__}: {text}"
    if run_dir is not None and _is_explained_by_log(error):
        text = f"{text}; the traceback is in {run_dir / 'run.log'}"
    return redact(text)


def _print(message: str) -> None:
    sys.stderr.write(f"qexp: {message}\n")
    sys.stderr.flush()


def _compose_problem(error: Exception) -> str | None:
    """What is wrong with a config, as one line that names the key or file and what is allowed.

    Hydra lets some errors of its files pass as they are. None: it is no mistake in a config.
    """
    cause = error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        return problems.unknown_key(str(cause.full_key), _keys_beside(cause))
    text = " ".join(str(error).split())
    match error:
        case OmegaConfBaseException():
            return problems.of_interpolation(error)
        case YAMLError() | UnicodeDecodeError():
            return f"a config file is not valid YAML in UTF-8: {text}"
        case OSError(filename=str(path)):
            return f"{path}: {error.strerror}; choose a folder that you can write to"
        case HydraException():
            return _hydra_problem(str(error))
    told = {"Config group override must be": _GROUP_RULE, "defaults list": text}
    return next((message for sign, message in told.items() if sign in text), None)


_GROUP_RULE = (
    "a config group takes the name of a choice, not null or a number; leave the override out to "
    "choose nothing ('python -m qexp --help' lists the choices)"
)


def _hydra_problem(text: str) -> str:
    text = text.replace("++", "")
    choice = re.search(r"Could not find '([^']+)'", text)
    if choice is not None:
        group, _, name = choice.group(1).rpartition("/")
        offered = text.partition("Config search path")[0]
        options = re.findall(r"^\t(.+)$", offered, flags=re.MULTILINE)
        listed = ", ".join(sorted(option.strip() for option in options)) or "nothing"
        return f"{group}={name}: no such choice; allowed: {listed}"
    hint = f"; {problems.PACKAGE_HINT}" if "@experiment." in text else ""
    return " ".join(text.split()) + hint


def _keys_beside(error: ConfigAttributeError | ConfigKeyError) -> list[str]:
    """The keys that exist where an unknown one was named; at the top, config groups as well."""
    node = error.parent_node
    keys = {str(key) for key in node} if node is not None and hasattr(node, "keys") else set()
    if "." not in str(error.full_key):
        groups = (shipped_root() / "conf").iterdir()
        keys = keys - {"hydra"} | {item.name for item in groups if item.is_dir()}
    return sorted(keys)
