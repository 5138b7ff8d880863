"""The section on results: what was measured, against what an ideal device gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from qexp.report.figures.histogram import fidelity_distribution, outcome_histogram
from qexp.report.figures.quality import Mark, quality_by
from qexp.report.figures.values import Value, values_against_exact, values_along
from qexp.report.parts import Key, Picture, sign
from qexp.report.samples import Estimate, Measured, Sample
from qexp.report.text import number, plural

_MAX_PANELS = 5
_LEAST_CIRCUITS = 10


@dataclass(frozen=True)
class Section:
    """One workload's results."""

    name: str
    summary: str
    pictures: tuple[Picture, ...] = ()
    key: tuple[Key, ...] = ()
    examples: tuple[Picture, ...] = ()


def section(measured: Measured) -> Section:
    """The results of one workload."""
    if measured.estimates:
        return _estimated(measured)
    if measured.samples:
        return _sampled(measured)
    held = plural(measured.num_pubs, "PUB")
    summary = f"{held}, of which none has a result that can be shown."
    return Section(measured.workload, summary + left_out(measured.num_not_finite))


def left_out(count: int) -> str:
    """A sentence on so many expectation values that are not shown, after a space; `""` for none."""
    if not count:
        return ""
    are = "is" if count == 1 else "are"
    return f" {plural(count, 'expectation value')} that {are} not finite {are} left out."


def _scope(measured: Measured) -> str:
    """How many of the PUBs the pictures show, in words."""
    held = plural(measured.num_pubs, "PUB")
    if measured.num_available < measured.num_pubs:
        held += f", {measured.num_available:,} with a result"
    if len(measured.shown) < measured.num_available:
        held += f"; the pictures show {len(measured.shown):,} of them, evenly spaced"
    return held


def _points(measured: Measured) -> str:
    points, pubs = len(measured.samples), len({sample.pub for sample in measured.samples})
    return f"{points:,} parameter sets, " if points > pubs else ""


def _sampled(measured: Measured) -> Section:
    judged = measured.judged
    shots = sorted({sum(sample.counts.values()) for sample in measured.samples})
    each = f"{shots[0]:,}" if len(shots) == 1 else f"{shots[0]:,} to {shots[-1]:,}"
    summary = f"{_scope(measured)}, {_points(measured)}{each} shots each."
    if not judged:
        summary += (
            " Without an ideal distribution: the circuits are too wide for an exact simulation, or "
            "hold something that it does not know, such as measurements before their end."
        )
        shown = [("First", measured.samples[0]), ("Last", measured.samples[-1])]
        return Section(
            measured.workload,
            summary,
            examples=tuple(
                _histogram(name, sample) for name, sample in shown[: len(measured.samples)]
            ),
            key=(_KEY_MEASURED,),
        )
    if len(judged) < len(measured.samples):
        summary += f" The ideal distribution of {len(judged):,} of these is known."
    summary += (
        " Fidelity is the Hellinger fidelity of the measured to the ideal distribution, 1 for "
        "equal ones."
    )
    return Section(
        measured.workload,
        summary,
        _quality(judged),
        (_KEY_MEASURED, _KEY_IDEAL),
        tuple(_histogram(name, sample) for name, sample in representatives(judged)),
    )


_KEY_MEASURED = Key(sign(("slim", "measured")), "measured, with its binomial standard error")
_KEY_IDEAL = Key(sign(("bar", "ideal")), "ideal")


