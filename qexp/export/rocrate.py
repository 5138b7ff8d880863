"""A Process Run Crate 0.5, https://w3id.org/ro/wfrun/process/0.5: archive and provenance.

The crate holds the archive as it is, its config and sources as text, and the log, report and
analyses that lie beside it. Their description follows RO-Crate 1.1.
"""

from __future__ import annotations

import hashlib
import io
import mimetypes
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import metadata as package_metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

from qexp.archive.analyses import FOLDER, analysis_files, read_analysis
from qexp.archive.archive_file import beside
from qexp.archive.read import Archive
from qexp.compare.changes import package_versions
from qexp.config import messages
from qexp.config.recorded_config import parse
from qexp.config.schema import CreatorNode, FundingNode, MetadataNode
from qexp.core.flatten import flatten
from qexp.core.jsonable import dumps
from qexp.errors import ArchiveError, ConfigError
from qexp.report import PAGE_NAME
from qexp.text import parse_time

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

#: Files beside an archive that belong to it, with their titles.
_TITLES: Final = {"run.log": "Log of the run", PAGE_NAME: "Report of the run"}
_PROFILE: Final = "https://w3id.org/ro/wfrun/process/0.5"
_SPDX: Final = re.compile(r"[A-Za-z0-9.+-]+")
_PLAIN_PART: Final = re.compile(r"[\w-][\w.-]*", re.ASCII)
#: Keys of the config that a reader would not take for parameters of the run.
_NO_PARAMETERS: Final = {"limits", "metadata", "execution", "run_dir", "stop_after", "name"}
_TYPES: Final = {
    ".h5": "application/x-hdf5",
    ".yaml": "application/yaml",
    ".log": "text/plain",
    ".md": "text/markdown",
}
#: Home pages of the software that a run is made with.
_HOMES: Final = {
    "qiskit": "https://www.ibm.com/quantum/qiskit",
    "qiskit-aer": "https://qiskit.github.io/qiskit-aer",
    "qiskit-ibm-runtime": "https://quantum.cloud.ibm.com/docs/api/qiskit-ibm-runtime",
}
_PYTHON: Final = "https://www.python.org"
#: Leads nowhere (RFC 2606); used if the installed qexp declares no home page.
_NO_HOME: Final = "https://qexp.invalid"
#: Characters of an identifier that are not quoted.
_IRI: Final = ":/?#[]@!$&'()*+,;=%"

Entity: TypeAlias = Any
"""An entity of the package `rocrate`."""
_VERIFIER: Final = Path(__file__).parents[1] / "archive" / "verify_run.py"
"""A program of its own, which is not imported here."""


def write(run: Archive, target: Path, metadata: Mapping[str, Any]) -> list[str]:
    """Write the crate: a folder, or a zip file if the name of `target` ends with `.zip.tmp`.

    `metadata` are keys of the config's `metadata` that replace those of the archive. Return the
    files that are left out, and the metadata that RO-Crate recommends and that are missing.

    Raises:
        ConfigError: The metadata are wrong, or there is no licence.
    """
    from rocrate.rocrate import ROCrate

    about = combine_metadata(run.metadata, metadata)
    if not about.license:
        raise ConfigError(
            "an RO-Crate needs a licence and the archive has none: add --set license=CC-BY-4.0 "
            "(any SPDX identifier or web address), or set metadata.license before the next run"
        )
    crate = ROCrate(version="1.1", gen_preview=False)
    # A term of schema.org, but not of RO-Crate 1.1.
    crate.metadata.extra_terms["sha256"] = "http://schema.org/sha256"
    inputs = list(_add_sources(crate, run))
    result = _add_file(crate, run.path, "run.h5", "Archive of the run: HDF5, also netCDF-4")
    title = "Checks run.h5 with nothing but Python, h5py and NumPy"
    _add_file(crate, _VERIFIER, _VERIFIER.name, title)
    companions, left_out = _find_companions(run)
    for path, title in companions.items():
        _add_file(crate, path, path.relative_to(run.path.parent).as_posix(), title)
    people = [_add_creator(crate, number, one) for number, one in enumerate(about.creators)]
    _describe_root(crate, run, about, people)
    crate.root_dataset["mentions"] = _add_action(crate, run, people, inputs, result)
    if target.name.lower().endswith(".zip.tmp"):
        with target.open("wb") as stream:
            stream.writelines(crate.stream_zip())
    else:
        crate.write(target)
    note = [f"left out of the crate: {', '.join(left_out)}"] if left_out else []
    return [*note, *_missing(about)]


