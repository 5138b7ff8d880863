"""A Process Run Crate 0.5, https://w3id.org/ro/wfrun/process/0.5: archive and provenance.

The crate holds the archive as it is, its config and sources as text, and the log, report and
analyses that lie beside it. What is said of them is RO-Crate 1.1.
"""

from __future__ import annotations

import hashlib
import io
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from qexp.archive.read import Archive
from qexp.config.recorded_config import parse
from qexp.config.schema import CreatorNode, FundingNode, MetadataNode
from qexp.core.dotted import leaves
from qexp.core.jsonable import dumps
from qexp.errors import ConfigError
from qexp.export.beside import files_beside
from qexp.export.formats import Format
from qexp.export.metadata import combined
from qexp.export.software import Software, software_of

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

_PROFILE: Final = "https://w3id.org/ro/wfrun/process/0.5"
_SPDX: Final = re.compile(r"[A-Za-z0-9.+-]+")
_PLAIN_PART: Final = re.compile(r"[\w-][\w.-]*", re.ASCII)
#: Of the config: what decides nothing that a reader would call a parameter of the run.
_NO_PARAMETERS: Final = {"limits", "metadata", "execution", "run_dir", "stop_after", "name"}
_TYPES: Final = {
    ".h5": "application/x-hdf5",
    ".yaml": "application/yaml",
    ".log": "text/plain",
    ".md": "text/markdown",
}
_BLOCK_BYTES: Final = 2**20
_IRI: Final = ":/?#[]@!$&'()*+,;=%"

Entity = dict[str, Any]


def _write(run: Archive, target: Path, metadata: Mapping[str, Any]) -> Sequence[str]:
    from rocrate.rocrate import ROCrate

    known = combined(run.metadata, metadata)
    if not known.license:
        msg = (
            "an RO-Crate needs a licence and the archive has none: add --set license=CC-BY-4.0 "
            "(any SPDX identifier or web address), or set metadata.license before the next run"
        )
        raise ConfigError(msg)
    crate = ROCrate(version="1.1", gen_preview=False)
    # Not a term of RO-Crate 1.1, but of schema.org.
    crate.metadata.extra_terms["sha256"] = "http://schema.org/sha256"
    inputs = list(_add_sources(crate, run))
    result = _add_file(crate, run.path, "run.h5", "Archive of the run: HDF5, also netCDF-4")
    beside, left_out = files_beside(run)
    for path, title in beside.items():
        _add_file(crate, path, path.relative_to(run.path.parent).as_posix(), title)
    people = [_add_creator(crate, number, one) for number, one in enumerate(known.creators)]
    _describe_root(crate, run, known, people)
    crate.root_dataset["mentions"] = _add_action(crate, run, people, inputs, result)
    if target.name.lower().endswith(".zip.tmp"):
        with target.open("wb") as stream:
            stream.writelines(crate.stream_zip())
    else:
        crate.write(target)
    note = [f"left out of the crate: {', '.join(left_out)}"] if left_out else []
    return [*note, *_missing(known)]


def _missing(known: MetadataNode) -> list[str]:
    """What RO-Crate recommends and is not known, in one line."""
    of_creators = {
        field
        for one in known.creators
        for field in ("orcid", "affiliation", "affiliation_url")
        if not getattr(one, field)
    }
    lacking = [
        *([] if known.creators else ["creators"]),
        *(f"creators[].{field}" for field in sorted(of_creators)),
        *([] if known.publisher else ["publisher"]),
        *(["publisher.url"] if known.publisher and not known.publisher.url else []),
        *(["funding[].funder_url"] if any(not one.funder_url for one in known.funding) else []),
    ]
    if not lacking:
        return []
    return [
        f"RO-Crate recommends what is not known here: {', '.join(lacking)}; add it with --set or "
        "--metadata, or to the config's metadata before the next run"
    ]


