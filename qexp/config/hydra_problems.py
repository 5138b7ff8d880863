"""What Hydra and its parts raise while a config is composed, as one line for its author."""

from __future__ import annotations

import re

from hydra.errors import HydraException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from qexp.config import problems
from qexp.config.hydra_setup import shipped_root


def of_composing(error: Exception) -> str | None:
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
    "choose nothing, or write analysis=[] for no analysis ('python -m qexp --help' lists the "
    "choices)"
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
    twice = re.match(r"Multiple values for (\w+)\.", text)
    if twice is not None:
        group = twice.group(1)
        return f"{group}: is chosen already; leave out the '+' to choose another: {group}=NAME"
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
