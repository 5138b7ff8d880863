"""Messages about configs: one line for each mistake, with its key and what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qexp.config.paths import config_choices
from qexp.errors import ConfigError, QexpError
from qexp.redact import redact
from qexp.text import one_line

if TYPE_CHECKING:
    from omegaconf.errors import OmegaConfBaseException
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

PACKAGE_HINT = "begin the experiment's file with the line '# @package _global_'"
"""Without that line Hydra puts all keys of `conf/experiment/NAME.yaml` under `experiment`."""

_GROUP_RULE = (
    "a config group takes the name of a choice, not null or a number; leave the override out to "
    "choose nothing, or write analysis=[] for no analysis ('python -m qexp --help' lists the "
    "choices)"
)
_READS_AS_VALUE = r"[-+]?[\d_]*\.?\d+(?:[eE][-+]?\d+)?|true|false|null|\[.*\]|\{.*\}"
_NAME_RULE = "a name begins with a letter and has letters, digits, '_', '-', '.' only"


def closest(word: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed word that is most similar; None if no one is."""
    return next(iter(difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)), None)


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return `"did you mean 'x'? "`, or an empty text if no allowed word is similar."""
    close = closest(word, allowed)
    return f"did you mean '{close}'? " if close else ""


def unknown_key(path: str, allowed: Iterable[str]) -> str:
    """Describe a key, by its full path, that is not among those that exist in its place."""
    parent, _, key = path.rpartition(".")
    names = sorted(allowed)
    where = f"'{parent}'" if parent else "the config"
    listed = ", ".join(names) or "nothing"
    close = did_you_mean(key, names)
    # A place for keys of the user's own, at the top.
    is_own = not parent and not close and "variables" in names
    own = f"; a key of your own would be variables.{key}" if is_own else ""
    return f"{path}: unknown key; {close}allowed in {where}: {listed}{own}"


def missing(*paths: str) -> str:
    """Describe keys that have no value."""
    where = f"set it on the command line ({paths[0]}=...) or in the experiment's file"
    if paths == ("engine",):
        where = (
            "begin the backend's file with 'defaults: [/engine@_global_.engine: local, _self_]' "
            "or set engine=local"
        )
    return f"{', '.join(paths)}: a value is needed; {where}"


def nothing_chosen(path: str, node: Mapping[str, Any]) -> str:
    """Describe keys below a group of which no choice was made."""
    group = path.rpartition(".")[2]
    return (
        f"{path}: nothing is chosen that could take {', '.join(node)}; choose {group}=NAME or an "
        f"experiment first ('python -m qexp --help' lists them), or correct the key"
    )


def validation_message(error: ValidationError, model: type[BaseModel], path: str = "") -> str:
    """Join all problems that pydantic found into one line.

    `path` is that of the validated node within the config.
    """
    messages: dict[str, str] = {}
    # Unknown keys first: a missing value is often the other half of a misspelt key.
    problems = sorted(
        error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden"
    )
    for problem in problems:
        place = [str(part) for part in location(problem)]
        key = ".".join([path, *place] if path else place)
        match problem["type"]:
            case "extra_forbidden":
                message = unknown_key(key, _keys_at(model, place[:-1]))
            case "missing":
                message = missing(key)
            case "string_pattern_mismatch":
                message = f"{key}: got {_short(problem['input'])}; {_NAME_RULE}"
            case _:
                got, hint = problem["input"], _type_hint(key, problem)
                message = f"{key}: got {_short(got)}; {_rule(problem['msg'])}{hint}"
        messages.setdefault(key, message)
    return " | ".join(messages.values())


def location(problem: ErrorDetails) -> list[int | str]:
    """Return the keys and indices that lead to a value that pydantic refused."""
    return [part for part in problem["loc"] if _is_key(part)]


def _type_hint(key: str, problem: ErrorDetails) -> str:
    """Return what to do where a value is a text that reads like one of the type that is needed."""
    got, groups = problem["input"], config_choices()
    if not isinstance(got, str):
        return ""
    places = (key.replace(".", "/"), key.rpartition(".")[2])
    if group := next((name for name in places if name in groups), None):
        return f"; choose it in the file's defaults: 'override /{group}: {got}'"
    if problem["type"].startswith("string") or not re.fullmatch(_READS_AS_VALUE, got):
        return ""
    return (
        "; write it without quotes, or, if it comes from an environment variable, as "
        "${oc.decode:${oc.env:NAME}}"
    )


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Convert what Hydra, OmegaConf or YAML raises for a mistake in a config.

    Raises:
        ConfigError: See `compose_message`.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        problem = compose_message(error)
        if problem is None:
            raise
        raise ConfigError(problem) from error


def compose_message(error: Exception) -> str | None:
    """Describe what Hydra, OmegaConf or YAML raised while a config was composed.

    That is one line which names the key or file and what is allowed; None for an error that is no
    mistake in a config.
    """
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    cause = error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        return unknown_key(str(cause.full_key), _keys_beside(cause))
    text = one_line(error)
    message = text if "defaults list" in text else None
    match error:
        case OmegaConfBaseException():
            message = interpolation_message(error)
        case YAMLError():
            message = f"a config file is not valid YAML in UTF-8: {text}"
        case OSError(filename=str(path)):
            message = f"{path}: {error.strerror}; choose a folder that you can write to"
        case OverrideParseException():
            message = _grammar_message(_without_links(error.message), error.override)
        case HydraException() if ambiguous := re.match(
            r"Ambiguous .* argument '(.*?)'\n", str(error)
        ):
            message = _grammar_message(ambiguous[0].strip(), ambiguous[1])
        case HydraException():
            message = _hydra_message(str(error))
        case _ if "Config group override must be" in text:
            message = _GROUP_RULE
    return message


def interpolation_message(error: OmegaConfBaseException) -> str:
    """Describe a `${...}` that cannot be resolved."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, QexpError):
            # One of qexp's own resolvers refused.
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    reason = str(error).splitlines()[0]
    variable = re.search(r"Environment variable '(\w+)' not found", reason)
    if variable is not None:
        return (
            f"{getattr(error, 'full_key', None) or 'config'}: environment variable {variable[1]} "
            f"is not set; set it, or give a value to use instead: ${{oc.env:{variable[1]},VALUE}}"
        )
    hint = "; write the full path of a key that exists" if "key" in reason else ""
    return f"{getattr(error, 'full_key', None) or 'config'}: {reason}{hint}"


