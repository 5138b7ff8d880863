"""Software that a run was made with, and where it is described."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any, Final, NamedTuple

from qexp.compare.changes import package_versions

_HOMES: Final = {
    "qiskit": "https://www.ibm.com/quantum/qiskit",
    "qiskit-aer": "https://qiskit.github.io/qiskit-aer",
    "qiskit-ibm-runtime": "https://quantum.cloud.ibm.com/docs/api/qiskit-ibm-runtime",
}
_PYTHON: Final = "https://www.python.org"
#: Leads nowhere (RFC 2606): used as long as the installed qexp does not declare a home page.
_NO_HOME: Final = "https://qexp.invalid"


class Software(NamedTuple):
    """A program or library: its name, its version (or `"unknown"`), its home page."""

    name: str
    version: str
    url: str


def software_of(environment: Mapping[str, Any]) -> tuple[Software, list[Software]]:
    """Return qexp, and what it ran on: Python, and those of Qiskit's packages that are recorded.

    Args:
        environment: As `Archive.environment`.
    """
    versions = package_versions(environment.get("distributions") or ())
    qexp = Software("qexp", versions.get("qexp", "unknown"), home_page())
    python = Software("python", environment.get("python") or "unknown", _PYTHON)
    return qexp, [
        python,
        *(Software(name, versions[name], url) for name, url in _HOMES.items() if name in versions),
    ]


def home_page() -> str:
    """Return the home page of qexp that its package declares."""
    try:
        declared = metadata("qexp").get_all("Project-URL") or []
    except PackageNotFoundError:
        return _NO_HOME
    urls = [str(item).partition(",")[2].strip() for item in declared]
    return next((url for url in urls if url.startswith("http")), _NO_HOME)
