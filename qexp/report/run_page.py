"""One run as a page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from qexp.report.analyses import AnalysisSection, analysis_sections
from qexp.report.device import DeviceSection, device_section
from qexp.report.execution import Execution, execution, is_simulated
from qexp.report.figures.circuit import draw_circuit
from qexp.report.parts import Alert, Fold, Table, Tile, table
from qexp.report.provenance import folds, identity
from qexp.report.results import Section, representatives, section
from qexp.report.samples import Measured, measure
from qexp.report.svg import Drawing
from qexp.report.text import date, moment, number, plural, seconds

if TYPE_CHECKING:
    from qexp.archive.jobs import JobRecord
    from qexp.archive.read import Archive
    from qexp.core.model import Partition

_MAX_REASONS = 12
_MAX_RANGES = 8
_MAX_WORKLOADS = 12


@dataclass(frozen=True)
class Drawn:
    """A drawing of a circuit."""

    caption: str
    drawing: Drawing


@dataclass(frozen=True)
class CircuitView:
    """A circuit as generated and as run."""

    title: str
    note: str
    drawings: tuple[Drawn, ...]


@dataclass(frozen=True)
class RunPage:
    """What the template shows, from top to bottom."""

    title: str
    description: str
    creators: str
    status: str
    experiment: str
    where: str
    when: str
    run_id: str
    alerts: tuple[Alert, ...]
    tiles: tuple[Tile, ...]
    workloads: tuple[Section, ...]
    analyses: tuple[AnalysisSection, ...]
    execution: Execution | None
    device: DeviceSection
    circuit_table: Table
    circuits: tuple[CircuitView, ...]
    identity: tuple[tuple[str, str], ...]
    folds: tuple[Fold, ...]

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Anchors and names of the sections that are there."""
        found = [
            ("results", "Results", self.workloads),
            ("analyses", "Analyses", self.analyses),
            ("execution", "Execution", self.execution),
            ("device", "Device", self.device),
            ("circuits", "Circuits", self.circuits),
            ("provenance", "Provenance", self.folds),
        ]
        return [(anchor, name) for anchor, name, there in found if there]


def run_page(archive: Archive) -> RunPage:
    """Everything about one run.

    Raises:
        ArchiveError: The archive is damaged.
    """
    metadata = archive.metadata
    jobs = list(archive.jobs)
    workloads = archive.workloads[:_MAX_WORKLOADS]
    measured = [measure(archive, workload) for workload in workloads]
    used = frozenset[int]().union(*(each.used_qubits for each in measured))
    pairs: Counter[tuple[int, int]] = Counter()
    for each in measured:
        pairs.update(each.used_pairs)
    return RunPage(
        title=str(metadata.get("title") or archive.experiment),
        description=" ".join(str(metadata.get("description") or "").split()),
        creators=_creators(metadata.get("creators")),
        status=archive.status,
        experiment=archive.experiment,
        where=f"{archive.backend['name']} ({archive.engine})",
        when=date(archive.created),
        run_id=archive.run_id,
        alerts=_alerts(archive, jobs),
        tiles=_tiles(archive, jobs, measured),
        workloads=tuple(map(section, measured)) if jobs else (),
        analyses=analysis_sections(archive.path.parent, archive.data_sha256),
        execution=execution(archive, jobs),
        device=device_section(archive, used, pairs),
        circuit_table=_circuit_table(measured),
        circuits=tuple(view for each in measured for view in _circuits(archive, each)),
        identity=identity(archive),
        folds=folds(archive),
    )


def _creators(creators: object) -> str:
    if not isinstance(creators, list):
        return ""
    names = [
        f"{item.get('name', '')}" + (f" ({item['orcid']})" if item.get("orcid") else "")
        for item in creators
        if isinstance(item, dict)
    ]
    return ", ".join(names)


def _alerts(archive: Archive, jobs: Sequence[JobRecord]) -> tuple[Alert, ...]:
    found = []
    if archive.status == "planned":
        title = "Nothing was run: this is a plan."
        found.append(Alert("partial", title, advice="python -m qexp resume RUN submits it."))
    elif archive.status != "complete":
        found.append(_incomplete(archive, jobs))
    ignored = sorted(name for name, options in archive.not_honoured.items() if options)
    if ignored:
        title = f"Some options had no effect on this engine (workload {', '.join(ignored)})."
        found.append(Alert("partial", title, advice="They are listed under provenance."))
    return tuple(found)


def _incomplete(archive: Archive, jobs: Sequence[JobRecord]) -> Alert:
    """What is missing and why, the same reason once."""
    done = {job.partition for job in jobs if job.state == "DONE"}
    last = {job.partition: job for job in jobs}
    missing = [part for part in archive.partitions if part.index not in done]
    reasons: dict[tuple[str, str], list[Partition]] = defaultdict(list)
    for part in missing:
        reasons[part.workload, _reason(last.get(part.index))].append(part)
    lines = [
        f"PUBs {_ranges(parts)} of {workload!r} ({plural(len(parts), 'job')}): {reason}"
        for (workload, reason), parts in reasons.items()
    ]
    if len(lines) > _MAX_REASONS:
        lines = [*lines[:_MAX_REASONS], f"{len(lines) - _MAX_REASONS} more reasons: see the jobs."]
    pubs = sum(part.num_pubs for part in missing)
    total = sum(part.num_pubs for part in archive.partitions)
    return Alert(
        archive.status,
        f"{pubs:,} of {plural(total, 'PUB')} {'has' if pubs == 1 else 'have'} no result.",
        tuple(lines),
        "Everything below is about the others. python -m qexp resume RUN goes on with a run.",
    )