def _hydra_message(text: str) -> str:
    text = text.replace("++", "")
    choice = re.search(r"Could not find '([^']+)'", text)
    if choice is not None:
        group, _, name = choice.group(1).rpartition("/")
        listed = text.partition("Config search path")[0]
        options = sorted(
            option.strip() for option in re.findall(r"^\t(.+)$", listed, flags=re.MULTILINE)
        )
        if not options and group.rpartition("/")[2] in config_choices():
            # A default without a slash is looked for beside the file.
            return f"{group}={name}: no such choice; {_override_hint(group.rpartition('/')[2])}"
        allowed = ", ".join(options) or "nothing"
        return f"{group}={name}: no such choice; {did_you_mean(name, options)}allowed: {allowed}"
    twice = re.match(r"Multiple values for (\w+)\.", text)
    if twice is not None:
        group = twice.group(1)
        return (
            f"{group}: is chosen already; leave out the '+' to choose another: {group}=NAME; or, "
            f"{_override_hint(group)}"
        )
    relative = re.search(r"Could not override '[\w/]+/(\w+)@", text)
    if relative is not None and relative[1] in config_choices():
        return f"{one_line(text)}; {_override_hint(relative[1])}"
    hint = f"; {PACKAGE_HINT}" if "@experiment." in text else ""
    return _without_links(text) + hint


def _without_links(text: str) -> str:
    return one_line(re.sub(r"\s*See https://hydra\.cc\S+ for details", "", text))


def _override_hint(group: str) -> str:
    return f"in the defaults of a file, write 'override /{group}: NAME'"


def _grammar_message(text: str, override: str) -> str:
    """Describe an override whose value Hydra's grammar does not take as it is."""
    text, override = text.replace("++", ""), override.lstrip("+")
    key, _, value = override.partition("=")
    if text.startswith("LexerNoViableAlt"):
        text = f"{override}: it has a character that only a quoted text may have"
    elif override not in text:
        text = f"{override}: {text}"
    is_sweep = text.startswith("Ambiguous value")
    if is_sweep and key in config_choices():
        return f"{text}; choose one, or add -m to run each"
    other = f"write {key}=[...] for a list, add -m to run each, or " if is_sweep else ""
    quoted = f"\"{key}='{value}'\"" if not set("'\"$`\\") & set(value) else "\"key='a text'\""
    return f"{text}; {other}quote a text for qexp as well as for the shell: {quoted}"


def _keys_beside(error: Any) -> list[str]:
    """List the keys that exist beside an unknown one; at the top, config groups as well."""
    node = error.parent_node
    keys = {str(key) for key in node} if node is not None and hasattr(node, "keys") else set()
    return sorted(keys if "." in str(error.full_key) else keys - {"hydra"} | {*config_choices()})


def _is_key(part: int | str) -> bool:
    # In a union pydantic appends the member that it tried ("int", "constrained-int").
    if isinstance(part, int):
        return True
    no_key = {"int", "str", "float", "bool", "none", "list", "dict", "[key]"}
    made_up = ("constrained-", "function-", "literal[", "list[", "dict[")
    return part not in no_key and not part.startswith(made_up)


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for key in location:
        field = model.model_fields.get(key)
        nested = _model_in(field.annotation) if field is not None else None
        model = nested or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    from typing import get_args

    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in models if model is not None), None)


def _short(value: Any) -> str:
    # Redacted before it is cut: the beginning of a secret would not be recognised.
    text = redact(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _rule(message: str) -> str:
    message = message.replace("Input should be", "it must be")
    message = re.sub(r"valid dictionary( or instance of \w+)?", "mapping of keys", message)
    return message[:1].lower() + message[1:]
