"""The manifests' specs as typed values, in the manifests' own words (camelCase outside)."""

import msgspec

from analytics.evidence.spec import USUAL_RULES


class Form(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A mapping of a manifest."""


class VersionForm(Form):
    """A version and its artefact."""

    version: str
    digest: str


class RolloutForm(Form):
    """``spec.rollout`` of a ModelRelease."""

    id: str
    attempt: int
    step: int
    share: float
    salt: str
    control: str = "plain"
    hold_until: str = ""


class ReleaseForm(Form):
    """``spec`` of a ModelRelease."""

    app_id: str
    model_id: str
    owner: str
    cost_center: str
    project: str
    stable: VersionForm
    known_versions: tuple[str, ...] = ()
    candidate: VersionForm | None = None
    rollout: RolloutForm | None = None
    strata: tuple[str, ...] = ("platform", "region", "device_tier")
    guardrails: tuple[str, ...] = ()
    class_groups: int = 0


class GuardrailForm(Form):
    """One of ``spec.guardrails`` of a Policy."""

    metric: str
    weight: float
    margin: float


class FreezeForm(Form):
    """One of ``spec.gate.freezes`` of a Policy."""

    start: str
    end: str


class GateForm(Form):
    """``spec.gate`` of a Policy."""

    dry_run: bool
    cooldown_ms: int
    rollbacks_per_day: int
    concurrent_rollbacks_max: int
    hold_ms: int
    freezes: tuple[FreezeForm, ...] = ()


class EvidenceForm(Form):
    """``spec.evidence`` of a Policy: what a breach must stand on besides its e-values."""

    breach_units_min: int = USUAL_RULES.units_min
    breach_windows_min: int = USUAL_RULES.windows_min
    factor_max: float = USUAL_RULES.factor_max
    rare_share: float = USUAL_RULES.rare_share


class UnitsForm(Form):
    """``spec.units``: what makes a unit believed."""

    proof: str = "none"


class PolicyForm(Form):
    """``spec`` of a Policy: no threshold of the error rates has a default."""

    alpha: float
    alpha_margin: float
    window_ms: int
    accepted_age_ms: int
    observation_ms: int
    cohort_ms: int
    silence_grace_ms: int
    drift_window_ms: int
    regions: tuple[str, ...]
    app_versions: dict[str, tuple[str, ...]]
    sdk_versions: tuple[str, ...]
    guardrails: tuple[GuardrailForm, ...]
    gate: GateForm
    evidence: EvidenceForm = msgspec.field(default_factory=EvidenceForm)
    units: UnitsForm = msgspec.field(default_factory=UnitsForm)


class PricesForm(Form):
    """One of ``spec.prices`` of a RateCard."""

    effective_from: str
    currency: str
    cloud_call_micros: int
    cellular_gb_micros: int
    egress_gb_micros: int
    energy_kwh_micros: int


class RateCardForm(Form):
    """``spec`` of a RateCard."""

    prices: tuple[PricesForm, ...]
