"""The software that a run was made with, and where it is described."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any, Final

_HOMES: Final = {
    "qiskit": "https://www.ibm.com/quantum/qiskit",
    "qiskit-aer": "https://qiskit.github.io/qiskit-aer",
    "qiskit-ibm-runtime": "https://quantum.cloud.ibm.com/docs/api/qiskit-ibm-runtime",
}
_PYTHON: Final = "https://www.python.org"
#: Leads nowhere (RFC 2606): where the installed qexp does not say what its home page is.
_NO_HOME: Final = "https://qexp.invalid"


@dataclass(frozen=True)
class Software:
    """One program or library.

    Attributes:
        name: Its name.
        version: Its version, `"unknown"` where the archive does not say.
        url: Its home page.
    """

    name: str
    version: str
    url: str

    @property
    def id(self) -> str:
        """An identifier of this version, an absolute URI."""
        return f"{self.url}#{self.name}-{self.version}"


def software_of(environment: Mapping[str, Any]) -> tuple[Software, Sequence[Software]]:
    """Qexp itself, and what it ran on: Python, and those of Qiskit's packages that were there.

    Args:
        environment: As `Archive.environment`.
    """
    versions = dict(_name_and_version(environment.get("distributions") or ()))
    qexp = Software("qexp", versions.get("qexp", "unknown"), home_page())
    python = Software("python", environment.get("python") or "unknown", _PYTHON)
    libraries = [
        Software(name, versions[name], url) for name, url in _HOMES.items() if name in versions
    ]
    return qexp, [python, *libraries]


def home_page() -> str:
    """The home page of qexp, as its package declares it."""
    try:
        declared = metadata("qexp").get_all("Project-URL") or []
    except PackageNotFoundError:
        return _NO_HOME
    urls = [str(item).partition(",")[2].strip() for item in declared]
    return next((url for url in urls if url.startswith("http")), _NO_HOME)


def _name_and_version(distributions: Sequence[str]) -> Iterator[tuple[str, str]]:
    for item in distributions:
        name, _, version = item.partition("==")
        yield name.lower().replace("_", "-"), version
