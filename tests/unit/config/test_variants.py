from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from qexp.config.recorded_config import differences, load_recorded
from qexp.config.schema import SweepNode
from qexp.config.sweep_points import declared_blocks
from qexp.config.variants import variant_blocks
from qexp.core.spec import RunSpec
from qexp.errors import ConfigError

Load = Callable[..., RunSpec]
TWO = (
    "experiment=ising",
    "primitive.options.twirling.num_randomizations=8",
    "variants={plain:{options:{resilience_level:0}},"
    "mitigated:{precision:0.1,options:{resilience_level:1,twirling:{enable_gates:true}}}}",
)


def test_a_variant_is_merged_deeply_into_the_primitive_that_is_run_and_recorded(load_spec: Load):
    spec = load_spec(*TWO, "variant=mitigated")
    (workload,) = spec.workloads
    assert workload.primitive.precision == 0.1
    assert workload.primitive.options == {
        "resilience_level": 1,
        "twirling": {"num_randomizations": 8, "enable_gates": True},
    }
    # The recorded config runs the same without merging anything, and is a tree without aliases.
    assert "variant: mitigated" in spec.config_yaml
    again = load_recorded(spec.config_yaml, (), needs_circuits=True)
    assert again.workloads[0].primitive == workload.primitive


def test_a_variant_more_changes_no_recorded_run(load_spec: Load):
    one = load_spec(*TWO, "variant=plain").config_yaml
    more = load_spec(*TWO, "variant=plain", "variants.third={precision:0.2}").config_yaml
    assert differences(one, more) == []
    other = load_spec(*TWO, "variant=mitigated").config_yaml
    assert "primitive.precision: recorded None, now 0.1" in differences(one, other)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ((), "variants: a sweep is declared, but this is a single run; add -m, or choose one, var"),
        (("variant=plan",), "variant: got 'plan'; did you mean 'plain'? allowed: plain, mitigated"),
        (("variant=plain", "variants.plain=1"), "variants.plain: got 1; it must be a mapping"),
        (
            ("variant=none", "variants.none={}"),
            "variants.none: equal to primitive once it is merged",
        ),
        (
            ("variant=plain", "primitive.options.resilience_level=0"),
            "variants.plain: equal to primitive once it is merged",
        ),
        (
            ("variant=plain", "variants.again={options:{resilience_level:0}}"),
            "variants.plain: equal to variants.again once it is merged",
        ),
        (
            ("variant=plain", "primitive.options.resilience_level=2"),
            "primitive.options.resilience_level: got 2, which has no effect, because every variant "
            "sets it; set variants.NAME.options.resilience_level instead",
        ),
        *(
            ((f"variant={name}", f"variants.plain.{key}"), f"variants.plain.{problem}")
            for name in ("plain", "mitigated")
            for key, problem in (
                ("shot=1", "shot: unknown key; did you mean 'shots'? allowed in 'variants.plain'"),
                ("precision=-1", "precision: got -1; it must be"),
                ("shots=10", "shots: got 10, but an estimator takes a precision; set variants."),
                (
                    "options.resilience_levl=1",
                    "options.resilience_levl: unknown option, did you mean 'resilience_level'",
                ),
            )
        ),
        (
            ("variant=plain", "primitive.options.resilience_levl=1"),
            "primitive.options.resilience_levl: unknown option, did you mean 'resilience_level'",
        ),
        (
            ("variant=plain", "workloads.a.circuits.num_qubits=4"),
            "workloads.a.circuits: nothing is chosen",
        ),
        (
            ("variant=plain", "+circuits@workloads.a.circuits=ising"),
            "variants: they change the primitive of the top level, not those of the workloads a;",
        ),
    ],
)
def test_a_variant_that_is_unknown_or_has_no_effect_is_refused(
    load_spec: Load, overrides: tuple[str, ...], problem: str
):
    with pytest.raises(ConfigError, match=f"^{re.escape(problem)}"):
        load_spec(*TWO, *overrides)


def test_a_variant_of_an_experiment_without_any_is_refused(load_spec: Load):
    with pytest.raises(ConfigError, match="allowed: none, because no variants are declared"):
        load_spec("experiment=ising", "variant=plain")


def test_a_key_of_a_variant_that_is_not_declared_is_refused(load_spec: Load):
    comparison = ("experiment=error_mitigation", "variant=zne")
    with pytest.raises(ConfigError) as caught:
        load_spec(*comparison, "variants.zne.precision=0.3", "variants.zme.precision=0.2")
    assert str(caught.value) == (
        "variants.zme: no such variant; did you mean 'zne'? declared: bare, dd, trex, zne; to "
        "declare one more: variants.zme={...}"
    )
    # By Hydra's own composition, too.
    with pytest.raises(ConfigError, match=r"^variants\.zme: no such variant"):
        load_spec(*comparison, "+variants.zme.precision=0.2", "hydra.job.name=other")
    new = ("variants.zme={precision:0.2}", "variants.zme.options.resilience_level=1")
    assert load_spec(*comparison, *new, "variant=zme").workloads[0].primitive.precision == 0.2


def test_a_default_that_every_variant_sets_is_no_option_without_effect(load_spec: Load):
    both = "variants={a:{precision:0.1,options:{}},b:{precision:0.2}}"
    assert load_spec("experiment=ising", both, "variant=b").workloads[0].primitive.precision == 0.2


@pytest.mark.parametrize(
    ("config", "declared"),
    [
        ({}, {}),
        ({"variants": {}}, {}),
        ({"variants": 3}, {}),
        ({"variants": {"a": {}}, "variant": None}, {"zip": {"variant": ["a"]}}),
    ],
)
def test_no_variants_are_swept_where_there_are_none_or_a_block_has_some(
    config: dict[str, Any], declared: dict[str, Any]
):
    blocks = declared_blocks(SweepNode.model_validate(declared), 0)
    assert variant_blocks(config, blocks) == []


def test_all_variants_are_swept_or_the_one_that_is_chosen():
    (block,) = variant_blocks({"variants": {"b": {}, "a": {}}}, [])
    assert [row.text for row in block.rows] == ["variant=b", "variant=a"]
    (block,) = variant_blocks({"variants": {"b": {}, "a": {}}, "variant": "a"}, [])
    assert [row.text for row in block.rows] == ["variant=a"]


def test_variants_without_a_primitive_are_refused(load_spec: Load):
    with pytest.raises(ConfigError, match=r"^primitive\.kind: a value is needed"):
        load_spec("circuits=ghz", "variants={a:{shots:1}}", "variant=a")
    spec = load_spec("circuits=ghz", "variants={a:{kind:sampler,shots:1}}", "variant=a")
    assert spec.workloads[0].primitive.shots == 1
