"""Differences between the config that a run recorded and the one that is to resume it."""

from __future__ import annotations

from typing import Any

from qexp.config.recorded_config import is_masked, parse
from qexp.core.flatten import leaves
from qexp.redact import MASK, redactor

_UNSET = "nothing"
_DECIDES_NO_DATA = (
    ("run_dir",),
    ("stop_after",),
    ("execution",),
    ("variables",),
    ("engine", "workers"),
    ("analysis",),
    ("engine", "poll_interval_s"),
)


def differences(recorded_yaml: str, new_yaml: str) -> list[str]:
    """Describe each key that differs, such as `"circuits.depth: recorded 5, now 8"`.

    Keys that decide no data are left out. Secrets are compared, and shown, by their mask.

    Raises:
        ConfigError: One of the texts is no config.
    """
    recorded, new = _comparable(recorded_yaml), _comparable(new_yaml)
    return [
        f"{key}: recorded {recorded.get(key, _UNSET)}, now {new.get(key, _UNSET)}"
        for key in recorded | new
        if recorded.get(key) != new.get(key)
    ]


def _comparable(config_yaml: str) -> dict[str, str]:
    redact = redactor()

    def text(value: Any) -> str:
        if is_masked(value) and not isinstance(value, str):
            return repr(MASK)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return redact(repr(value))

    return {
        ".".join(path): text(value)
        for path, value in leaves(parse(config_yaml))
        if not any(path[: len(left_out)] == left_out for left_out in _DECIDES_NO_DATA)
    }
