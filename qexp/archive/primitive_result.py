"""Qiskit's own `PrimitiveResult` of a workload, put together from those of its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qexp.errors import ArchiveError

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult, PubResult

    from qexp.archive.read import Archive


def primitive_result(run: Archive, workload: str, *, partial: bool) -> PrimitiveResult[PubResult]:
    """The results of all PUBs of a workload, in order.

    Its metadata has the entries on which the metadata of all jobs agree, so that those of a
    workload of one job are all there; and `"qexp"`: the run's id and status, the workload, the
    index of the PUB of each result, and the ids of the jobs.

    Args:
        run: The archive.
        workload: Name of the workload.
        partial: Whether PUBs without result may be left out.

    Raises:
        ArchiveError: There is no such workload, or PUBs without result are not to be left out.
    """
    from qiskit.primitives import PrimitiveResult

    results = run.results.get(workload)
    if results is None:
        known = ", ".join(run.workloads) or "none"
        raise ArchiveError(f"{run.path} has no workload {workload!r}; it has: {known}.")
    missing = len(results) - len(results.available)
    if missing and not partial:
        msg = (
            f"{missing} of {len(results)} PUBs of {workload!r} in {run.path} have no result, which "
            "would shift the others: ask for it with partial=True, or use run.results."
        )
        raise ArchiveError(msg)
    jobs = [job for job in run.jobs if job.workload == workload and job.num_results]
    metadata = _agreed([job.result_metadata or {} for job in jobs])
    metadata["qexp"] = {
        "run_id": run.run_id,
        "status": run.status,
        "workload": workload,
        "pub": list(results.available),
        "jobs": [job.job_id for job in jobs],
    }
    return PrimitiveResult([results[index] for index in results.available], metadata)


def _agreed(documents: list[dict[str, Any]]) -> dict[str, Any]:
    first, *others = documents or [{}]
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }
