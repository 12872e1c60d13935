"""No number of an alert is told in more than two digits, whatever it says."""

import re
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from analytics.types import Arithmetic, Outcome, Verdict, VerdictKind
from streams.rows import verdict_rows
from streams.told_alerts import told_of_alert

NUMBERS = st.floats(-1e15, 1e15)
VERDICT = Verdict(
    verdict_id="v", incident_id="i", kind=VerdictKind.COST, outcome=Outcome.BREACH, app_id="a",
    model_id="m", rollout_id="", candidate_version="", stable_version="", window_start_ms=0,
    window_ms=1, input_sha256="", policy_sha256="", arithmetic=Arithmetic(),
)  # fmt: skip


def digits(number: float) -> int:
    """Significant digits."""
    return len(Decimal(repr(number)).normalize().as_tuple().digits)


@given(st.lists(NUMBERS, min_size=3, max_size=3), st.integers(0, 10**12), st.text())
def test_numbers_are_told_in_two_digits(numbers: list[float], count: int, words: str) -> None:
    judged = Arithmetic(
        metric="cost", units_candidate=count, effect=numbers[0], effect_low=numbers[1],
        metrics={"observed_micros": numbers[2]}, reason=f"{count} of {count / 7:.3f} {words}",
    )  # fmt: skip

    told = told_of_alert(judged)

    said = [told.effect, told.effect_low, told.units_candidate, *told.metrics.values()]
    said += [float(found) for found in re.findall(r"[0-9]+(?:\.[0-9]+)?", told.reason)]
    assert all(digits(number) <= 2 for number in said)
    assert told.metric == judged.metric


def test_alerts_alone_are_told_so() -> None:
    """A refused manifest says its limit as it is, a release its evidence."""
    rows = [
        VERDICT,
        replace(VERDICT, outcome=Outcome.ERROR),
        replace(VERDICT, kind=VerdictKind.RELEASE),
    ]

    assert [bool(told) for told in verdict_rows(rows)["told"]] == [True, False, False]  # type: ignore[union-attr]  # a list
