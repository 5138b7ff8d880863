"""Functions and classes that a `_target_` names, and the check of a node against their signature.

The signature is the schema: annotated parameters (pydantic constraints included) say what a node
may hold, so a user's own function is checked as strictly as qexp's.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from qexp.config import messages
from qexp.errors import ConfigError, QexpError
from qexp.text import one_line

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound="BaseModel")

SUPPLIED = frozenset({"seed_sequence", "rng", "pinned", "outage_s"})
"""Parameters that qexp itself supplies: to a circuit generator, and to a backend's selector."""

_NO_TARGETS = frozenset({"builtins", "os", "subprocess", "sys", "shutil"})


def bind(node: Mapping[str, Any], path: str, *, positional: int = 0) -> Callable[..., Any]:
    """Bind a node's arguments to its target, ready to be called.

    The first parameters, `positional` of them, are supplied by qexp itself, whatever their names.
    `path` is that of the node in the config, for messages.

    Raises:
        ConfigError: No or bad `_target_`, unknown key, wrong type, out of range, missing value.
    """
    if "_target_" not in node:
        raise ConfigError(messages.nothing_chosen(path, node))
    target = locate(node["_target_"], path)
    declared = {key: value for key, value in node.items() if key != "_target_"}
    arguments = _check(target, declared, path, positional)
    nested = {
        key: build(value, f"{path}.{key}") for key, value in arguments.items() if _is_target(value)
    }
    return partial(target, **{**arguments, **nested})


def build(
    node: Mapping[str, Any], path: str, supplied: Mapping[str, Any] = MappingProxyType({})
) -> Any:
    """Call a node's target with its declared arguments.

    Of the `supplied` values it gets those that it has parameters for; `path` is as in `bind`.

    Raises:
        ConfigError: The node is refused by `bind`, or by the target itself.
    """
    bound = bind(node, path)
    try:
        return bound(**{name: value for name, value in supplied.items() if accepts(bound, name)})
    except QexpError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{path}: {node['_target_']} failed: {type(error).__name__}: {one_line(error)}"
        ) from error


def validate(model: type[M], plain: Mapping[str, Any], path: str = "") -> M:
    """Validate plain values with a model; nothing is converted, but one value may stand for a list.

    `path` is that of the node within the config, for messages.

    Raises:
        ConfigError: One line for everything that is wrong.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(plain)
    except ValidationError as error:
        with suppress(ValidationError):
            return model.model_validate(_with_lists(plain, error))
        raise ConfigError(messages.validation_message(error, model, path)) from None


def _with_lists(plain: Mapping[str, Any], error: ValidationError) -> dict[str, Any]:
    """Return values with a list of one in each place where a list is meant and one value is."""
    changed: dict[str, Any] = copy.deepcopy(dict(plain))
    for problem in error.errors(include_url=False):
        is_value = isinstance(problem["input"], int | float | str)
        if problem["type"] == "list_type" and is_value:
            *above, key = messages.location(problem)
            node: Any = changed
            for part in above:
                node = node[part]
            node[key] = [problem["input"]]
    return changed


def locate(name: Any, path: str) -> Callable[..., Any]:
    """Import the callable that a `_target_` names.

    Raises:
        ConfigError: It is not a dotted name, cannot be imported, or is not callable.
    """
    key = f"{path}._target_"
    if not isinstance(name, str) or "." not in name:
        raise ConfigError(
            f"{key}: got {name!r}; it must be the dotted name of a function or class, "
            f"such as qexp.circuits.random.random_circuits"
        )
    module_name, _, attribute = name.rpartition(".")
    if module_name.partition(".")[0] in _NO_TARGETS:
        raise ConfigError(f"{key}: '{name}' is not allowed as a target; name your own function")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{key}: {_import_problem(module_name, error)}") from error
    target = getattr(module, attribute, None)
    if callable(target):
        return target
    own = [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module_name
        if not name.startswith("_")
    ]
    raise ConfigError(
        f"{name}: named by {key}, does not exist; {messages.did_you_mean(attribute, own)}allowed "
        f"in '{module_name}': {', '.join(sorted(own)) or 'nothing'}"
    )


def accepts(target: Callable[..., Any], parameter: str) -> bool:
    """Return True if a (bound) target has a parameter of that name."""
    function = target.func if isinstance(target, partial) else target
    return parameter in inspect.signature(function).parameters


def _import_problem(module_name: str, error: BaseException) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if missing and f"{module_name}.".startswith(f"{missing}."):
        top = module_name.partition(".")[0]
        file = getattr(sys.modules.get(top), "__file__", None)
        if file and missing != top:
            return (
                f"cannot import '{module_name}': {reason}; '{top}' is {file}, which hides any "
                f"other of that name: rename it, or name a module that it has"
            )
        return (
            f"cannot import '{module_name}': {reason}; it is looked up in the current folder and "
            f"in the installed packages"
        )
    return f"cannot import '{module_name}', it fails with {type(error).__name__}: {reason}"


def _check(
    target: Callable[..., Any], declared: dict[str, Any], path: str, positional: int
) -> dict[str, Any]:
    """Validate declared arguments against the signature, see `validate`."""
    nested = frozenset(name for name, value in declared.items() if _is_target(value))
    checked = validate(_arguments(target, path, positional, nested), declared, path)
    extras = checked.model_extra or {}
    return {
        name: extras[name] if name in extras else getattr(checked, f"p_{name}") for name in declared
    }


@lru_cache(maxsize=256)
def _arguments(
    target: Callable[..., Any], path: str, positional: int, nested: frozenset[str]
) -> type[BaseModel]:
    """Return the model of a target's arguments, of which nested targets may be any."""
    from pydantic import ConfigDict, Field, create_model

    fields: dict[str, Any] = {}
    extra: typing.Literal["allow", "forbid"] = "forbid"
    for name, parameter in _parameters(target, path, positional).items():
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
        if name in SUPPLIED or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        annotation = Any if name in nested else _annotation(target, parameter)
        default = ... if parameter.default is parameter.empty else parameter.default
        # Aliased, because a parameter may have the name of a method of pydantic's model ("copy").
        fields[f"p_{name}"] = (annotation, Field(default, alias=name))
    config = ConfigDict(
        extra=extra, strict=True, arbitrary_types_allowed=True, protected_namespaces=()
    )
    return create_model("Arguments", __config__=config, **fields)


def _parameters(
    target: Callable[..., Any], path: str, positional: int
) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a target after the leading ones that qexp supplies by position."""
    where = f"{path}._target_: '{target.__module__}.{target.__qualname__}'"
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:
        raise ConfigError(
            f"{where} has no signature to check against; name a Python function or class"
        ) from None
    leading = list(parameters)[:positional]
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(leading) < positional or any(
        parameters[name].kind not in by_position for name in leading
    ):
        raise ConfigError(
            f"{where} must take {positional} positional argument{'s' if positional > 1 else ''} "
            f"before its settings"
        )
    return {name: parameter for name, parameter in parameters.items() if name not in leading}


def _annotation(target: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    if parameter.annotation is parameter.empty:
        return Any
    owner = target.__init__ if inspect.isclass(target) else target
    holder = type("Holder", (), {"__annotations__": {"value": parameter.annotation}})
    try:
        hints = typing.get_type_hints(
            holder, globalns=getattr(owner, "__globals__", {}), include_extras=True
        )
    except NameError:
        # A name that exists for type checkers only cannot be the type of a value from YAML.
        return Any
    return hints["value"]


def _is_target(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value