def combine_metadata(archived: Mapping[str, Any], at_export: Mapping[str, Any]) -> MetadataNode:
    """Return the metadata of an archive, with keys given at export in place of its own.

    Raises:
        ConfigError: A key or a value is not one that the config takes.
    """
    from pydantic import ValidationError

    # A repeated run adds `reproduces`, which is no key that a user can give.
    declared = {name: value for name, value in archived.items() if name != "reproduces"}
    try:
        return MetadataNode.model_validate({**declared, **at_export})
    except ValidationError as error:
        raise ConfigError(messages.validation_message(error, MetadataNode, "metadata")) from None


def _find_companions(run: Archive) -> tuple[dict[Path, str], list[str]]:
    """Find the files beside an archive to publish with it: log, report, analyses of its data.

    Links are left out, as they could bring in anything. Return path -> title of each file; and name
    and reason of each that is left out.
    """
    folder = run.path.parent
    analyses = beside(run.path, FOLDER)
    in_analyses = [analyses] if analyses.is_symlink() else sorted(analyses.glob("[!.]*"))
    titles = {beside(run.path, name): title for name, title in _TITLES.items()}
    found, left_out = {}, []
    for path in (*titles, *in_analyses):
        if not os.path.lexists(path):
            continue
        if reason := _reason_to_leave_out(path, run):
            left_out.append(f"{path.relative_to(folder).as_posix()} ({reason})")
        else:
            found[path] = titles.get(path, f"Analysis of the run: {path.name}")
    return found, left_out


def _reason_to_leave_out(path: Path, run: Archive) -> str:
    if path.is_symlink():
        return "a link"
    if path.parent == run.path.parent:
        return "" if path.is_file() else "no file"
    if path not in analysis_files(run.path).values():
        return "no analysis"
    try:
        attributes = read_analysis(path).attrs
    except ArchiveError:
        return "damaged"
    if attributes.get("run_id") != run.run_id:
        return "of another run"
    return "" if attributes.get("data_sha256") == run.data_sha256 else "of other data"


def _missing(about: MetadataNode) -> list[str]:
    """Return a line with the metadata that RO-Crate recommends and that are missing, if any are."""
    fields = ("affiliation", "affiliation_url", "orcid")
    is_missing = {
        "creators": not about.creators,
        **{
            f"creators[].{field}": any(not getattr(one, field) for one in about.creators)
            for field in fields
        },
        "publisher": not about.publisher,
        "publisher.url": about.publisher and not about.publisher.url,
        "funding[].funder_url": any(not one.funder_url for one in about.funding),
    }
    missing = [name for name, applies in is_missing.items() if applies]
    if not missing:
        return []
    return [
        f"RO-Crate recommends what is not known here: {', '.join(missing)}; add it with --set or "
        "--metadata, or to the config's metadata before the next run"
    ]


def _add_sources(crate: ROCrate, run: Archive) -> Iterator[Entity]:
    """Add the resolved config and the files that declare the experiment."""
    yield _add_file(crate, run.config_yaml, "config.yaml", "Config of the run, resolved")
    taken = set()
    for number, source in enumerate(run.sources):
        parts = source.name.split("/")
        plain = all(_PLAIN_PART.fullmatch(part) for part in parts) and source.name not in taken
        taken.add(source.name)
        name = source.name if plain else f"source_{number}.txt"
        yield _add_file(crate, source.text, f"sources/{name}", f"Source {source.name}")


