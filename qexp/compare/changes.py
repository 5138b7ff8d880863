"""What differs between two mappings: configs, and lists of installed packages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from qexp.compare.model import Change
from qexp.core.flatten import leaves


def of_mappings(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Every key of either that the other has not, or has with another value; A's order first."""
    changes = []
    for key in dict.fromkeys((*a, *b)):
        if key not in b:
            changes.append(Change(key, "removed", a[key], None))
        elif key not in a:
            changes.append(Change(key, "added", None, b[key]))
        elif not _equal(a[key], b[key]):
            changes.append(Change(key, "changed", a[key], b[key]))
    return tuple(changes)


def of_configs(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """The keys that differ between two resolved configs, by dotted path."""
    return of_mappings(_flat(a), _flat(b))


def of_environments(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """What differs in Python, platform, repository and packages; packages by normalised name.

    Args:
        a: As `Archive.environment` or `qexp.provenance.describe_environment` returns it.
        b: As `a`.
    """
    names = ("python", "platform", "git_commit", "git_diff")
    facts_a, facts_b = ({n: e.get(n) or "" for n in names} for e in (a, b))
    changes = of_mappings(facts_a, facts_b)
    # A diff can be longer than everything else.
    shown = [
        Change(c.key, "changed", _size(c.a), _size(c.b)) if c.key == "git_diff" else c
        for c in changes
    ]
    packages = (versions(e.get("distributions") or ()) for e in (a, b))
    return (*shown, *of_mappings(*packages))


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Version of each package, by the name that the packaging standard normalises names to.

    Args:
        distributions: `name==version` each.
    """
    pairs = (item.partition("==") for item in distributions)
    found = {re.sub(r"[-_.]+", "-", name).lower(): version for name, _, version in pairs}
    return dict(sorted(found.items()))


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    return {".".join(path): value for path, value in leaves(config) if path}


def _equal(a: Any, b: Any) -> bool:
    # True == 1, which are different values of a config.
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _size(diff: str) -> str:
    return f"{diff.count(chr(10))} lines" if diff else "none"
