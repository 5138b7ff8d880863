"""Raw data of client-side Estimators, evaluated again with other settings of error mitigation."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qexp.analysis.dataset import Column, Reals, dataset
from qexp.analysis.pubs import MeasuredPub, measure_values, read_pubs
from qexp.archive.read import Archive
from qexp.errors import AnalysisError, UnsuitableError
from qexp.text import one_line

if TYPE_CHECKING:
    import xarray as xr

_UNITS = "unit of the observable"


@dataclass(frozen=True)
class _Settings:
    """Settings of the evaluation; None: as the job was run."""

    extrapolator: str | Sequence[str] | None
    noise_factors: Sequence[float] | None
    trex: bool | None


def remitigated(
    run: Archive,
    *,
    workload: str | None = None,
    extrapolator: Annotated[list[str], Field(min_length=1)] | str | None = None,
    noise_factors: Annotated[list[float], Field(min_length=1)] | None = None,
    trex: bool | None = None,
    resamples: Annotated[int, Field(ge=2, le=10_000)] | Literal[0] = 0,
) -> xr.Dataset:
    """Evaluate the raw data of client-side Estimators again, by IBM's public functions.

    With the settings of the job, the values are bit for bit those that IBM's client returned.

    The standard errors of extrapolated values (ZNE, PEA) are those of a fit to few points and are
    too small: between independent runs the values scatter by 1.7 of them. `resamples` draws the
    randomizations of each circuit, and of the calibration, anew with replacement, and gives the
    standard deviation of the values: an error that needs no model. Without twirling there is only
    one randomization, and nothing to draw from, which is refused.

    Args:
        run: The archive.
        workload: The Estimator workload; None for all of them that have raw data.
        extrapolator: Model or models, tried in turn, of the extrapolation to zero noise; see
            `qiskit_mitigation.GateFolding.postprocess`. None: those of the job.
        noise_factors: Those that are extrapolated from, some of the job's. None: all of them.
        trex: False: the readout is not mitigated. None: as it was run.
        resamples: Bootstrap samples, two or more; 0: none. Each takes as long as the evaluation.

    Returns:
        By `value`, as of `exact_evs`: `ev`, `std` (of the randomizations, or of the fit),
        `archived` (the value in the archive), and with `resamples` `bootstrap_std`.

    Raises:
        AnalysisError: The run has no raw data, or was not run with what a setting is for.
    """
    settings, rng = _Settings(extrapolator, noise_factors, trex), np.random.default_rng(resamples)

    def values(pub: MeasuredPub) -> list[Reals] | None:
        found = run.raw(*pub.place)
        if found is None:
            return None
        assert pub.result is not None
        arrays = [np.asarray(pub.result.data.evs), *_evaluate(_copied(found), settings, pub.place)]
        if resamples:
            drawn = (_copied(found, rng) for _ in range(resamples))
            samples = [_evaluate(one, settings, pub.place)[0] for one in drawn]
            arrays.append(np.std(samples, axis=0, ddof=1))
        return arrays

    coordinates, numbers = measure_values(read_pubs(run, workload, "estimator"), values)
    if not coordinates:
        raise UnsuitableError(
            "the run has no raw data: they are kept of client-side Estimators on IBM's service and "
            "of those with mitigation on the embedded engine, with archive.raw=true"
        )
    archived, ev, std, *bootstrap = numbers
    moved = float(np.nanmax(np.abs(ev - archived)))
    verdict = f"at most {moved:.4g} from those in the archive" if moved else "equal to the archived"
    columns: dict[str, Column] = {
        "ev": ("value", ev, "expectation value", _UNITS),
        "std": ("value", std, "expectation value, standard error", _UNITS),
        "archived": ("value", archived, "expectation value in the archive", _UNITS),
    }
    for errors in bootstrap:
        columns["bootstrap_std"] = ("value", errors, "bootstrap standard error", _UNITS)
    return dataset(
        "Expectation values evaluated again",
        f"{len(ev)} value{'s' if len(ev) > 1 else ''}: {verdict}",
        columns,
        coordinates,
    )


def _evaluate(found: Any, settings: _Settings, place: tuple[str, int]) -> tuple[Reals, Reals]:
    """Return the values of a PUB and their standard errors.

    What `qiskit_mitigation` calls `twirl_stds` are the `stds` of IBM's primitives.
    """
    from qiskit_mitigation import PEA, GateFolding, load_tasks_from_result

    [task] = load_tasks_from_result(found)
    calibration = task.trex
    if settings.trex and calibration is None:
        raise UnsuitableError("trex=true: the run has no readout calibration")
    has_trex = calibration is not None and settings.trex is not False
    noise = calibration.compute_noise_model(found) if has_trex else None
    task.trex = None
    items = list(found)[: -1 if calibration is not None else None]
    arguments: dict[str, Any] = {}
    if isinstance(task, GateFolding | PEA):
        factors = [float(factor) for factor in task.noise_factors]
        kept = _indices(factors, settings.noise_factors)
        arguments["noise_factors"] = [factors[index] for index in kept]
        arguments["extrapolator"] = _extrapolators(
            task.extrapolator if settings.extrapolator is None else settings.extrapolator
        )
        if isinstance(task, PEA):
            items = [{name: array[kept] for name, array in items[0].items()}]
        else:
            items = [items[index] for index in kept]
    elif settings.extrapolator is not None or settings.noise_factors is not None:
        raise UnsuitableError("the run has no amplified noise, so that nothing is extrapolated")
    given = items if isinstance(task, GateFolding) else items[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that fail, whose extrapolator is not chosen
            data = task.postprocess(given, noise, **arguments).data
    except ValueError as error:
        workload, index = place
        raise AnalysisError(f"PUB {index} of '{workload}': {one_line(error)}") from None
    return np.asarray(data.evs), np.asarray(getattr(data, "twirl_stds", data.stds))


def _extrapolators(chosen: str | Sequence[str]) -> list[str]:
    from qiskit_mitigation.zne.extrapolation import ExtrapolatorType

    names = [chosen] if isinstance(chosen, str) else list(chosen)
    known = [name for name in get_args(ExtrapolatorType) if name != "custom"]
    if unknown := [name for name in names if name not in known]:
        raise AnalysisError(f"extrapolator={unknown[0]}: unknown; allowed: {', '.join(known)}")
    return names


def _indices(factors: Sequence[float], wanted: Sequence[float] | None) -> list[int]:
    missing = [factor for factor in wanted or () if factor not in factors]
    if missing:
        raise AnalysisError(f"noise_factors={missing[0]:g}: the run has only {factors}")
    return [index for index, factor in enumerate(factors) if wanted is None or factor in wanted]


def _copied(found: Any, rng: np.random.Generator | None = None) -> Any:
    """Return raw data that may be changed, as evaluating them does.

    With a generator, the randomizations are drawn with replacement.
    """
    copied = copy.deepcopy(found)
    if rng is None:
        return copied
    tasks = found.passthrough_data["qiskit_mitigation"]
    for number, item in enumerate(copied):
        is_pea = tasks[0]["mitigation"] == "pea" and number == 0
        size = item["_meas"].shape[is_pea]
        if size == 1:
            raise AnalysisError(
                "resamples: a circuit has one randomization, and none can be drawn; leave it out, "
                "or run with several: primitive.options.twirling.enable_gates=true"
            )
        chosen: NDArray[np.intp] = rng.integers(size, size=size)
        for name, array in item.items():
            item[name] = array.take(chosen, axis=int(is_pea))
    return copied