def representatives(judged: Sequence[Sample]) -> list[tuple[str, Sample]]:
    """The best, the median and the worst of samples in order of fidelity."""
    if len(judged) < 3:
        return [(sample.label, sample) for sample in judged]
    return [("Best", judged[0]), ("Median", judged[len(judged) // 2]), ("Worst", judged[-1])]


def _quality(judged: Sequence[Sample]) -> tuple[Picture, ...]:
    if len(judged) < _LEAST_CIRCUITS:
        return ()
    values = [sample.fidelity or 0.0 for sample in judged]
    middle = number(median(values))
    pictures = [
        Picture(
            fidelity_distribution(
                values, f"Histogram of fidelities, median {middle}", "Hellinger fidelity"
            ),
            "Fidelity",
            f"{len(judged):,} distributions: {number(min(values))} to {number(max(values))}.",
        )
    ]
    scatters = [
        _scatter(judged, values, [sample.shape.depth for sample in judged], *_DEPTH),
        _scatter(judged, values, [sample.shape.entangling for sample in judged], *_SIZE),
    ]
    found = [picture for picture in scatters if picture is not None]
    if not found:
        # Circuits that cost the same: what changes may do so along the workload.
        by_pub = _scatter(judged, values, [sample.pub for sample in judged], *_PUB)
        found = [] if by_pub is None else [by_pub]
    pictures += found
    return tuple(pictures)


_DEPTH = ("ISA circuit depth", "Fidelity by depth")
_SIZE = ("gates on two or more qubits", "Fidelity by size")
_PUB = ("PUB", "Fidelity by PUB")


def _scatter(
    judged: Sequence[Sample], values: Sequence[float], xs: Sequence[int], axis: str, title: str
) -> Picture | None:
    """Fidelity against something of each circuit; None where it hardly varies."""
    if len(set(xs)) < 3:
        return None
    marks = [
        Mark(x, fidelity, f"{sample.label}: fidelity {number(fidelity)}, {axis} {x:,}")
        for sample, fidelity, x in zip(judged, values, xs, strict=True)
    ]
    drawing = quality_by(marks, axis, "Hellinger fidelity", f"{title} of {len(marks)} circuits")
    caption = "Median and middle half in orange." if len(marks) >= 12 else "A point per circuit."
    return Picture(drawing, title, caption)


def _histogram(name: str, sample: Sample) -> Picture:
    fidelity = "" if sample.fidelity is None else f"fidelity {number(sample.fidelity)}, "
    where = "" if name == sample.label else f"{sample.label}, "
    caption = f"{where}{fidelity}{plural(sample.shape.entangling, 'two-qubit gate')}."
    drawing = outcome_histogram(
        sample.counts, sample.ideal, f"Outcomes of {sample.label}, measured and ideal: {caption}"
    )
    return Picture(drawing, name, caption[:1].upper() + caption[1:])


def _estimated(measured: Measured) -> Section:
    estimates, compared = measured.estimates, measured.compared
    summary = f"{_scope(measured)}, {plural(len(estimates), 'expectation value')}."
    summary += left_out(measured.num_not_finite)
    if compared:
        off = [abs(each.ev - (each.exact or 0.0)) for each in compared]
        summary += f" They differ from the exact values by {number(median(off))} in the median"
        sure = [(o, each.std) for o, each in zip(off, compared, strict=True) if each.std > 0]
        if sure:
            within = sum(o <= 2 * std for o, std in sure)
            summary += f"; {within} of {len(sure)} lie within two standard errors"
        summary += "."
    else:
        summary += " Exact values are not known: the circuits are too wide for an exact simulation."
    panels = _panels(estimates)
    pictures = [_panel(*panel) for panel in panels[:_MAX_PANELS]]
    if len(panels) > _MAX_PANELS:
        summary += f" The first {_MAX_PANELS} of {len(panels)} observables are drawn one by one."
    if len(compared) > 2:
        values = [_value(each, 0.0) for each in compared]
        label = f"{len(values)} measured expectation values against exact ones"
        caption = "A perfect device is on the diagonal."
        pictures.insert(
            0, Picture(values_against_exact(values, label), "Measured against exact", caption)
        )
    key = [Key(sign(("line", "error"), ("dot", "value")), "measured, with one standard error")]
    if compared:
        key.append(Key(sign(("line", "exact-line"), ("dot", "exact")), "exact"))
    return Section(measured.workload, summary, tuple(pictures), tuple(key))


def _panels(estimates: Sequence[Estimate]) -> list[tuple[str, list[Estimate]]]:
    """Estimates by observable where each has several, else all together."""
    groups: dict[str, list[Estimate]] = defaultdict(list)
    for estimate in estimates:
        groups[estimate.observable].append(estimate)
    if max(map(len, groups.values())) < 3:
        return [("All expectation values", list(estimates))]
    return list(groups.items())


def _panel(observable: str, group: Sequence[Estimate]) -> Picture:
    pubs = [estimate.pub for estimate in group]
    is_curve = len({estimate.observable for estimate in group}) == 1
    if is_curve and len(set(pubs)) == len(pubs):
        xs, axis = [float(pub) for pub in pubs], "PUB"
    elif (
        is_curve and len(set(pubs)) == 1 and all(estimate.setting is not None for estimate in group)
    ):
        xs, axis = [estimate.setting or 0.0 for estimate in group], "parameter value"
    else:
        xs, axis = [float(k) for k in range(len(group))], "index of the expectation value"
        is_curve = False
    values = [_value(estimate, x) for estimate, x in zip(group, xs, strict=True)]
    title = observable if len(observable) <= 40 else f"{' '.join(observable.split()[:3])} …"
    terms = group[0].terms if is_curve or group[0].observable == observable else ""
    drawing = values_along(values, axis, f"{observable} by {axis}", is_curve=is_curve)
    caption = "" if title == terms else terms
    return Picture(drawing, title, caption if len(caption) <= 160 else f"{caption[:158]}…")


def _value(estimate: Estimate, x: float) -> Value:
    tip = f"{estimate.label}, {estimate.observable}"
    return Value(x, estimate.ev, estimate.std, estimate.exact, tip)
