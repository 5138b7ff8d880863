"""`python -m qexp export RUN --to FORMAT`: write an archive in a form that other tools read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qexp.cli.output import print_line
from qexp.cli.verbs import add_run
from qexp.errors import ConfigError
from qexp.export.formats import FORMATS, export
from qexp.text import one_line


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser, "a run's folder, its archive, or a sweep's folder (netcdf)")
    parser.add_argument("--to", required=True, metavar="FORMAT", help=f"{', '.join(FORMATS)}")
    parser.add_argument(
        "--output",
        metavar="PATH",
        type=Path,
        help="file or folder to write; default: beside the archive, named after it",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier export")
    parser.add_argument(
        "--metadata",
        metavar="FILE",
        type=Path,
        help="rocrate: a YAML file with keys of the config's metadata, in place of the archive's",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="rocrate: one such key, such as license=CC-BY-4.0; may be given several times",
    )
    lines = [f"  {name:<9}{form.content}" for name, form in FORMATS.items()]
    parser.epilog = "\n".join(["formats:", *lines])


def run(given: argparse.Namespace) -> int:
    """Export the run, and print what was written."""
    metadata = read_metadata(given.metadata, given.set)
    exported = export(given.run, given.to, given.output, metadata=metadata, force=given.force)
    for line in (exported.path, *exported.notes):
        print_line(line)
    return 0


def read_metadata(file: Path | None, settings: Sequence[str]) -> dict[str, Any]:
    """Read keys of the config's `metadata` from a YAML file; settings `key=value` replace them."""
    given: dict[str, Any] = {}
    if file is not None:
        where = f"--metadata {file}"
        try:
            loaded = _parse_yaml(file.read_text(encoding="utf-8"), where)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ConfigError(f"{where}: cannot be read: {reason}") from None
        if not isinstance(loaded, dict):
            raise ConfigError(f"{where}: it must be a mapping of keys, as in conf/")
        nested = loaded.get("metadata")
        given |= nested if isinstance(nested, dict) and len(loaded) == 1 else loaded
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: write KEY=VALUE, such as license=CC-BY-4.0")
        given[key.removeprefix("metadata.")] = _parse_yaml(value, f"--set {key}")
    return given


def _parse_yaml(text: str, where: str) -> Any:
    import yaml  # type: ignore[import-untyped]

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: it is not valid YAML: {one_line(error)[:200]}") from None
