"""The gate: what an automatic rollback must pass."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from actions.gate import ALLOWED, DryRun, Held, PastRollback, decide
from tests.fakes.gitops import verdict
from wire.desired import Gate
from wire.times import DAY_MS

NOW = 1_793_500_000_000
OPEN = Gate(dry_run=False)


def past(incident: str, model: str, ago_ms: int) -> PastRollback:
    return PastRollback(incident, "keyboard", model, NOW - ago_ms)


def test_with_nothing_in_the_way_a_rollback_is_allowed() -> None:
    assert decide(verdict(), OPEN, [], at_ms=NOW) is ALLOWED


def test_a_dry_run_policy_lets_nothing_through_to_git() -> None:
    assert decide(verdict(), replace(OPEN, dry_run=True), [], at_ms=NOW) == DryRun()


def test_a_model_that_was_just_rolled_back_cools_down_until_a_named_time() -> None:
    held = decide(verdict(), OPEN, [past("other", "next-word", 1000)], at_ms=NOW)

    assert isinstance(held, Held)
    assert (held.reason, held.until_ms) == ("cooldown", NOW - 1000 + OPEN.cooldown_ms)
    again = decide(verdict(), OPEN, [past("other", "next-word", 1000)], at_ms=held.until_ms)
    assert again is ALLOWED


def test_a_second_try_of_the_same_incident_is_not_a_second_rollback() -> None:
    mine = [past(verdict().incident_id, "next-word", 1000)]

    assert decide(verdict(), replace(OPEN, rollbacks_per_day=1), mine, at_ms=NOW) is ALLOWED


def test_the_daily_cap_holds_until_the_oldest_of_the_day_is_a_day_old() -> None:
    gate = replace(OPEN, rollbacks_per_day=2, cooldown_ms=0)
    ago = [DAY_MS - 10, DAY_MS // 2, DAY_MS + 10]

    held = decide(verdict(), gate, [past(f"i{a}", "m", a) for a in ago], at_ms=NOW)

    assert held == Held("daily_cap", "2 rollbacks within 24 h; a person decides", NOW + 10)


def test_a_cap_of_zero_leaves_every_rollback_to_a_person() -> None:
    held = decide(verdict(), replace(OPEN, rollbacks_per_day=0), [], at_ms=NOW)

    assert isinstance(held, Held)
    assert held.reason == "daily_cap"


def test_many_models_at_once_look_like_broken_telemetry() -> None:
    gate = replace(OPEN, concurrent_rollbacks_max=2, rollbacks_per_day=99)
    others = [past("a", "autocorrect", 1000), past("b", "ranker", 2000)]

    held = decide(verdict(), gate, others, at_ms=NOW)

    assert isinstance(held, Held)
    assert (held.reason, held.until_ms) == ("blast_radius", NOW - 2000 + gate.cooldown_ms)
    assert decide(verdict(), gate, others[:1], at_ms=NOW) is ALLOWED


def test_nothing_is_committed_in_a_freeze_and_its_end_is_exclusive() -> None:
    gate = replace(OPEN, freezes=((NOW, NOW + 5),))

    held = decide(verdict(), gate, [], at_ms=NOW)

    assert held == Held("freeze", "a freeze of the policy is in force", NOW + 5)
    assert decide(verdict(), gate, [], at_ms=NOW + 5) is ALLOWED
    assert decide(verdict(), gate, [], at_ms=NOW - 1) is ALLOWED


pasts = st.lists(
    st.builds(
        PastRollback,
        st.sampled_from(["i1", "i2", "i3", "i4"]),
        st.just("keyboard"),
        st.sampled_from(["next-word", "ranker", "autocorrect"]),
        st.integers(NOW - 2 * DAY_MS, NOW),
    ),
    max_size=8,
)
gates = st.builds(
    Gate,
    dry_run=st.just(False),
    cooldown_ms=st.integers(0, DAY_MS),
    rollbacks_per_day=st.integers(1, 5),
    concurrent_rollbacks_max=st.integers(1, 3),
    freezes=st.lists(
        st.tuples(st.integers(NOW - 9, NOW), st.integers(NOW + 1, NOW + 9)), max_size=2
    ).map(tuple),
)


@given(gates, pasts)
def test_whatever_holds_names_a_later_time_and_ends_at_last(
    gate: Gate, rollbacks: list[PastRollback]
) -> None:
    at_ms = NOW
    for _ in range(20):
        held = decide(verdict(), gate, rollbacks, at_ms=at_ms)
        if held is ALLOWED:
            return
        assert isinstance(held, Held)
        assert held.until_ms > at_ms
        at_ms = held.until_ms

    raise AssertionError("held for ever")
