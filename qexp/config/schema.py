"""Schema of the config: every key that exists, its type and its range; any other is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from qexp.config.identifiers import check_license, check_orcid, check_url

Target = dict[str, Any]
"""A node with `_target_`; its own keys are checked against the target's signature."""


Count = Annotated[int, Field(gt=0, lt=2**63)]
"""A number of things; as large as the archive's columns can hold."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""A seed; as large as the archive can hold."""


class Node(BaseModel):
    """Base of all nodes: unknown keys are refused and values are never converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class BatchNode(Node):
    """The one batch."""

    max_time: str | int | None = None


class BudgetNode(Node):
    """The most that a run, or a whole sweep, may use."""

    qpu: str | int | None = None


class ExecutionNode(Node):
    """Rules for submitting and collecting jobs; nothing here decides data."""

    on_interrupt: Literal["leave", "cancel"] = "leave"
    retries: Annotated[int, Field(ge=0, le=100)] = 2
    retry_too_long: bool = False
    retry_refused: bool = False
    follow_ups: Annotated[int, Field(ge=0, le=100)] = 3
    max_pending: Count | None = None
    submit_interval_s: Annotated[float, Field(gt=0, le=3600)] | None = None
    deadline: str | int | None = None
    outage: str | int = "15m"


class ArchiveNode(Node):
    """Contents of the archive that are of use to some readers only."""

    raw: bool = True


class PrimitiveNode(Node):
    """A primitive, its options and the default shots or precision of its PUBs."""

    kind: Literal["sampler", "estimator"]
    implementation: Literal["client", "legacy"] = "client"
    shots: Count | None = None
    precision: Annotated[float, Field(gt=0)] | None = None
    options: dict[str, Any] = {}


class TranspileNode(Node):
    """Arguments of `generate_preset_pass_manager`."""

    optimization_level: Annotated[int, Field(ge=0, le=3)] = 1
    layout_method: str | None = None
    routing_method: str | None = None
    translation_method: str | None = None
    scheduling_method: str | None = None
    approximation_degree: Annotated[float, Field(ge=0, le=1)] | None = 1.0
    initial_layout: list[Annotated[int, Field(ge=0, lt=2**63)]] | None = None
    seed: Seed | None = None


class PartitionNode(Node):
    """The user's bounds of one job; null means the service's documented limit."""

    max_circuits: Count | None = 100
    max_executions: Count | None = None
    max_payload_bytes: Count | None = None
    max_qpu_s: Annotated[float, Field(gt=0)] | None = None


class LimitNode(Node):
    """A documented limit of the service."""

    value: Annotated[float, Field(gt=0)]
    source: str
    checked: str


class WorkloadNode(Node):
    """One of several workloads; a part that is null is taken from the top level."""

    circuits: Target | None = None
    primitive: PrimitiveNode | None = None
    transpile: TranspileNode | None = None


Bound = Annotated[float | int, Field(allow_inf_nan=False)]


class RangeNode(Node):
    """Values of a sampled key; both bounds are included where they are whole numbers."""

    low: Bound
    high: Bound
    log: bool = False
    integer: bool | None = None


class ChoicesNode(Node):
    """Values of a sampled key, all equally likely."""

    choices: list[Any]


class SampleNode(Node):
    """Points drawn from ranges; each of `keys` is `[low, high]`, a range or choices."""

    method: Literal["random", "lhs", "sobol", "halton"]
    n: Annotated[int, Field(gt=0, le=100_000)]
    keys: dict[str, Any]


NodeName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]

Analyses = dict[NodeName, Target]
"""Analyses by name, which is also the name of their files."""


class SweepNode(Node):
    """A sweep's points, seeds and what is made of each; decides nothing for a single run."""

    seed: Literal["derived", "shared", "independent"] = "derived"
    circuits_by: list[str] | None = None
    order: Literal["interleaved", "declared", "random"] = "interleaved"
    pack: str | int | None = "60s"
    block: Annotated[int, Field(gt=0)] | None = None
    value: Annotated[str, Field(pattern=r"^[A-Za-z]\w*\.\w+$")] | None = None
    analysis: Analyses = {}

    # Which points there are.
    zip: dict[str, list[Any]] | None = None
    points: list[dict[str, Any]] | str | None = None
    sample: SampleNode | None = None
    keys: list[str] | None = None


class LimitsNode(Node):
    """Limits that the plan keeps to; their units are in their names."""

    sampler_executions_per_job: LimitNode
    payload_bytes_per_job: LimitNode
    control_instructions_per_qubit_and_job: LimitNode
    circuit_rz_gates: LimitNode
    circuit_sx_gates: LimitNode
    circuit_two_qubit_gates: LimitNode
    job_qpu_s: LimitNode
    job_overhead_s: LimitNode
    batch_max_time_s: LimitNode
    open_plan_batch_max_time_s: LimitNode


Name = Annotated[str, Field(min_length=1)]
Url = Annotated[str, AfterValidator(check_url)]


class CreatorNode(Node):
    """A person who made the data, and the organisation that they belong to."""

    name: Name
    orcid: Annotated[str, AfterValidator(check_orcid)] | None = None
    affiliation: str | None = None
    affiliation_url: Url | None = None


class PublisherNode(Node):
    """The organisation that publishes the data."""

    name: Name
    url: Url | None = None


class FundingNode(Node):
    """A grant, and the organisation that gave it."""

    funder: Name
    funder_url: Url | None = None
    grant: str | None = None
    name: str | None = None
    url: Url | None = None


class MetadataNode(Node):
    """Title, people and licence for readers of the archive; copied into its root attributes."""

    title: str | None = None
    description: str | None = None
    creators: list[CreatorNode] = []
    publisher: PublisherNode | None = None
    funding: list[FundingNode] = []
    license: Annotated[str, AfterValidator(check_license)] | None = None
    keywords: list[str] = []


class AnalysesNode(Node):
    """Analyses of the sealed data."""

    analysis: Analyses = {}


class RootNode(AnalysesNode):
    """The whole config, without Hydra's own node."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", max_length=60)]
    seed: Seed
    simulation_seed: Seed | None = None
    sweep: SweepNode = SweepNode()
    stop_after: Literal["plan", "submit"] | None
    run_dir: Annotated[str, Field(min_length=1)] | None = None
    backend: Target
    engine: Target
    batch: BatchNode
    budget: BudgetNode = BudgetNode()
    execution: ExecutionNode = ExecutionNode()
    archive: ArchiveNode = ArchiveNode()
    circuits: Target | None = None
    primitive: PrimitiveNode | None = None
    transpile: TranspileNode | None = None
    workloads: dict[NodeName, WorkloadNode] = {}
    variants: dict[NodeName, dict[str, Any]] = {}
    variant: str | None = None
    variables: dict[str, Any] = {}
    partition: PartitionNode
    limits: LimitsNode
    metadata: MetadataNode