def _add_sources(crate: ROCrate, run: Archive) -> Iterator[Any]:
    """The config as resolved, and the files that declare the experiment."""
    yield _add_text(crate, "config.yaml", run.config_yaml, "Config of the run, resolved")
    taken = set()
    for number, source in enumerate(run.sources):
        parts = source.name.split("/")
        plain = all(_PLAIN_PART.fullmatch(part) for part in parts) and source.name not in taken
        taken.add(source.name)
        name = source.name if plain else f"source_{number}.txt"
        yield _add_text(crate, f"sources/{name}", source.text, f"Source {source.name}")


def _add_text(crate: ROCrate, name: str, text: str, title: str) -> Any:
    raw = text.encode("utf-8", "backslashreplace")
    about = _file_entity(name, title, len(raw), hashlib.sha256(raw).hexdigest())
    return crate.add_file(io.BytesIO(raw), name, properties=about)


def _add_file(crate: ROCrate, path: Path, name: str, title: str) -> Any:
    sha, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            sha.update(block)
            size += len(block)
    return crate.add_file(path, name, properties=_file_entity(name, title, size, sha.hexdigest()))


def _file_entity(name: str, title: str, size_bytes: int, sha256: str) -> Entity:
    suffix = Path(name).suffix
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {
        "name": title,
        "encodingFormat": kind,
        "contentSize": str(size_bytes),
        "sha256": sha256,
    }


def _describe_root(crate: ROCrate, run: Archive, known: MetadataNode, people: list[Any]) -> None:
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    root = crate.root_dataset
    root["conformsTo"] = _add(crate, _PROFILE, profile)
    root["name"] = known.title or f"Run {run.run_id} of {run.experiment}"
    root["description"] = known.description or _sentence(run)
    root["datePublished"] = datetime.now(UTC).isoformat(timespec="seconds")
    root["dateCreated"] = _time(run.created)
    root["identifier"] = run.run_id
    root["license"] = _add_license(crate, known.license or "")
    earlier = run.metadata.get("reproduces")
    if earlier:
        root["isBasedOn"] = _add_earlier(crate, earlier)
    if known.keywords:
        root["keywords"] = ", ".join(known.keywords)
    if people:
        root["author"] = _compact(people)
    if known.publisher:
        root["publisher"] = _organisation(crate, known.publisher.name, known.publisher.url)
    if known.funding:
        grants = [_add_grant(crate, number, one) for number, one in enumerate(known.funding)]
        root["funding"] = _compact(grants)
        root["funder"] = _compact([grant["funder"] for grant in grants])


def _add_earlier(crate: ROCrate, earlier: Mapping[str, Any]) -> Any:
    """The run that this one repeats."""
    run_id, circuits = earlier.get("run_id"), earlier.get("circuits")
    about = {
        "@type": "CreativeWork",
        "name": f"Run {run_id}, which this one repeats",
        "identifier": run_id,
        "description": f"Repeated with its circuits {circuits}; its results have the digest "
        f"(data_sha256) {earlier.get('data_sha256')}.",
    }
    return _add(crate, f"#reproduced-{run_id}", about)


def _add_action(
    crate: ROCrate, run: Archive, people: list[Any], inputs: list[Any], result: Any
) -> Any:
    """The run itself."""
    qexp, required = software_of(run.environment)
    instrument = _add_software(crate, qexp)
    instrument["softwareRequirements"] = _compact([_add_software(crate, one) for one in required])
    finished = max((job.finished for job in run.jobs if job.finished), default=run.created)
    action = {
        "@type": "CreateAction",
        "name": f"Run {run.run_id} of {run.experiment}",
        "description": _sentence(run),
        "startTime": _time(run.created),
        "endTime": _time(finished),
        "actionStatus": f"http://schema.org/{_STATUS.get(run.status, 'Failed')}ActionStatus",
    }
    if run.status not in _STATUS:
        action["error"] = _sentence(run)
    added = _add(crate, f"#run-{run.run_id}", action)
    added["instrument"] = instrument
    added["object"] = _compact([*inputs, *_add_parameters(crate, run)])
    added["result"] = result
    if people:
        added["agent"] = _compact(people)
    return added


