"""A release and a policy -> what its rollout is judged on."""

from typing import Final

import numpy as np

from analytics.buckets import bucket_of
from analytics.evidence.spec import CohortTree, EvidenceSpec, Law
from streams.series import DAYS, LABEL_METRIC, SILENCE_METRIC, UNIT_DAY_METRICS
from wire.desired import Guardrail, Policy, Release, guardrails_of
from wire.errors import PermanentError
from wire.pb.registry import METRICS

DAY_WEIGHTS: Final = dict(zip(DAYS, (0.7, 0.1, 0.1, 0.1), strict=True))
"""How a late-effects guardrail splits its weight over day blocks; fixed before any data."""
_STEPS: Final = 8
_EPSILONS: Final = 4
_UNIT_DISTRIBUTION_HIGH: Final = 1e10  # mJ or bytes of an installation's first day
_REGISTRY: Final = {m.name: m for m in METRICS}
_UNIT_LAWS: Final = {
    "unit.error": Law.RATE,
    "unit.crash": Law.RATE,
    "unit.energy": Law.DISTRIBUTION,
    "unit.data": Law.DISTRIBUTION,
    LABEL_METRIC: Law.RATE,
    SILENCE_METRIC: Law.RATE,
}
_LAWS: Final = {"distribution": Law.DISTRIBUTION, "category": Law.CATEGORY, "rate": Law.RATE}


def specs_of(release: Release, policy: Policy) -> tuple[EvidenceSpec, ...]:
    """The betting processes of one rollout; their weights sum to 1.

    Raises
    ------
    PermanentError
        ``no_guardrail_applies``.
    """
    chosen = guardrails_of(release, policy)
    if not chosen:
        raise PermanentError(
            "no_guardrail_applies",
            "no guardrail of the policy applies to this release",
            field="spec.guardrails",
            accepted="at least one that applies; prediction.class needs classGroups above 0",
        )
    total = sum(g.weight for g in chosen)
    return tuple(
        _spec(g, day, g.weight / total * share, release)
        for g in chosen
        for day, share in _days(g.metric).items()
    )


def tree_of(release: Release, policy: Policy) -> CohortTree:
    """The cohort tree, sized by the vocabularies, so that weights are fixed before any data."""
    sizes = {"platform": 3, "region": len(policy.regions), "device_tier": 3}
    unknown = [name for name in release.strata if name not in sizes]
    if unknown:
        raise PermanentError(
            "stratum_unknown",
            f"{release.name} is stratified by {unknown[0]}",
            field="spec.strata",
            accepted=", ".join(sizes),
        )
    return CohortTree(
        attributes=("step", *release.strata, "epsilon"),
        sizes=(_STEPS, *(sizes[name] for name in release.strata), _EPSILONS),
    )


def _days(metric: str) -> dict[int, float]:
    return DAY_WEIGHTS if metric in UNIT_DAY_METRICS else {0: 1.0}


def _spec(guardrail: Guardrail, day: int, weight: float, release: Release) -> EvidenceSpec:
    law = _UNIT_LAWS.get(guardrail.metric)
    high = _UNIT_DISTRIBUTION_HIGH
    if law is None:
        metric = _REGISTRY[guardrail.metric]
        law, high = _LAWS[metric.type], metric.high
    cells = {
        Law.RATE: 2,
        Law.CATEGORY: max(release.class_groups, 2),
        Law.DISTRIBUTION: int(bucket_of(np.array([high], np.float32))[0]) + 1,
    }[law]
    return EvidenceSpec(
        metric=guardrail.metric,
        day=day,
        law=law,
        weight=weight,
        margin=guardrail.margin,
        cells=cells,
    )
