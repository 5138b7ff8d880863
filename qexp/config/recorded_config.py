"""The config in a run's folder or archive, as input that anyone may have written.

It is plain YAML, validated like any other config. The code that its `_target_`s name is imported
only if it is qexp's own or the user trusts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from qexp.circuits.given import GIVEN_CIRCUITS
from qexp.config.analyses import (
    AnalysisGroup,
    declared_analysis,
    settings,
    validated_analyses,
)
from qexp.config.given_anew import ACCOUNT, given_anew
from qexp.config.instantiate import locate
from qexp.config.load import Generator, freeze, generator, validated
from qexp.core.flatten import Path, leaves
from qexp.core.spec import AnalysisSpec, RunSpec
from qexp.errors import ArchiveError, ConfigError, UntrustedError
from qexp.redact import MASK, redactor

_OWN = ("qexp.circuits.", "qexp.engines.")
_OWN_ANALYSES = ("qexp.analysis.", "qexp.sweeps.comparison.")
_NONE_OF: dict[tuple[str, ...], str] = {
    _OWN: "no circuit generator, backend or engine",
    _OWN_ANALYSES: "no analysis",
}
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_UNSET = "nothing"
_DECIDES_NO_DATA = (
    ("run_dir",),
    ("stop_after",),
    ("execution",),
    ("budget",),
    ("variables",),
    ("sweep",),
    # The variant is part of the recorded primitive.
    ("variants",),
    ("variant",),
    # Another version of qexp words it differently for its own experiments; the recorded one stays.
    ("metadata", "description"),
    ("engine", "workers"),
    ("engine", "max_time"),
    ("analysis",),
    ("archive",),
    ("engine", "poll_interval_s"),
    # Where the run's jobs are found decides which of them are its own.
    *ACCOUNT,
)
"""Keys in which a run may be resumed with another config."""


def load_recorded(
    config_yaml: str, trust: Sequence[str], anew: Sequence[str] = (), *, needs_circuits: bool
) -> RunSpec:
    """Validate a recorded config and freeze it; every target is allowed before one is imported.

    Args:
        config_yaml: Its text.
        trust: Dotted prefixes of targets that the user allows beside qexp's own.
        anew: Overrides of the keys that may be given anew, see `given_anew`.
        needs_circuits: False if the circuits are on disk. Their targets are then neither checked
            nor imported, and the workloads' `generate` raises.

    Raises:
        ConfigError: It is no config, names a target that is not allowed, or lacks a value that was
            not recorded because it is a secret.
    """
    plain = given_anew(parse(config_yaml), anew)
    used = {
        path: value
        for path, value in leaves(plain)
        if path[:1] != ("analysis",)
        and path[:2] != ("sweep", "analysis")
        and (needs_circuits or not _declares_circuits(path))
    }
    _refuse_unlisted_targets(used, trust, _OWN)
    _refuse_masked(used)
    return freeze(
        validated(plain),
        config_yaml,
        generator if needs_circuits else _no_generator,
        # An analysis that is not trusted, or exists no more, keeps nobody from their data.
        partial(recorded_analysis, trust=trust),
    )


def recorded_analyses(
    config_yaml: str, trust: Sequence[str], group: AnalysisGroup = "analysis"
) -> tuple[AnalysisSpec, ...]:
    """Return the analyses that a recorded config declares; see `recorded_analysis`.

    Raises:
        ConfigError: It is no config, or declares analyses in a form unknown to this version.
    """
    first = group.partition(".")[0]
    declared = {name: node for name, node in parse(config_yaml).items() if name == first}
    nodes = validated_analyses(declared, group)
    return tuple(recorded_analysis(name, node, group, trust=trust) for name, node in nodes.items())


def recorded_analysis(
    name: str,
    node: Mapping[str, Any],
    group: AnalysisGroup = "analysis",
    *,
    trust: Sequence[str],
) -> AnalysisSpec:
    """Return an analysis as recorded, which is checked and imported only when it is evaluated.

    That raises `ConfigError` if it is neither qexp's own nor trusted, was recorded without a secret
    that is an argument, or its declaration does not fit the function.
    """

    def evaluate(run: Any) -> Any:
        used = {(*group.split("."), name, *path): value for path, value in leaves(node)}
        _refuse_unlisted_targets(used, trust, _OWN_ANALYSES)
        _refuse_masked(used)
        return declared_analysis(name, node, group).evaluate(run)

    return AnalysisSpec(name, str(node.get("_target_")), settings(node), evaluate)


def given_workloads(config_yaml: str) -> set[str]:
    """Return the workloads whose circuits no config can make, because a caller gave them.

    Raises:
        ConfigError: It is no config.
    """
    plain = parse(config_yaml)
    nodes = plain.get("workloads") or {"main": {}}
    circuits = {name: node.get("circuits") or plain.get("circuits") for name, node in nodes.items()}
    return {
        name for name, node in circuits.items() if node and node.get("_target_") == GIVEN_CIRCUITS
    }


def parse(config_yaml: str) -> dict[str, Any]:
    """Read a config's YAML: plain values only, nothing is constructed or interpolated.

    Raises:
        ConfigError: It is no mapping of names in valid YAML.
    """
    from qexp.archive.summary import load_config

    plain: dict[str, Any] | None
    try:
        plain = load_config(config_yaml)
    except ArchiveError as error:
        reason = str(error).partition("is not valid YAML: ")[2]
        if reason:
            raise ConfigError(f"the recorded config is not valid YAML: {reason}") from None
        plain = None
    if plain is None or not all(isinstance(key, str) for key in plain):
        raise ConfigError("the recorded config is not valid: it must be a mapping of keys")
    return plain


def is_masked(value: Any) -> bool:
    """Return True if a secret was masked in a recorded value."""
    # Without quotes around it the mask is YAML for a list of one text.
    return value == [MASK.strip("[]")] or MASK in (value if isinstance(value, str) else ())


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
        # Version 0.1.0 and before had no such keys.
        and not (path == ("simulation_seed",) and value is None)
        and not (path == ("engine", "approximate_noise") and value is False)
        and not (path == ("engine", "method") and value is None)
    }


def _declares_circuits(path: Path) -> bool:
    return path[:1] == ("circuits",) or (path[:1] == ("workloads",) and path[2:3] == ("circuits",))


def _refuse_unlisted_targets(
    used: Mapping[Path, Any], trust: Sequence[str], allowed: tuple[str, ...]
) -> None:
    """Refuse targets that are neither qexp's own nor trusted, before any of them is imported.

    `used` has every leaf of a config by its path, `allowed` prefixes of qexp's own targets for it.
    """
    targets = {".".join(path): name for path, name in used.items() if path[-1:] == ("_target_",)}
    own = {key: name for key, name in targets.items() if not _is_trusted(name, trust)}
    for key, name in own.items():
        if not isinstance(name, str) or not _DOTTED.fullmatch(name) or not name.startswith(allowed):
            _refuse(key, name, allowed)
    # Imported only now, when nothing but qexp's own modules is left.
    for key, name in own.items():
        target = locate(name, key.removesuffix("._target_"))
        module, _, attribute = name.rpartition(".")
        if attribute.startswith("_") or getattr(target, "__module__", None) != module:
            _refuse(key, name, allowed)


def _is_trusted(name: Any, trust: Iterable[str]) -> bool:
    prefixes = [prefix.rstrip(".") for prefix in trust]
    return isinstance(name, str) and any(f"{name}.".startswith(f"{each}.") for each in prefixes)


def _refuse(key: str, name: Any, allowed: tuple[str, ...]) -> NoReturn:
    text = name if isinstance(name, str) else repr(name)
    short = text if len(text) <= 100 else f"{text[:97]}..."
    prefix = short.rpartition(".")[0] or short
    raise UntrustedError(
        f"{key}: the run's recorded config names '{short}', which is {_NONE_OF[allowed]} of qexp; "
        f"it is imported only if you say so: --trust {prefix}",
        text,
    )


def _refuse_masked(used: Mapping[Path, Any]) -> None:
    """Refuse values that were not recorded because they are secrets."""
    masked = [
        ".".join(path)
        for path, value in used.items()
        if path[:1] != ("metadata",) and is_masked(value)
    ]
    if masked:
        account = [key for key in masked if tuple(key.split(".")) in ACCOUNT]
        anew = f", or give anew {'=..., '.join(account)}=..." if account == masked else ""
        raise ConfigError(
            f"{', '.join(masked)}: recorded as {MASK}, because secrets are never written; use the "
            f"original command line (to resume the run: with run_dir=RUN_DIR added to it){anew}"
        )


def _no_generator(node: Mapping[str, Any], path: str) -> Generator:
    def generate(_sequence: Any) -> NoReturn:
        raise ConfigError(
            f"{path}: {node.get('_target_')} is not needed, because the plan is on disk"
        )

    return generate
