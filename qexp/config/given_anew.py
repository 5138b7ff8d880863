"""The keys that a recorded run may be given anew: account, budget, raw data, driving of jobs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qexp.config import messages
from qexp.config.overrides import parse
from qexp.config.schema import ExecutionNode
from qexp.errors import ConfigError

ACCOUNT = (("backend", "account"), ("backend", "channel"), ("backend", "instance"))
"""Keys that select the account, which may be renamed or moved after jobs were submitted."""

_KEYS = (
    *map(".".join, ACCOUNT),
    "budget.qpu",
    "archive.raw",
    *(f"execution.{key}" for key in ExecutionNode.model_fields),
)


def is_override(word: str) -> bool:
    """Return True for a word of a command line that is `key=value`, and not the path of a run."""
    key, separator, _ = word.partition("=")
    return bool(separator) and "/" not in key and not Path(word).exists()


def given_anew(recorded: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """Return a recorded config with the values of overrides that a user gives anew.

    Raises:
        ConfigError: A word is no override of a key that may be given anew.
    """
    config = copy.deepcopy(dict(recorded))
    for word in words:
        with messages.one_line_errors():
            item = parse(word)
        key = item.key_or_group
        if key not in _KEYS or item.is_sweep_override() or item.is_delete():
            close = messages.closest(key, _KEYS)
            hint = f"did you mean {close}? " if close and close != key else ""
            raise ConfigError(
                f"{word}: a recorded run keeps its config; {hint}only one value each of "
                f"{', '.join(_KEYS[: len(ACCOUNT) + 2])} and execution.KEY may be given anew"
            )
        section, _, name = key.partition(".")
        config[section] = {**(config.get(section) or {}), name: item.value()}
    return config
