"""The validator of RO-Crates, offline: its cache holds the one document that it would fetch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONTEXT = "https://w3id.org/ro/crate/1.1/context"

#: Of RO-Crate 1.1, what the crates use: the validator reports every other term.
TERMS = [
    "CreateAction",
    "CreativeWork",
    "Dataset",
    "File",
    "Grant",
    "Organization",
    "Person",
    "PropertyValue",
    "SoftwareApplication",
    "about",
    "actionStatus",
    "affiliation",
    "agent",
    "author",
    "conformsTo",
    "contentSize",
    "dateCreated",
    "datePublished",
    "description",
    "encodingFormat",
    "endTime",
    "error",
    "funder",
    "funding",
    "hasPart",
    "identifier",
    "instrument",
    "isBasedOn",
    "keywords",
    "license",
    "mentions",
    "name",
    "object",
    "publisher",
    "result",
    "softwareRequirements",
    "softwareVersion",
    "startTime",
    "url",
    "value",
    "version",
]


def warm_cache(path: Path) -> None:
    """Put the context into the validator's HTTP cache; the package `rocrate` has its terms."""
    from requests.adapters import BaseAdapter, HTTPAdapter
    from requests_cache import CachedSession
    from rocrate.vocabs import RO_CRATE
    from urllib3 import HTTPResponse

    terms = {term: RO_CRATE["@context"][term] for term in TERMS}
    body = json.dumps({"@context": terms}).encode()

    class Packaged(BaseAdapter):
        def send(self, request: Any, **_options: Any) -> Any:
            headers = {"Content-Type": "application/ld+json"}
            raw = HTTPResponse(io.BytesIO(body), headers, 200, preload_content=False)
            return HTTPAdapter().build_response(request, raw)

        def close(self) -> None:
            pass

    with CachedSession(str(path), backend="sqlite", expire_after=-1) as session:
        session.mount("https://", Packaged())
        session.get(CONTEXT).raise_for_status()


def validate(crate: Path, cache: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the validator's command line: all REQUIRED and RECOMMENDED checks, nothing skipped."""
    warm_cache(cache)
    program = Path(sys.executable).with_name("rocrate-validator")
    command = [
        *(str(program), "--no-interactive", "--disable-color", "validate", "--offline"),
        *("--cache-path", str(cache), "--profile-identifier", "process-run-crate-0.5"),
        *("--requirement-severity", "recommended", "--no-paging", *options, str(crate)),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