def _ranges(parts: Sequence[Partition]) -> str:
    """Their PUBs, such as `0–9, 40–99`."""
    joined: list[tuple[int, int]] = []
    for part in sorted(parts, key=lambda part: part.first):
        if joined and joined[-1][1] == part.first:
            joined[-1] = joined[-1][0], part.stop
        else:
            joined.append((part.first, part.stop))
    texts = [f"{a:,}" if b == a + 1 else f"{a:,}–{b - 1:,}" for a, b in joined]
    more = len(texts) - _MAX_RANGES
    return ", ".join(texts[:_MAX_RANGES]) + (f" and {more} more ranges" if more > 0 else "")


def _reason(job: JobRecord | None) -> str:
    if job is None:
        return "never submitted"
    code = f" (code {job.error_code})" if job.error_code is not None else ""
    said = " ".join((job.error or "no reason given").split())
    said = said if len(said) <= 300 else f"{said[:299]}…"
    kind = f", {job.failure}" if job.failure else ""
    return f"{job.state}{kind}{code}: {said}"


def _tiles(
    archive: Archive, jobs: Sequence[JobRecord], measured: Sequence[Measured]
) -> tuple[Tile, ...]:
    partitions = archive.partitions
    total = sum(part.num_pubs for part in partitions)
    with_result = sum(len(results.available) for results in archive.results.values())
    done = len({job.partition for job in jobs if job.state == "DONE"})
    tiles = [
        Tile("PUBs with a result", f"{with_result:,}", f"of {total:,}"),
        Tile("Jobs done", f"{done:,}", f"of {len(partitions):,} planned, {len(jobs):,} submitted"),
        Tile(
            "Executions",
            f"{sum(part.executions for part in partitions):,}",
            "planned: circuits × shots",
        ),
    ]
    tiles += _quality_tiles(measured)
    predicted = sum(part.qpu_s for part in partitions)
    name = "Simulation time" if is_simulated(archive) else "QPU time charged"
    tiles.append(Tile(name, seconds(archive.usage_s), f"predicted for a QPU: {seconds(predicted)}"))
    ends = [end for end in (moment(job.finished) for job in jobs) if end is not None]
    start = moment(archive.created)
    if ends and start:
        tiles.append(Tile("From start to last job", seconds((max(ends) - start).total_seconds())))
    return tuple(tiles)


def _quality_tiles(measured: Sequence[Measured]) -> list[Tile]:
    tiles = []
    for each in measured[:2]:
        where = f" ({each.workload})" if len(measured) > 1 else ""
        if each.judged:
            middle = median(sample.fidelity or 0.0 for sample in each.judged)
            note = f"Hellinger, {plural(len(each.judged), 'distribution')}"
            tiles.append(Tile(f"Median fidelity{where}", number(middle), note))
        elif each.compared:
            off = median(abs(e.ev - (e.exact or 0.0)) for e in each.compared)
            note = f"of {plural(len(each.compared), 'expectation value')}"
            tiles.append(Tile(f"Median |error|{where}", number(off, 2), note))
    return tiles


def _circuit_table(measured: Sequence[Measured]) -> Table:
    rows = []
    for each in measured:
        shapes = each.shapes
        config = [
            _spread([getattr(shape, name) for shape in shapes])
            for name in ("depth", "size", "entangling")
        ]
        rows.append([each.workload, each.kind, f"{each.num_pubs:,}", *config])
    note = "As ISA circuits: median (least to largest)"
    some = any(len(each.shown) < each.num_pubs for each in measured)
    return table(
        "workload|primitive|#PUBs|#depth|#instructions|#two-qubit gates",
        rows,
        note=f"{note} of the PUBs shown." if some else f"{note}.",
    )


def _spread(values: Sequence[int]) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{median(values):,.0f}" + (f" ({low:,} to {high:,})" if low != high else "")


def _circuits(archive: Archive, measured: Measured) -> list[CircuitView]:
    """A few circuits of a workload: of the same PUBs as its histograms, else the first."""
    chosen: dict[int, str] = {}
    if measured.judged and len(measured.judged) >= 3:
        named = representatives(measured.judged)
        for name, sample in (named[1], named[0], named[2]):
            chosen.setdefault(
                sample.pub, f"{name.lower()} fidelity, {number(sample.fidelity or 0.0)}"
            )
    elif measured.shown:
        middle = measured.shown[len(measured.shown) // 2]
        chosen[middle] = "an example"
    views = []
    for pub, why in chosen.items():
        drawings = []
        for isa in (False, True):
            circuit = archive.circuits(measured.workload, isa=isa)[pub]
            kind = "As run (ISA), by physical qubit" if isa else "As generated"
            drawing, cut = draw_circuit(circuit, f"{kind}: circuit of PUB {pub}")
            facts = f"{kind}: depth {circuit.depth()}, {plural(circuit.size(), 'instruction')}"
            drawings.append(Drawn(f"{facts}{f'; drawn are {cut}' if cut else ''}.", drawing))
        where = f" of {measured.workload}" if len(archive.workloads) > 1 else ""
        name = archive.circuits(measured.workload)[pub].name or ""
        views.append(CircuitView(f"PUB {pub}{where}: {name}", why, tuple(drawings)))
    return views
