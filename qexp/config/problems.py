"""One line for each thing that is wrong with a config."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from qexp.errors import AnalysisFailedError, GeneratorError, QexpError
from qexp.redact import redact

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf.errors import OmegaConfBaseException
    from pydantic import BaseModel, ValidationError

INTERRUPTED = 130
INTERNAL_ERROR = 70

PACKAGE_HINT = "begin the experiment's file with the line '# @package _global_'"
"""Without that line Hydra puts all keys of `conf/experiment/NAME.yaml` under `experiment`."""

_NAME_RULE = "a name begins with a letter and has letters, digits, '_', '-', '.' only"


def unknown_key(path: str, allowed: Iterable[str]) -> str:
    """The message for a key that does not exist.

    Args:
        path: Full path of the key.
        allowed: The keys that exist beside it.
    """
    parent, _, key = path.rpartition(".")
    names = sorted(allowed)
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'? " if close else ""
    where = f"'{parent}'" if parent else "the config"
    listed = ", ".join(names) if names else "nothing"
    return f"{path}: unknown key; {hint}allowed in {where}: {listed}"


def of_validation(error: ValidationError, model: type[BaseModel], path: str = "") -> str:
    """All problems that pydantic found, on one line.

    Args:
        error: What `model_validate` raised.
        model: The model that raised it.
        path: Path of the validated node within the config.
    """
    seen: dict[str, str] = {}
    # Unknown keys first: a missing value is often the other half of a misspelt key.
    found = sorted(
        error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden"
    )
    for problem in found:
        location = [part for part in problem["loc"] if _is_key(part)]
        full = ".".join([path, *map(str, location)]) if path else ".".join(map(str, location))
        if problem["type"] == "extra_forbidden":
            message = unknown_key(full, _keys_at(model, [str(part) for part in location[:-1]]))
        elif problem["type"] == "missing":
            message = missing(full)
        elif problem["type"] == "string_pattern_mismatch":
            message = f"{full}: got {_short(problem['input'])}; {_NAME_RULE}"
        else:
            message = f"{full}: got {_short(problem['input'])}; {_lower(problem['msg'])}"
        seen.setdefault(full, message)
    return " | ".join(seen.values())


def missing(*paths: str) -> str:
    """The message for keys that have no value."""
    where = f"set it on the command line ({paths[0]}=...) or in the experiment's file"
    if paths == ("engine",):
        where = (
            "begin the backend's file with 'defaults: [/engine@_global_.engine: local, _self_]' "
            "or set engine=local"
        )
    return f"{', '.join(paths)}: a value is needed; {where}"


def nothing_chosen(path: str, node: Mapping[str, Any]) -> str:
    """The message for keys below a group of which no choice was made."""
    group = path.rpartition(".")[2]
    return (
        f"{path}: nothing is chosen that could take {', '.join(node)}; choose {group}=NAME or an "
        f"experiment first ('python -m qexp --help' lists them), or correct the key"
    )


def of_interpolation(error: OmegaConfBaseException) -> str:
    """The message for a `${...}` that cannot be resolved."""
    told = error.__cause__ or error.__context__
    while told is not None:
        if isinstance(told, QexpError):
            # One of qexp's own resolvers refused.
            return str(told)
        told = told.__cause__ or told.__context__
    reason = str(error).splitlines()[0]
    hint = "; write the full path of a key that exists" if "key" in reason else ""
    return f"{getattr(error, 'full_key', None) or 'config'}: {reason}{hint}"


def of_error(error: BaseException, log: Path | None = None) -> str:
    """Whatever ended a run, as one line without secrets.

    Args:
        error: The error.
        log: The file that has the traceback of an error that is explained by one, or None.
    """
    text = " ".join(str(error).split())
    if not isinstance(error, QexpError):
        text = f"internal error, please report it: {type(error).__name__}: {text}"
    if log is not None and is_explained_by_log(error):
        text = f"{text}; the traceback is in {log}"
    return redact(text)


def is_explained_by_log(error: BaseException) -> bool:
    """Whether the error is of the user's own code or of ours, so that a traceback is of use."""
    of_users_code = isinstance(error, GeneratorError | AnalysisFailedError)
    return of_users_code or not isinstance(error, QexpError)


def exit_code(error: BaseException) -> int:
    """The process's exit code if this error is all that there was."""
    return error.exit_code if isinstance(error, QexpError) else INTERNAL_ERROR


def _is_key(part: int | str) -> bool:
    # In a union pydantic appends the member that it tried ("int", "constrained-int"): no key.
    if isinstance(part, int):
        return True
    no_key = {"int", "str", "float", "bool", "none", "list", "dict", "[key]"}
    made_up = ("constrained-", "function-", "literal[", "list[", "dict[")
    return part not in no_key and not part.startswith(made_up)


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for key in location:
        field = model.model_fields.get(key)
        nested = _model_in(field.annotation) if field is not None else None
        if nested is None:
            continue
        model = nested
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    from typing import get_args

    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model is not None), None)


def _short(value: Any) -> str:
    # Before it is cut: the beginning of a secret would not be known as one.
    text = redact(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _lower(message: str) -> str:
    message = message.replace("Input should be", "it must be")
    message = re.sub(r"valid dictionary( or instance of \w+)?", "mapping of keys", message)
    return message[:1].lower() + message[1:]
