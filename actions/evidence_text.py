"""A verdict's arithmetic in words and figures, for commit messages and alerts."""

import math
from typing import Final

from actions.manifest_edit import rfc3339
from analytics.types import Arithmetic, Verdict
from wire.pb.registry import METRICS

STRATA_SHOWN: Final = 3
_CATEGORIES: Final = frozenset(m.name for m in METRICS if m.type == "category")


def window_end_ms(verdict: Verdict) -> int:
    """End of the window whose close gave the verdict; milliseconds of log time."""
    return verdict.window_start_ms + verdict.window_ms


def effect(arithmetic: Arithmetic) -> str:
    """The effect with its interval, in the unit of its kind of metric."""
    spelled = _variation if arithmetic.metric in _CATEGORIES else _ratio
    if math.isnan(arithmetic.effect):
        return "not estimated"
    estimate = spelled(arithmetic.effect)
    if math.isnan(arithmetic.effect_low) or math.isnan(arithmetic.effect_high):
        return estimate
    return f"{estimate} ({spelled(arithmetic.effect_low)} to {spelled(arithmetic.effect_high)})"


def _ratio(value: float) -> str:
    return f"{100 * value:+.1f} %"


def _variation(value: float) -> str:
    return f"{value:.3f} of the class mass moved"


def margin(arithmetic: Arithmetic) -> str:
    """How much worse is still tolerated."""
    if arithmetic.metric in _CATEGORIES:
        return f"{arithmetic.margin:g} of the class mass"
    return f"{100 * arithmetic.margin:g} %"


def strata(arithmetic: Arithmetic) -> str:
    """The strata that speak loudest, with their share of the winning bet's evidence."""
    loudest = sorted(arithmetic.strata.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{one_line(name)} {100 * value:.0f} %" for name, value in loudest[:STRATA_SHOWN]]
    return ", ".join(shown) or "none named"


def statistic_lines(verdict: Verdict) -> list[tuple[str, str]]:
    """Label and value, line by line: enough to recompute the decision by hand."""
    a = verdict.arithmetic
    end = rfc3339(window_end_ms(verdict))
    worse = f"ln E = {a.log_e_equal_sup:.2f}, threshold {a.log_threshold_equal:.2f}"
    enough = f"ln E = {a.log_e_margin_sup:.2f}, threshold {a.log_threshold_margin:.2f}"
    lines = [
        ("worse", f"{worse} (alpha {a.alpha:g}, attempt {a.attempt})"),
        ("by enough", f"{enough} (margin {margin(a)})"),
        ("units", f"{a.units_candidate:,} candidate, {a.units_control:,} control"),
        ("windows", f"{a.windows} of {verdict.window_ms / 1000:g} s, the last to {end}"),
        ("winning bet", one_line(a.bet) or "none"),
        ("top strata", strata(a)),
        ("effect", effect(a)),
    ]
    if a.named_cohorts:
        lines.append(("cohorts", ", ".join(one_line(c) for c in a.named_cohorts)))
    return lines


def one_line(text: str) -> str:
    """`text` without line breaks or control characters: it must not forge a trailer."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
