"""The files that declare an experiment, kept verbatim so that an archive explains itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexp.config import targets
from qexp.core.model import SourceFile

if TYPE_CHECKING:
    from qexp.config.schema import RootNode


def source_files(root: RootNode) -> tuple[SourceFile, ...]:
    """The composed config files, and the Python modules of targets outside qexp."""
    found = {source.name: source for source in (*_config_files(root), *_modules(root))}
    return tuple(found[name] for name in sorted(found))


def _config_files(root: RootNode) -> Iterator[SourceFile]:
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return
    runtime = HydraConfig.get().runtime
    folders = [Path(source.path) for source in runtime.config_sources if source.schema == "file"]
    names = [HydraConfig.get().job.config_name]
    for place, choice in runtime.choices.items():
        group = place.partition("@")[0]
        if choice is not None and not group.startswith("hydra"):
            names.append(f"{group}/{choice}")
    # Hydra does not say which of several were chosen; a file declares what it is named after.
    names += [f"analysis/{name}" for name in root.analysis]
    for name in names:
        # The first folder on the search path wins, as it does for Hydra.
        path = next((p for f in folders if (p := f / f"{name}.yaml").is_file()), None)
        if path is not None:
            yield SourceFile(f"conf/{name}.yaml", path.read_text(encoding="utf-8"))


def _modules(root: RootNode) -> Iterator[SourceFile]:
    for node in _targets(root.model_dump()):
        name = str(node["_target_"])
        if name.partition(".")[0] in {"qexp", "qiskit", "qiskit_aer", "qiskit_ibm_runtime"}:
            continue
        module = inspect.getmodule(targets.locate(name, "source"))
        file = getattr(module, "__file__", None)
        if module is not None and file and file.endswith(".py"):
            yield SourceFile(
                module.__name__.replace(".", "/") + ".py", Path(file).read_text(encoding="utf-8")
            )


def _targets(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "_target_" in value:
            yield value
        for item in value.values():
            yield from _targets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _targets(item)
