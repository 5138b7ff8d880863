"""Config files as text, without what YAML 1.1 would read as another number than a person does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qexp.errors import ConfigError

_MISREAD = re.compile(r"[-+]?(?:[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|0[0-7_]+)")
"""Numbers to the base 60 (`1:30` is 90) and 8 (`010` is 8)."""
_CANDIDATE = re.compile(rf"(?<![\w.+-])(?:{_MISREAD.pattern})(?![\w.-])")
"""Candidates in a text, so that few files are parsed for such numbers."""


def read_config_text(path: Path) -> str:
    """Return the text of a config file, without a byte order mark.

    Raises:
        ConfigError: It is not UTF-8, or has a number that YAML 1.1 reads in another base.
        OSError: It cannot be read.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None
    if _CANDIDATE.search(text):
        _refuse_misread(text, path)
    return text


def _refuse_misread(text: str, path: Path) -> None:
    import yaml  # type: ignore[import-untyped]

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        # Whoever reads the text reports it.
        return
    for node in _plain_scalars(root):
        if _MISREAD.fullmatch(node.value):
            number = yaml.safe_load(node.value)
            raise ConfigError(
                f"{path}:{node.start_mark.line + 1}: {node.value} would be read as {number} "
                f"(YAML 1.1); quote it ('{node.value}') if it is text, or write {number}"
            )


def _plain_scalars(root: Any) -> Iterator[Any]:
    """Yield the scalars without quotes below a node of YAML, each once."""
    from yaml import ScalarNode

    nodes, seen = [root], set[int]()
    while nodes:
        node = nodes.pop()
        if isinstance(node, ScalarNode):
            if node.style is None:
                yield node
        elif node is not None and id(node) not in seen:
            seen.add(id(node))
            for item in node.value:
                nodes += item if isinstance(item, tuple) else [item]
