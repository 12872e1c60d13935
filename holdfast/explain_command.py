"""``holdfast explain``: a verdict's arithmetic, step by step, as it was judged."""

from collections.abc import Mapping
from math import exp

Row = Mapping[str, object]


def explanation(row: Row) -> str:
    """A verdict as text. `row` is one of `hf.verdicts`, its arithmetic decoded."""
    a = row["arithmetic"]
    assert isinstance(a, dict), "queries.verdict decodes it"  # noqa: S101
    lines = [
        f"{row['outcome']}: {row['model_id']} {row['candidate_version']} against "
        f"{row['stable_version']}, rollout {row['rollout_id']} of app {row['app_id']}",
        f"window from {row['window_start']} of {row['window_s']} s; "
        f"{a['windows']} windows judged so far",
        "",
        f"metric          {a['metric']} (winning bet: {a['bet'] or 'none'})",
        f"units           {a['units_candidate']:,} candidate, {a['units_control']:,} control; "
        "one bet per installation",
        f"attempt         {a['attempt']}: alpha = 6 alpha0 / (pi^2 a^2) = {a['alpha']:.3g}",
        "",
        "worse at all?   sup ln E_0 >= ln(1/alpha)",
        _compared(a["log_e_equal_sup"], a["log_threshold_equal"]),
        f"worse by more than the margin ({a['margin']:.0%})?   sup ln E_d >= ln(1/alpha_margin)",
        _compared(a["log_e_margin_sup"], a["log_threshold_margin"]),
        "",
        _effect(a),
        _strata(a),
        _others(a),
        f"assignment      ln E = {a['assignment_log_e']:.2f} "
        f"(fires at {a['log_threshold_equal']:.2f}: then nothing is concluded)",
        f"reason          {a['reason']}",
        "",
        f"verdict         {row['verdict_id']}   incident {row['incident_id']}",
        f"input sha256    {row['input_sha256']}",
        f"policy sha256   {row['policy_sha256']}",
        "The same log gives the same numbers, bit for bit. What is proven: docs/evidence.md.",
    ]
    return "\n".join(line for line in lines if line is not None)


def _compared(value: float, threshold: float) -> str:
    reached = "reached" if value >= threshold else "not reached"
    odds = f"E = {exp(min(value, 700)):.3g}"
    return f"                {value:.2f} against {threshold:.2f}: {reached} ({odds})"


def _effect(a: Mapping[str, object]) -> str:
    effect, low, high = a["effect"], a["effect_low"], a["effect_high"]
    if not isinstance(effect, float):
        return "effect          not estimated"
    low_text = f"{low:+.1%}" if isinstance(low, float) else "unbounded"
    high_text = f"{high:+.1%}" if isinstance(high, float) else "unbounded"
    return f"effect          {effect:+.1%} ({low_text} to {high_text}, asymptotic)"


def _strata(a: Mapping[str, object]) -> str | None:
    strata = a["strata"]
    if not isinstance(strata, dict) or not strata:
        return None
    top = sorted(strata.items(), key=lambda item: -item[1])[:5]
    return "top strata      " + ", ".join(f"{name} {share:.2f}" for name, share in top)


def _others(a: Mapping[str, object]) -> str | None:
    metrics = a["metrics"]
    if not isinstance(metrics, dict) or not metrics:
        return None
    # a day block that no phone has reached yet says nothing
    told = {k: v for k, v in metrics.items() if isinstance(v, float) and "@" not in k}
    listed = [f"{k} {v:.2f}" for k, v in sorted(told.items())]
    return "all guardrails  " + "\n                ".join(listed)
