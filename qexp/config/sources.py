"""The files that declare an experiment, kept verbatim so that an archive explains itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qexp.config.instantiate import locate
from qexp.core.flatten import leaves
from qexp.core.model import SourceFile

if TYPE_CHECKING:
    from qexp.config.schema import RootNode

_INSTALLED = frozenset({"qexp", "qiskit", "qiskit_aer", "qiskit_ibm_runtime"})


def source_files(root: RootNode) -> tuple[SourceFile, ...]:
    """Read the composed config files, and the Python modules of targets outside qexp."""
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
    # Hydra does not say which analyses of a list were chosen; a file declares the one of its name.
    names += [f"analysis/{name}" for name in root.analysis]
    for name in names:
        # The first folder on the search path wins, as it does for Hydra.
        path = next((p for f in folders if (p := f / f"{name}.yaml").is_file()), None)
        if path is not None:
            yield SourceFile(f"conf/{name}.yaml", path.read_text(encoding="utf-8"))


def _modules(root: RootNode) -> Iterator[SourceFile]:
    """Yield the modules that targets are in; of one without a file, such as a notebook, the target.

    Of a target that was typed where its source is not kept, there is nothing.
    """
    for path, name in leaves(root.model_dump()):
        if path[-1] != "_target_" or str(name).partition(".")[0] in _INSTALLED:
            continue
        target = locate(name, "source")
        module = inspect.getmodule(target)
        if module is None:
            continue
        file = str(getattr(module, "__file__", None))
        with suppress(OSError, TypeError):
            if file.endswith(".py"):
                place, text = module.__name__, Path(file).read_text("utf-8")
            else:
                place, text = str(name), inspect.getsource(target)
            yield SourceFile(place.replace(".", "/") + ".py", text)
