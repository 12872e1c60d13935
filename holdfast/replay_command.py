"""``holdfast replay``: what the evidence says of recorded runs."""

import math
from pathlib import Path

from holdfast.output import give, tell
from holdfast.replay import UNEQUAL, Judgement, ReplayPlan, ReplayResult, replay_runs
from sdk_stub.recorded import read_runs
from sdk_stub.replay import DEVICE

RECORDINGS = "mlperf_mobile"
_FIGURES = (
    "alpha",
    "log_e_equal",
    "log_e_equal_sup",
    "log_threshold_equal",
    "log_e_margin",
    "log_e_margin_sup",
    "log_threshold_margin",
    "margin",
    "effect",
    "effect_low",
    "effect_high",
    "assignment_log_e",
)


def run_replay(
    data: Path, scenario: str, *, seed: int, stratified: bool, device: str | None, as_json: bool
) -> int:
    """Replay a scenario of the recordings in `data`, or in its folder ``mlperf_mobile``; 0."""
    folder = data / RECORDINGS if (data / RECORDINGS).is_dir() else data
    plan = ReplayPlan(
        scenario=scenario,
        seed=seed,
        stratified=stratified,
        device=device or DEVICE,
        enrols_evenly=scenario == UNEQUAL,
    )
    tell(f"reading the recorded runs in {folder}")
    runs = read_runs(folder)
    tell(f"replaying {scenario} in {plan.windows} windows")
    result = replay_runs(runs, plan)
    give(as_record(result), as_json=as_json, text=_text(result))
    return 0


def as_record(result: ReplayResult) -> dict[str, object]:
    """The contract of ``holdfast replay --json``. What is not a finite number is null."""
    plan = result.plan
    return {
        "scenario": plan.scenario,
        "seed": plan.seed,
        "stratified": plan.stratified,
        "device": plan.device,
        "uploads": result.uploads,
        "uploads_refused": result.refused,
        **_judgement(result.judged),
        "metrics": {metric: _judgement(one) for metric, one in result.alone.items()},
    }


def _judgement(judged: Judgement) -> dict[str, object]:
    a = judged.arithmetic
    figures = {name: getattr(a, name) for name in _FIGURES}
    return {
        "verdict": judged.outcome.value,
        "metric": a.metric,
        "reason": a.reason,
        "windows": a.windows,
        "units_candidate": a.units_candidate,
        "units_control": a.units_control,
        "breach_window": judged.breach_window,
        **{name: value if math.isfinite(value) else None for name, value in figures.items()},
    }


def _text(result: ReplayResult) -> str:
    plan, judged = result.plan, result.judged
    strata = "vendors apart" if plan.stratified else "vendors not told apart"
    lines = [
        "",
        f"{plan.scenario}, seed {plan.seed}, {strata}: {result.uploads:,} recorded inferences, "
        "each as one installation.",
        _sentence(judged),
        "",
        "Each guardrail alone, with its own share of alpha:",
        *(_line(metric, one) for metric, one in result.alone.items()),
    ]
    if plan.scenario == UNEQUAL:
        lines += [
            "",
            "Both arms enrol evenly here: the arms that ran are unequal on purpose,",
            "and the assignment check would drop the strata before they show their use.",
        ]
    return "\n".join(lines)


def _sentence(judged: Judgement) -> str:
    a = judged.arithmetic
    if judged.breach_window is None:
        return f"No rollback: {judged.outcome.value}, {a.reason}, after {a.windows} windows."
    return (
        f"Rollback: {a.metric}, after {judged.units:,} units "
        f"({a.units_candidate:,} candidate, {a.units_control:,} control) "
        f"in {judged.breach_window} windows."
    )


def _line(metric: str, judged: Judgement) -> str:
    a = judged.arithmetic
    return (
        f"  {metric:<18} {judged.outcome.value:<13} {judged.units:>8,} units   "
        f"worse: ln E {a.log_e_equal_sup:6.2f} of {a.log_threshold_equal:.2f}   "
        f"by the margin: {a.log_e_margin_sup:6.2f} of {a.log_threshold_margin:.2f}"
    )