def _add_file(crate: ROCrate, source: Path | str, name: str, title: str) -> Entity:
    """Add a file, given by its path or its text, under a name in the crate."""
    text = b"" if isinstance(source, Path) else source.encode("utf-8", "backslashreplace")
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(text) as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        size_bytes = stream.seek(0, io.SEEK_END)
    kind = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0]
    properties = {
        "name": title,
        "encodingFormat": kind or "application/octet-stream",
        "contentSize": str(size_bytes),
        "sha256": sha256,
    }
    content = source if isinstance(source, Path) else io.BytesIO(text)
    return crate.add_file(content, name, properties=properties)


def _describe_root(crate: ROCrate, run: Archive, about: MetadataNode, people: list[Entity]) -> None:
    grants = [_add_grant(crate, number, one) for number, one in enumerate(about.funding)]
    publisher = about.publisher
    _describe(
        crate.root_dataset,
        conformsTo=_add(crate, _PROFILE, "CreativeWork", "Process Run Crate", version="0.5"),
        name=about.title or f"Run {run.run_id} of {run.experiment}",
        description=about.description or _sentence(run),
        datePublished=datetime.now(UTC).isoformat(timespec="seconds"),
        dateCreated=_time(run.created),
        identifier=run.run_id,
        license=_add_license(crate, about.license or ""),
        isBasedOn=_add_earlier(crate, run.metadata.get("reproduces")),
        keywords=", ".join(about.keywords) or None,
        author=people,
        publisher=_add_organisation(crate, publisher.name, publisher.url) if publisher else None,
        funding=grants,
        funder=[grant["funder"] for grant in grants],
    )


def _add_earlier(crate: ROCrate, earlier: Mapping[str, Any] | None) -> Entity:
    """Add the run that this one repeats, if it repeats one."""
    if not earlier:
        return None
    run_id, circuits = earlier.get("run_id"), earlier.get("circuits")
    return _add(
        crate,
        f"#reproduced-{run_id}",
        "CreativeWork",
        f"Run {run_id}, which this one repeats",
        identifier=run_id,
        description=f"Repeated with its circuits {circuits}; its results have the digest "
        f"(data_sha256) {earlier.get('data_sha256')}.",
    )


def _add_action(
    crate: ROCrate, run: Archive, people: list[Entity], inputs: list[Entity], result: Entity
) -> Entity:
    """Add the run itself, with its software and parameters."""
    environment = run.environment
    versions = package_versions(environment["distributions"])
    required = [_add_software(crate, "python", environment["python"], _PYTHON)]
    required += [
        _add_software(crate, name, versions[name], url)
        for name, url in _HOMES.items()
        if name in versions
    ]
    instrument = _add_software(crate, "qexp", versions.get("qexp"), home_page())
    _describe(instrument, softwareRequirements=required)
    finished = max((job.finished for job in run.jobs if job.finished), default=run.created)
    is_complete = run.status == "complete"
    return _add(
        crate,
        f"#run-{run.run_id}",
        "CreateAction",
        f"Run {run.run_id} of {run.experiment}",
        description=_sentence(run),
        startTime=_time(run.created),
        endTime=_time(finished),
        actionStatus=f"http://schema.org/{'Completed' if is_complete else 'Failed'}ActionStatus",
        error=None if is_complete else _sentence(run),
        instrument=instrument,
        object=[*inputs, *_add_parameters(crate, run)],
        result=result,
        agent=people,
    )


def _sentence(run: Archive) -> str:
    results = run.results.values()
    pubs, done = sum(map(len, results)), sum(len(each.available) for each in results)
    return (
        f"{done} of {pubs} PUBs of the experiment {run.experiment} were run in {len(run.jobs)} "
        f"jobs on {run.backend['name']} (engine {run.engine}); the run is {run.status}."
    )


