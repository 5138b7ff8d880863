"""A run that is declared in Python: by the same overrides as on the command line, or with PUBs."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexp.circuits.given import GIVEN_CIRCUITS
from qexp.config import messages
from qexp.config.analyses import declared_analysis
from qexp.config.load import Generator, GeneratorOf, freeze, generator, load, validated
from qexp.config.overrides import dotted_name, open_nodes, override
from qexp.config.paths import (
    config_choices,
    make_experiments_importable,
    new_run_id,
    run_folder,
)
from qexp.config.recorded_config import parse
from qexp.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig

    from qexp.config.sweep_launcher import Launch
    from qexp.core.model import Pub
    from qexp.core.spec import RunSpec

_KEYS_OF_HYDRA = ("hydra.run.dir", "hydra.searchpath")
"""Keys below `hydra` that mean something without its command line."""

_DECIDED = (
    *("experiment", "seed", "simulation_seed", "stop_after"),
    *("max_time_s", "policy", "partition", "limits"),
)
"""Fields of a `RunSpec` that its recorded config says."""


@dataclass(frozen=True)
class Declaration:
    """A declared run."""

    spec: RunSpec
    folder: Path  # its folder, which need not exist
    run_dir: str | None  # the earlier run that the config names to resume


def declare_run(
    overrides: Sequence[str], values: Mapping[str, Any], circuits: Any = None
) -> Declaration:
    """Compose, check and freeze a run, in any thread; no service is asked and no file is written.

    Args:
        overrides: As on the command line; the first may be the name of an experiment alone.
        values: Further overrides: values in Python by key.
        circuits: PUBs; or the generator of PUBs, a function with its settings bound by
            `functools.partial`; or None. Both replace the circuits that the overrides choose.

    Raises:
        ConfigError: One line for everything that is wrong.
    """
    with messages.one_line_errors():
        return _declared(_arguments(overrides, values, has_circuits=circuits is not None), circuits)


def declare_sweep(overrides: Sequence[str], values: Mapping[str, Any]) -> Launch:
    """Compose, check and freeze the points of a sweep, as `declare_run`; `key=a,b` is swept.

    Raises:
        ConfigError: One line for everything that is wrong.
    """
    from qexp.config.hydra_internals import sweep_with
    from qexp.config.sweep import CheckedSweeper
    from qexp.config.sweep_launcher import PointLauncher

    launches: list[Launch] = []

    class Declaring(PointLauncher):
        """Declares the points, and runs none."""

        def launch(
            self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
        ) -> list[JobReturn]:
            launches.append(self.launched(job_overrides, initial_job_idx))
            return []

    with messages.one_line_errors():
        arguments = _arguments(overrides, values, has_circuits=False)
        make_experiments_importable(is_own_process=False)
        sweep_with(Declaring(), CheckedSweeper, arguments)
    (launch,) = launches
    return launch


def declaration_of(spec: RunSpec) -> Declaration:
    """Return the declaration of a spec that was declared earlier, to run it in a new folder.

    One that was changed since is refused, as its recorded config would be another.

    Raises:
        ConfigError: It was changed since, so that its recorded config would be another.
    """
    plain = parse(spec.config_yaml)
    again = freeze(
        validated(plain), spec.config_yaml, partial(_generator_of, ()), declared_analysis
    )
    for name in _DECIDED:
        if getattr(spec, name) != getattr(again, name):
            raise ConfigError(
                f"{name}: got {getattr(spec, name)!r}, but the spec was declared with "
                f"{getattr(again, name)!r}, which the archive would record; declare it anew"
            )
    sides = [[(w.name, w.primitive, w.transpile) for w in each.workloads] for each in (spec, again)]
    if sides[0] != sides[1]:
        raise ConfigError(
            "workloads: the spec was changed after it was declared, and the archive would record "
            "the config that it was declared with; declare it anew"
        )
    run_dir = plain.get("run_dir")
    folder = run_folder(run_dir) if run_dir else Path("outputs", spec.experiment, new_run_id())
    return Declaration(spec, folder.absolute(), run_dir)


def _declared(arguments: list[str], circuits: Any) -> Declaration:
    from qexp.config.hydra_internals import composed

    _refuse_sweeps(arguments)
    make_experiments_importable(is_own_process=False)
    with composed(arguments) as config:
        folder, run_dir = Path(config.hydra.runtime.output_dir), config.run_dir
        if circuits is None:
            return Declaration(load(config), folder, run_dir)
        generator_of: GeneratorOf = generator
        if callable(circuits):
            node = _generator_node(circuits)
        else:
            pubs = _copied_pubs(circuits, _kind_of(config))
            node = {"_target_": GIVEN_CIRCUITS, "num_circuits": len(pubs), "sha256": _digest(pubs)}
            generator_of = partial(_generator_of, pubs)
        # Not an override, which would be merged into the circuits that an experiment chooses.
        from omegaconf import OmegaConf

        OmegaConf.update(config, "circuits", node, merge=False, force_add=True)
        spec = load(config, generator_of)
        overrides = (*spec.overrides, override("circuits", node))
        return Declaration(replace(spec, overrides=overrides), folder, run_dir)


def _arguments(
    overrides: Sequence[str], values: Mapping[str, Any], *, has_circuits: bool
) -> list[str]:
    """Return overrides for Hydra, of which a name alone chooses an experiment."""
    words: list[str] = []
    for position, word in enumerate(overrides):
        if not isinstance(word, str):
            raise ConfigError(
                f"got an object of type {type(word).__name__} as an override; write it as text, "
                f"such as 'circuits.depth=8', and PUBs as circuits=[...]"
            )
        is_name = not word.startswith("-") and "=" not in word and not word.startswith("~")
        if is_name and position == 0 and word:
            words.append(override("experiment", word))
        elif is_name or word.startswith("-"):
            raise ConfigError(_mistyped(word))
        else:
            words.append(word)
    arguments = open_nodes(words + [override(key, value) for key, value in values.items()])
    _refuse_without_effect(arguments, has_circuits=has_circuits)
    return arguments


def _mistyped(word: str) -> str:
    key = messages.closest(word, config_choices())
    hint = f"did you mean '{key}=...'? " if key else ""
    return (
        f"{word}: no override; {hint}write key=value, after the name of one experiment at most "
        f"(flags such as -m are for the command line)"
    )


def _refuse_sweeps(arguments: list[str]) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    for item in OverridesParser.create().parse_overrides(arguments):
        if item.is_sweep_override():
            text = (item.input_line or "").lstrip("+")
            raise ConfigError(
                f"{text}: several values are a sweep, and this is a single run; give one value, a "
                f"list as [a,b] or a text in quotes, or use qexp.sweep"
            )


def _refuse_without_effect(arguments: Iterable[str], *, has_circuits: bool) -> None:
    """Refuse settings of Hydra's command line, and those of circuits that are not run."""
    for item in arguments:
        key = item.lstrip("+~").partition("=")[0]
        if key.startswith(("hydra.", "hydra/")) and key not in _KEYS_OF_HYDRA:
            raise ConfigError(
                f"{key}: has no effect in Python; of Hydra's own keys, only "
                f"{' and '.join(_KEYS_OF_HYDRA)} can be set"
            )
        if has_circuits and (key == "circuits" or key.startswith("circuits.")):
            raise ConfigError(
                f"{key}: has no effect beside circuits that are given in Python; leave it out, and "
                f"bind settings of a generator with functools.partial(generator, name=value)"
            )


