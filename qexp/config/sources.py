"""The files that declare an experiment, kept verbatim so that an archive explains itself."""

from __future__ import annotations

import ast
import inspect
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from qexp.config.instantiate import locate
from qexp.config.paths import PRIMARY, PROJECT
from qexp.config.yaml_files import read_config_text
from qexp.core.flatten import leaves
from qexp.core.model import SourceFile

if TYPE_CHECKING:
    from qexp.config.schema import RootNode

_KNOWN = frozenset({"qexp", "qiskit", "qiskit_aer", "qiskit_ibm_runtime"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of packages whose names and versions are archived instead."""


def source_files(root: RootNode) -> tuple[SourceFile, ...]:
    """Read the composed config files, and the Python modules of the user's own.

    These are the modules of targets outside qexp, and those that they import, wherever in their
    text, but for installed packages.
    """
    sources = (*_typed(root), *_config_files(root), *_modules(_target_modules(root)))
    found = {source.name: source for source in sources}
    # The points of a sweep have most of theirs in common.
    return tuple(_shared(found[name].name, found[name].text) for name in sorted(found))


_shared = lru_cache(maxsize=256)(SourceFile)


def current_sources(
    recorded: Sequence[SourceFile], trust: Sequence[str]
) -> tuple[tuple[SourceFile, ...], tuple[str, ...]]:
    """Return recorded sources with the text that trusted modules, and what they import, have now.

    Modules are trusted by dotted prefixes. There is one line for each that is not as recorded.
    """
    paths = [Path(source.name) for source in recorded if source.name.endswith(".py")]
    modules = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]
    # Either may be within the other: a package may be trusted, or one function.
    trusted = [name for name in modules if any(_is_within(name, each) for each in trust)]
    now = {source.name: source for source in _modules(trusted)}
    before = {source.name: source for source in recorded}
    changed = [
        f"{name} is not what it was: the archive holds another text"
        for name, source in now.items()
        if name in before and before[name].text.splitlines() != source.text.splitlines()
    ]
    sources = before | now
    return tuple(sources[name] for name in sorted(sources)), tuple(changed)


def _config_files(root: RootNode) -> Iterator[SourceFile]:
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return
    runtime = HydraConfig.get().runtime
    folders = [Path(source.path) for source in runtime.config_sources if source.schema == "file"]
    names = [HydraConfig.get().job.config_name or PRIMARY, PROJECT]
    for place, choice in runtime.choices.items():
        group = place.partition("@")[0]
        if choice is not None and not group.startswith("hydra"):
            names.append(f"{group}/{choice}")
    # Hydra does not say which analyses of a list were chosen; a file declares the one of its name.
    names += [f"analysis/{name}" for name in root.analysis]
    for name in names:
        # The first folder on the search path wins, as it does for Hydra.
        path = next((p for f in folders if (p := f / f"{name}.yaml").is_file()), None)
        if path is not None:
            text = read_config_text(path)
            yield SourceFile(f"conf/{name}.yaml", text)
            names += [each for each in _plain_defaults(text, name) if each not in names]


@lru_cache(maxsize=256)
def _plain_defaults(text: str, name: str) -> tuple[str, ...]:
    """Return the files that a config's defaults name without being a choice, such as `- base`."""
    import yaml  # type: ignore[import-untyped]

    # Hydra has read it, so that it is a mapping or empty.
    content = yaml.safe_load(text) if "defaults" in text else None
    named = [item for item in (content or {}).get("defaults") or [] if isinstance(item, str)]
    paths = [item.partition("@")[0] for item in named if item != "_self_"]
    parent = PurePosixPath(name).parent
    return tuple(path[1:] if path.startswith("/") else str(parent / path) for path in paths)


def _is_within(module: str, prefix: str) -> bool:
    a, b = f"{module}.", f"{prefix.rstrip('.')}."
    return a.startswith(b) or b.startswith(a)


def _own_targets(root: RootNode) -> Iterator[str]:
    for path, target in leaves(root.model_dump()):
        if path[-1] == "_target_" and str(target).partition(".")[0] not in _KNOWN:
            yield str(target)


def _typed(root: RootNode) -> Iterator[SourceFile]:
    """Yield targets that are in no file, such as those of a notebook, if their source is kept."""
    for name in _own_targets(root):
        target = locate(name, "source")
        file = str(getattr(inspect.getmodule(target), "__file__", None))
        if not file.endswith(".py"):
            with suppress(OSError, TypeError):
                yield SourceFile(name.replace(".", "/") + ".py", inspect.getsource(target))


def _target_modules(root: RootNode) -> Iterator[str]:
    """Yield the module that each target names, and the one that defines it."""
    for name in _own_targets(root):
        yield name.rpartition(".")[0]
        yield str(getattr(locate(name, "source"), "__module__", ""))


def _modules(targets: Iterable[str]) -> Iterator[SourceFile]:
    """Yield the source of modules, and of those of the user's own that they import.

    Nothing is executed, so that imports within functions, or for type checkers only, count as well.
    The `targets` are kept even if they are installed.
    """
    wanted, seen = [(name, True) for name in targets], set[str]()
    while wanted:
        name, is_target = wanted.pop(0)
        if name in seen or name.partition(".")[0] in _KNOWN | sys.stdlib_module_names:
            continue
        seen.add(name)
        spec = _find(name)
        path = Path(getattr(spec, "origin", None) or "")
        is_installed = not _INSTALLED.isdisjoint(path.parts)
        if spec is None or (is_installed and not is_target):
            continue
        wanted.append((name.rpartition(".")[0], False))
        try:
            text = _decode(path.read_bytes()) if path.suffix == ".py" else ""
            tree = ast.parse(text)
        except (OSError, SyntaxError, ValueError):
            # It cannot be imported either.
            continue
        is_package = spec.submodule_search_locations is not None
        if path.suffix == ".py":
            init = "/__init__" if is_package else ""
            yield SourceFile(f"{name.replace('.', '/')}{init}.py", text)
        if not is_installed:
            package = name if is_package else name.rpartition(".")[0]
            wanted += [(each, False) for each in _imports(tree, package)]


def _find(name: str) -> ModuleSpec | None:
    """Find a module as an import does, but without importing the packages around it."""
    parent, path = name.rpartition(".")[0], None
    if parent:
        around = _find(parent)
        if around is None or around.submodule_search_locations is None:
            return None
        path = list(around.submodule_search_locations)
    module = sys.modules.get(name)
    loaded = getattr(module, "__spec__", None)
    if loaded is None and (file := getattr(module, "__file__", None)):
        # A script, which runs as `__main__`.
        loaded = spec_from_file_location(name, file)
    if loaded is not None or name in ("", "__main__"):
        return loaded
    specs = (finder.find_spec(name, path) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


def _decode(content: bytes) -> str:
    """Return a module's text, from the encoding that it declares."""
    encoding, _ = tokenize.detect_encoding(BytesIO(content).readline)
    return content.decode(encoding)


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the names of all that a module of a package imports, of which some are no modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            yield from (base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names))
