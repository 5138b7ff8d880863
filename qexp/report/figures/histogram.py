"""Outcomes of one circuit: how often each was measured, beside what an ideal device gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from qexp.report.axes import HEIGHT, Axis, Plot
from qexp.report.svg import Anchor, Drawing
from qexp.report.text import number, percent, plain_number

MAX_OUTCOMES = 32
_FEW = 8


def outcome_histogram(
    counts: Mapping[str, int], ideal: Mapping[str, float] | None, label: str
) -> Drawing:
    """A bar per outcome with its binomial standard error, within the outline of its probability.

    Args:
        counts: Outcome -> number of shots.
        ideal: Outcome -> probability, or None.
        label: What it shows, in words.
    """
    shots = sum(counts.values())
    measured = {outcome: count / shots for outcome, count in counts.items()}
    outcomes, num_left_out = _chosen(measured, ideal or {})
    turned = len(outcomes) > _FEW or any(len(outcome) > 6 for outcome in outcomes)
    names = [_short(outcome) for outcome in outcomes]
    longest = max(map(len, names))
    bottom = 24 + (longest * 5.6 + 4 if turned else 16)
    errors = [math.sqrt(measured.get(x, 0) * (1 - measured.get(x, 0)) / shots) for x in outcomes]
    highest = max(
        max(measured.get(x, 0.0) + error, (ideal or {}).get(x, 0.0))
        for x, error in zip(outcomes, errors, strict=True)
    )
    plot = Plot(
        label,
        Axis(_x_label(num_left_out), 0, len(outcomes), ticks=()),
        Axis("probability (%)", 0, 100 * highest * 1.06, show=plain_number),
        height=HEIGHT - 40 + bottom,
        bottom=bottom,
    )
    draw, slot = plot.drawing, plot.x(1) - plot.x(0)
    base = plot.y(0)
    for k, (outcome, error) in enumerate(zip(outcomes, errors, strict=True)):
        share, middle = measured.get(outcome, 0.0), plot.x(k + 0.5)
        tip = f"{outcome}: measured {percent(share)}"
        if ideal is not None:
            tip += f", ideal {percent(ideal.get(outcome, 0.0))}"
        top = plot.y(100 * share)
        width = min(slot * 0.56, 34)
        draw.rect(middle - width / 2, top, width, base - top, "measured", tip)
        if ideal is not None:
            outline = plot.y(100 * ideal.get(outcome, 0.0))
            wide = min(slot * 0.84, 48)
            draw.rect(middle - wide / 2, outline, wide, base - outline, "ideal", tip)
        low, high = plot.y(100 * (share - error)), plot.y(100 * (share + error))
        if low - high > 2:
            draw.line(middle, low, middle, high, "whisker")
        name = names[k]
        if turned:
            draw.text(middle + 3, base + 8, name, "bits", "end", turn=-90)
        else:
            draw.text(middle, base + 16, name, "bits", "middle")
    return draw


def _chosen(measured: Mapping[str, float], ideal: Mapping[str, float]) -> tuple[list[str], int]:
    """The outcomes to show in ascending order, and how many others there are."""
    bits = len(next(iter(measured)))
    if bits <= int(math.log2(MAX_OUTCOMES)) and set(next(iter(measured))) <= {"0", "1"}:
        return [f"{k:0{bits}b}" for k in range(2**bits)], 0
    known = measured.keys() | ideal.keys()
    ranked = sorted(known, key=lambda x: (-max(measured.get(x, 0.0), ideal.get(x, 0.0)), x))
    return sorted(ranked[:MAX_OUTCOMES]), len(ranked) - len(ranked[:MAX_OUTCOMES])


def _x_label(num_left_out: int) -> str:
    if num_left_out:
        return f"outcome ({num_left_out:,} rarer ones not shown)"
    return "outcome"


def _short(outcome: str) -> str:
    """Long outcomes in hexadecimal, very long ones without their middle."""
    if len(outcome) <= 10:
        return outcome
    text = f"0x{int(outcome, 2):0{-(-len(outcome) // 4)}x}"
    return text if len(text) <= 14 else f"{text[:7]}…{text[-6:]}"


def fidelity_distribution(values: Sequence[float], label: str, axis: str) -> Drawing:
    """How a figure of merit is distributed over circuits: a histogram with its median."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = max(0.0, low - 0.05), min(1.0, high + 0.05)
    count = max(6, min(28, round(2 * math.sqrt(len(values)))))
    step = (high - low) / count
    bins = [0] * count
    for value in values:
        bins[min(count - 1, int((value - low) / step))] += 1
    plot = Plot(
        label,
        Axis.around(axis, [low, high], margin=0.03),
        Axis("circuits", 0, max(bins) * 1.14, ticks=_whole_ticks(max(bins))),
        top=18,
    )
    draw = plot.drawing
    for k, held in enumerate(bins):
        left, right = plot.x(low + k * step), plot.x(low + (k + 1) * step)
        top = plot.y(held)
        tip = f"{number(low + k * step)} to {number(low + (k + 1) * step)}: {held}"
        if held:
            draw.rect(left + 0.5, top, max(right - left - 1, 0.8), plot.y(0) - top, "measured", tip)
    ordered = sorted(values)
    median = (ordered[len(values) // 2] + ordered[(len(values) - 1) // 2]) / 2
    x = plot.x(median)
    draw.line(x, plot.top - 2, x, plot.y(0), "median")
    anchor: Anchor = "end" if x > plot.width / 2 else "start"
    draw.text(x + (-5 if anchor == "end" else 5), 12, f"median {number(median)}", "note", anchor)
    return draw


def _whole_ticks(highest: int) -> list[tuple[float, str]]:
    from qexp.report.axes import round_ticks

    return [(t, f"{t:,.0f}") for t in round_ticks(0, highest * 1.1, 4) if t == int(t)]
