"""The format of `run.h5`: every group, column and attribute, declared once.

The writer, the reader, the check for completeness and `docs/archive-format.md` follow it. To extend
the format, declare a table or a column with `since`, raise the minor version of `SCHEMA`, and set
the value of the column where the rows of its table are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from qexp.archive.tables import NAN, Table, TableData, char, float64, int32, int64, text, uint8

SCHEMA: Final = "1.3"
"""Version that is written. Minor versions only add; other major versions are not read."""
ARCHIVE_NAME: Final = "run.h5"
JOURNAL_NAME: Final = "journal.jsonl"
PARTS_NAME: Final = "parts"
REPORT_NAME: Final = "report.html"
SUMMARY: Final = "summary_json"
FILE_SHA256: Final = "file_sha256"
"""Dataset that states the digest of the file."""

ROOT: Final = Table(
    "",
    "",
    char(FILE_SHA256, "digest of the file itself, see below", dim="hex_digit", since=1),
    attributes=(
        text("qexp_schema", "version of the schema"),
        text("run_id experiment engine", "identity of the run; engine that ran it"),
        text(
            "status", "`planned` (no jobs yet), `complete`, `partial` (results missing), `failed`"
        ),
        text("title description license keywords creators_json", "as declared, see below"),
        text("publisher_json funding_json", "as declared, see below", since=2),
        text("date_created date_finished", "start of the run; end of the last job, or empty"),
        text("data_sha256", "digest of all result data, see below"),
        text(SUMMARY, "what a listing shows of the run, made of the rest, see below", since=3),
    ),
    is_required=True,
)

CONFIG: Final = Table(
    "config",
    "",
    text("resolved_yaml", "resolved config"),
    text("seeds_json", "seeds derived from the seed"),
    text("limits_json", "limits in force, with source and date"),
    text("not_honoured_json", "options without effect on the engine, per workload"),
    text("metadata_json", "title, creators, ...; `reproduces` in a run that repeats another"),
    text("overrides", "overrides of the command line", dim="override", is_optional=True),
    text("source_name", "files that declare the experiment", dim="source", is_optional=True),
    text("source_text", "their text, without byte order marks", dim="source", is_optional=True),
    attributes=(int64("seed", "the seed, below 2^63"),),
    is_required=True,
)

ENVIRONMENT: Final = Table(
    "environment",
    "",
    text("distributions", "packages, `name==version`", dim="distribution", is_optional=True),
    text("git_diff", "uncommitted changes; of more than 1 MB: their size, SHA-256 and beginning"),
    text("other_json", "anything else that was recorded"),
    attributes=(
        text("python platform git_commit", "versions; commit of the checkout"),
        int64("git_dirty", "1 if there were uncommitted changes, else 0"),
    ),
    is_required=True,
)

BATCH: Final = Table(
    "batch",
    "",
    text("opened_json final_json", "details of the first batch after opening and at the end"),
    is_required=True,
)

BATCHES: Final = Table(
    "batches",
    "batch",
    text("batch_id", "id of the batch", since=1),
    text("follows", "id of the batch that it continues, or empty", absent="", since=1),
    text("opened_json final_json", "`batch.details()` after opening and at the end", since=1),
)

JOURNAL: Final = Table(
    "journal",
    "",
    char(
        "text", "`journal.jsonl` at the time of sealing: an event per line, JSON", dim="text_byte"
    ),
)

BACKEND: Final = Table(
    "backend",
    "",
    attributes=(
        text("name", "name of the backend"),
        int64("num_qubits", "number of its qubits"),
        int64("snapshot", "calibration at the start of the run, `-1` for none"),
    ),
    is_required=True,
)

SNAPSHOTS: Final = "backend/snapshots"

SNAPSHOT: Final = Table(
    f"{SNAPSHOTS}/*",
    "",
    char("properties_json", "`BackendProperties.to_dict()`", dim="properties_byte"),
    float64("t1_s t2_s", "relaxation times, if known", "s", dim="qubit", is_optional=True),
    float64("readout_error", "if known", "1", dim="qubit", is_optional=True),
    attributes=(
        text("sha256", "SHA-256 of the JSON with sorted keys"),
        text("last_update", "date of the calibration"),
    ),
)

PARTITIONS: Final = Table(
    "partitions",
    "partition",
    int32("partition", "index of the partition"),
    text("workload", "name of the workload"),
    int64("first stop", "its PUBs, `first <= pub < stop`"),
    int64("shots", "the one value of the job, `-1` for none", absent=-1),
    float64("precision", "the one value of the job, `NaN` for none", "1", absent=NAN),
    int64("predicted_executions", "circuit executions"),
    int64("payload_bytes", "size of the encoded PUBs, measured or estimated", "byte"),
    float64("predicted_qpu_s", "QPU time, with the overhead of a job", "s"),
    text(
        "closed_by", "reason for ending the partition: name of a limit, `shots`, `precision`, `end`"
    ),
    is_required=True,
)

JOBS: Final = Table(
    "jobs",
    "job",
    int32("partition", "index of the partition that it ran"),
    int32("attempt", "number of the attempt to run this partition, from 1", since=1),
    int64("first stop", "PUBs of the job: those of its partition, or of a piece of it"),
    int64("num_results", "number of PUBs for which it has a result"),
    int64("error_code", "reason code of the service, 0 for none", absent=0),
    float64(
        "usage_s",
        "QPU time charged, `NaN` if not reported; its share of the job's",
        "s",
        absent=NAN,
    ),
    float64("predicted_qpu_s", "as in `/partitions`; of a piece, its share", "s"),
    int64("predicted_executions", "as in `/partitions`; of a piece, its share"),
    int64("payload_bytes", "as in `/partitions`; of a piece, its share", "byte"),
    text("job_id", "id of the service or the local engine; empty if the job was refused"),
    text("workload", "name of the workload"),
    text("state", "`DONE`, `ERROR`, `CANCELLED`; `QUEUED`: not collected, and may have run"),
    text("error", "reason of the failure, or empty", absent=""),
    text("failure", "kind of the failure, or empty", absent="", since=1),
    text("closed_by", "as in `/partitions`"),
    text("created running finished", "times of these states, empty if not reported"),
    text("options_json", "options of the primitive as finalised"),
    text("metrics_json", "`job.metrics()`"),
    text("info_json", "anything else that the engine kept: tags, primitive id, logs"),
    text("result_metadata_json", "metadata of the `PrimitiveResult`"),
    int32("snapshot", "calibration as the job ran, `-1` for none", absent=-1),
    int32("batch", "row in `/batches`, `-1` if not known", absent=-1, since=1),
)

SPANS: Final = Table(
    "spans",
    "span",
    int32("job", "row in `/jobs`", base="jobs#job"),
    int64("pub", "index of the PUB within the job: add the job's `first`"),
    text("start stop", "start and end of the execution of (part of) the PUB"),
    int64("size", "number of executions"),
)

PUBS: Final = Table(
    "pubs/*",
    "pub",
    int64("pub", "index of the PUB"),
    int32("partition", "index of its partition"),
    text("kind", "`sampler` or `estimator`"),
    int64("shots", "shots of this PUB, `-1` for none", absent=-1),
    float64("precision", "precision of this PUB, `NaN` for none", "1", absent=NAN),
    text("shape_json", "shape of the PUB (broadcast)"),
    text("parameter_names_json", "names in the order of the values"),
    text("parameter_shape_json", "shape of the sweep"),
    text("parameter_group", "group in `/parameters/W`, empty without parameters"),
    text("observables_json isa_observables_json", "as generated and as laid out, see below"),
    int32(
        "job", "row in `/jobs`: attempt with the result, else the last, or `-1`", base="jobs#job"
    ),
    text("result_group", "group in `/results/W`, empty without result", absent=""),
    int64("result_row", "row in that group, `-1` without result", absent=-1),
    text("result_sha256", "PUB digest, empty without result", absent=""),
    text("result_metadata_json", "metadata of the result, empty without result", absent=""),
)

PARAMETERS: Final = Table(
    "parameters/*/*",
    "pub",
    int64("pub", "index of the PUB, ascending"),
    float64("values", "values of the parameters", "radian", last_dim="parameter"),
)

_CIRCUIT: Final = (
    int64("pub", "index of the PUB"),
    text("name", "name of the circuit"),
    int32("num_qubits num_clbits", "number of its qubits, of its classical bits"),
    int64("depth size", "as `QuantumCircuit.depth()` and `.size()`"),
    text("sha256", "identity of the circuit: SHA-256 of its listing, see below"),
    char("qasm3", "OpenQASM 3 of all circuits", dim="qasm3_byte", is_optional=True),
    int64("qasm3_start", "first byte of the text of this circuit", "byte", base="#qasm3_byte"),
    int64("qasm3_size", "its size, 0 if OpenQASM 3 cannot express the circuit", "byte"),
    uint8("qpy", "QPY of all circuits", dim="qpy_byte"),
    int64("qpy_start", "first byte of the QPY of this circuit", "byte", base="#qpy_byte"),
    int64("qpy_size", "its size", "byte"),
)

LOGICAL_CIRCUITS: Final = Table("circuits/*/logical", "pub", *_CIRCUIT, is_required=True)

ISA_CIRCUITS: Final = Table(
    "circuits/*/isa",
    "pub",
    *_CIRCUIT,
    text("initial_layout_json", "physical qubit of each virtual one before the first instruction"),
    text("final_layout_json", "the same after the last instruction; both empty without layout"),
    is_required=True,
)

RESULTS: Final = Table(
    "results/*/*",
    "pub",
    int64("pub", "index of the PUB"),
    text("sha256", "PUB digest"),
    attributes=(
        text("signature_json", "class of the result, its shape and its fields, see below"),
    ),
)

RAW: Final = Table(
    "raw/*/*",
    "pub",
    int64("pub", "index of the PUB", since=3),
    text("sha256", "digest of its raw data", since=3),
    attributes=(text("signature_json", "as of `/results`", since=3),),
)
"""Bits, flips and signs behind the values of a client-side Estimator; see `qexp.core.raw`."""

READOUT: Final = Table(
    "readout/*/*",
    "pub",
    int64("pub", "index of the first PUB of the job that was calibrated", since=3),
    text("sha256", "digest of the raw data", since=3),
    attributes=(text("signature_json", "as of `/results`", since=3),),
)

FIELDS: Final = (RESULTS, RAW, READOUT)
"""Tables with a column for each field of a `DataBin`, and a row for each PUB."""

TABLES: Final = (
    *(ROOT, CONFIG, ENVIRONMENT, BATCH, BATCHES, JOURNAL, BACKEND, SNAPSHOT, PARTITIONS, JOBS),
    *(SPANS, PUBS, PARAMETERS, LOGICAL_CIRCUITS, ISA_CIRCUITS, *FIELDS),
)


def as_tables(rows: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, TableData]:
    """Convert rows of several tables, each by its path, to the stored form."""
    gathered: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        for path, cells in row.items():
            gathered.setdefault(path, []).append(cells)
    return {
        path: next(table for table in TABLES if table.matches(path)).encode_rows(cells, path)
        for path, cells in gathered.items()
    }