def _generator_node(given: Callable[..., Any]) -> dict[str, Any]:
    """Return the node of a function and the settings that are bound to it."""
    if not isinstance(given, partial):
        return {"_target_": dotted_name(given, "circuits")}
    if given.args:
        raise ConfigError(
            f"circuits: got {given.args!r} bound without a name; bind settings of a generator by "
            f"name, as in functools.partial(generator, depth=8)"
        )
    return {"_target_": dotted_name(given.func, "circuits"), **given.keywords}


def _generator_of(pubs: Sequence[Pub], node: Mapping[str, Any], path: str) -> Generator:
    """Bind the generator of a node, where given PUBs stand for themselves."""
    bound = generator(node, path)
    return (lambda _sequence: iter(pubs)) if node.get("_target_") == GIVEN_CIRCUITS else bound


def _kind_of(config: DictConfig) -> str:
    """Return the kind of the primitive that runs the circuits of the top level."""
    workloads = (config.get("workloads") or {}).values()
    nodes = [node for node in workloads if not node.get("circuits")]
    if workloads and not nodes:
        raise ConfigError(
            "circuits: would have no effect, because every workload declares its own; choose an "
            "experiment without workloads, or none"
        )
    primitive = (nodes[0].get("primitive") if nodes else None) or config.get("primitive")
    kind = primitive.get("kind") if primitive else None
    if kind not in ("sampler", "estimator"):
        raise ConfigError(
            "primitive: nothing says which primitive runs the circuits; add primitive='sampler' or "
            "primitive='estimator'"
        )
    return str(kind)


def _copied_pubs(circuits: Any, kind: str) -> list[Pub]:
    """Return copies of the given PUBs, which their owner may go on to change."""
    from qexp.core.model import PrimitiveSpec
    from qexp.planning.transpile import coerce_pub, expected_pub
    from qexp.text import typed_reason

    primitive = PrimitiveSpec(kind)  # type: ignore[arg-type]
    if not isinstance(circuits, Iterable) or isinstance(circuits, bytes):
        hint = "; for one circuit, [circuit]" if hasattr(circuits, "num_qubits") else ""
        raise ConfigError(
            f"circuits: got an object of type {type(circuits).__name__}; it must be a list of "
            f"PUBs, or a function that yields them{hint}"
        )
    pubs = []
    for index, pub_like in enumerate(circuits):
        try:
            # At once: a generator may let a circuit grow that it has yielded.
            pubs.append(copy.deepcopy(coerce_pub(pub_like, primitive)))
        except Exception as error:
            raise ConfigError(
                f"circuits: PUB {index} is not {expected_pub(primitive)}: {typed_reason(error)}"
            ) from None
    if not pubs:
        raise ConfigError("circuits: the list is empty; give at least one PUB")
    return pubs


def _digest(pubs: Iterable[Pub]) -> str:
    """Digest all that PUBs consist of, names and metadata of circuits excepted."""
    from qexp.archive.circuit_digest import circuit_sha256
    from qexp.core.jsonable import dumps

    digest = hashlib.sha256()
    for pub in pubs:
        values = pub.parameter_values
        content = {
            "circuit": circuit_sha256(pub.circuit),
            "parameters": [name for names in values.data for name in names],
            "values": values.as_array().tolist(),
            "observables": pub.observables.tolist() if hasattr(pub, "observables") else None,
            "accuracy": pub.shots if hasattr(pub, "shots") else pub.precision,
        }
        digest.update(dumps(content, str).encode())
    return digest.hexdigest()