def _add_parameters(crate: ROCrate, run: Archive) -> Iterator[Entity]:
    """Add the values of the config, the backend and the batches."""
    config = parse(run.config_yaml)
    values = flatten({key: value for key, value in config.items() if key not in _NO_PARAMETERS})
    values["backend"] = run.backend["name"]
    values["batches"] = [batch.id for batch in run.batches]
    for name, value in values.items():
        plain = value if isinstance(value, str | int | float) else dumps(value)
        yield _add(crate, f"#parameter-{name}", "PropertyValue", name, value=plain)


def _add_software(crate: ROCrate, name: str, version: str | None, url: str) -> Entity:
    about = {"softwareVersion": version or "unknown", "url": url}
    key = f"{url}#{name}-{about['softwareVersion']}"
    return _add(crate, key, "SoftwareApplication", name, **about)


def home_page() -> str:
    """Return the home page of qexp that its package declares."""
    try:
        declared = package_metadata("qexp").get_all("Project-URL") or []
    except PackageNotFoundError:
        return _NO_HOME
    urls = [str(item).partition(",")[2].strip() for item in declared]
    return next((url for url in urls if url.startswith("http")), _NO_HOME)


def _add_creator(crate: ROCrate, number: int, creator: CreatorNode) -> Entity:
    identifier = f"https://orcid.org/{creator.orcid}" if creator.orcid else f"#creator-{number}"
    place, url = creator.affiliation, creator.affiliation_url
    affiliation = _add_organisation(crate, place, url) if place else None
    return _add(crate, identifier, "Person", creator.name, affiliation=affiliation)


def _add_grant(crate: ROCrate, number: int, funding: FundingNode) -> Entity:
    return _add(
        crate,
        funding.url or f"#grant-{number}",
        "Grant",
        funding.name or funding.grant or f"Funding by {funding.funder}",
        identifier=funding.grant,
        url=funding.url,
        funder=_add_organisation(crate, funding.funder, funding.funder_url),
    )


def _add_organisation(crate: ROCrate, name: str, url: str | None) -> Entity:
    return _add(crate, url or f"#organisation-{name}", "Organization", name, url=url)


def _add_license(crate: ROCrate, text: str) -> Entity:
    if "://" in text:
        return _add(crate, text, "CreativeWork", text, url=text)
    if _SPDX.fullmatch(text) and not text.startswith("LicenseRef-"):
        url = f"https://spdx.org/licenses/{text}"
        return _add(crate, url, "CreativeWork", text, identifier=text, url=url)
    return _add(crate, "#license", "CreativeWork", text)


def _add(crate: ROCrate, key: str, kind: str, name: str, /, **properties: Any) -> Entity:
    """Add an entity, or return the one that has this identifier.

    `key` is its `@id`, of which characters that an IRI cannot have are quoted, and `kind` its
    `@type`; `properties` are as in `_describe`.
    """
    from rocrate.model.contextentity import ContextEntity

    # Names of organisations and keys of the config may hold any characters.
    iri = quote(key, safe=_IRI)
    entity = crate.dereference(iri)
    if entity is None:
        entity = crate.add(ContextEntity(crate, iri, properties={"@type": kind, "name": name}))
        _describe(entity, **properties)
    return entity


def _describe(entity: Entity, **properties: Any) -> None:
    """Set properties that are neither None nor an empty list.

    A list has each entity once; one entity stands alone, as RO-Crate 1.1 recommends.
    """
    for name, value in properties.items():
        if isinstance(value, list):
            unique = list({each.id: each for each in value}.values())
            value = unique if len(unique) > 1 else next(iter(unique), None)  # noqa: PLW2901
        if value is not None:
            entity[name] = value


def _time(text: str) -> str:
    """Return a time with milliseconds and an offset, as the profile asks; other text as it is."""
    moment = parse_time(text)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds") if moment else text
