"""Differences between two mappings: configs, and descriptions of installed software."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from qexp.compare.model import Change
from qexp.core.dotted import flatten


def mapping_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the keys that only one mapping has, or with another value; A's order first."""
    changes = []
    for key in dict.fromkeys((*a, *b)):
        if key not in b:
            changes.append(Change(key, "removed", a[key], None))
        elif key not in a:
            changes.append(Change(key, "added", None, b[key]))
        # True == 1, but they are different values of a config.
        elif a[key] != b[key] or isinstance(a[key], bool) != isinstance(b[key], bool):
            changes.append(Change(key, "changed", a[key], b[key]))
    return tuple(changes)


def config_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the keys that differ between two resolved configs, by dotted path."""
    return mapping_changes(flatten(a), flatten(b))


def software_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the differences in Python, platform, repository and packages.

    Uncommitted changes are described by their number of lines, packages by normalised names.

    Args:
        a: As `Archive.environment` or `qexp.provenance.describe_environment` returns it.
        b: As `a`.
    """
    names = ("python", "platform", "git_commit", "git_diff")
    facts = mapping_changes(*({name: each.get(name) or "" for name in names} for each in (a, b)))
    packages = (package_versions(each.get("distributions") or ()) for each in (a, b))
    return (
        *(
            Change(c.key, c.kind, _num_lines(c.a), _num_lines(c.b)) if c.key == "git_diff" else c
            for c in facts
        ),
        *mapping_changes(*packages),
    )


def package_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the version of each package by its normalised name, in order of the names.

    Names are normalised as https://packaging.python.org/en/latest/specifications/name-normalization
    says.

    Args:
        distributions: Texts `name==version`.
    """
    pairs = (item.partition("==") for item in distributions)
    return dict(
        sorted((re.sub(r"[-_.]+", "-", name).lower(), version) for name, _, version in pairs)
    )


def _num_lines(diff: str) -> str:
    return f"{diff.count(chr(10))} lines" if diff else "none"