_STATUS: Final = {"complete": "Completed"}


def _sentence(run: Archive) -> str:
    results = run.results.values()
    pubs, done = sum(map(len, results)), sum(len(each.available) for each in results)
    return (
        f"{done} of {pubs} PUBs of the experiment {run.experiment} were run in {len(run.jobs)} "
        f"jobs on {run.backend['name']} (engine {run.engine}); the run is {run.status}."
    )


def _add_parameters(crate: ROCrate, run: Archive) -> Iterator[Any]:
    """The config as values, and what was found out when the run began."""
    values = {
        ".".join(path): value
        for path, value in leaves(parse(run.config_yaml))
        if path[0] not in _NO_PARAMETERS
    }
    values["backend"] = run.backend["name"]
    values["batches"] = [batch.id for batch in run.batches]
    for name, value in values.items():
        plain = value if isinstance(value, str | int | float) else dumps(value)
        about = {"@type": "PropertyValue", "name": name, "value": plain}
        yield _add(crate, f"#parameter-{name}", about)


def _add_software(crate: ROCrate, software: Software) -> Any:
    about = {
        "@type": "SoftwareApplication",
        "name": software.name,
        "softwareVersion": software.version,
        "url": software.url,
    }
    return _add(crate, software.id, about)


def _add_creator(crate: ROCrate, number: int, creator: CreatorNode) -> Any:
    orcid = f"https://orcid.org/{creator.orcid}" if creator.orcid else f"#creator-{number}"
    person = _add(crate, orcid, {"@type": "Person", "name": creator.name})
    if creator.affiliation:
        place = _organisation(crate, creator.affiliation, creator.affiliation_url)
        person["affiliation"] = place
    return person


def _add_grant(crate: ROCrate, number: int, funding: FundingNode) -> Any:
    name = funding.name or funding.grant or f"Funding by {funding.funder}"
    about: Entity = {"@type": "Grant", "name": name}
    if funding.grant:
        about["identifier"] = funding.grant
    if funding.url:
        about["url"] = funding.url
    grant = _add(crate, funding.url or f"#grant-{number}", about)
    grant["funder"] = _organisation(crate, funding.funder, funding.funder_url)
    return grant


def _organisation(crate: ROCrate, name: str, url: str | None) -> Any:
    about = {"@type": "Organization", "name": name, **({"url": url} if url else {})}
    return _add(crate, url or f"#organisation-{name}", about)


def _add_license(crate: ROCrate, text: str) -> Any:
    about = {"@type": "CreativeWork", "name": text}
    if "://" in text:
        return _add(crate, text, about | {"url": text})
    if _SPDX.fullmatch(text) and not text.startswith("LicenseRef-"):
        url = f"https://spdx.org/licenses/{text}"
        return _add(crate, url, about | {"identifier": text, "url": url})
    return _add(crate, "#license", about)


def _compact(entities: list[Any]) -> Any:
    """Each entity once; a single one by itself, as RO-Crate 1.1 recommends."""
    found = list({entity.id: entity for entity in entities}.values())
    return found if len(found) > 1 else found[0]


def _add(crate: ROCrate, identifier: str, about: Entity) -> Any:
    """Add an entity, or find the one that has this identifier."""
    from rocrate.model.contextentity import ContextEntity

    # Names of organisations and keys of the config are no IRIs as they are.
    iri = quote(identifier, safe=_IRI)
    return crate.dereference(iri) or crate.add(ContextEntity(crate, iri, properties=about))


def _time(text: str) -> str:
    """ISO 8601 with milliseconds and an offset, as the profile asks for, where it is a time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="milliseconds")


FORMAT = Format(
    "-rocrate", _write, is_file=lambda path: path.suffix.lower() == ".zip", takes_metadata=True
)
