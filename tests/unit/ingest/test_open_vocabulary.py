"""What ships before it is registered is taken as `other`, in no rollout; a stranger's words go."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.vocabulary import EPSILONS, OTHER, Admitted, Vocabulary
from tests.fakes.ingest_world import APP, desired
from wire.context import Context
from wire.errors import PermanentError

GOOD = Context(
    app_id=APP,
    app_version="1.0.0",
    platform="android",
    os_major=14,
    device_tier="mid",
    region="DE",
    network="wifi",
    model_id="next-word",
    model_version="2.0",
    runtime="tflite",
    placement="device",
    sdk_version="0.1.0",
    rollout_id="next-word-2",
    step=3,
    arm="candidate",
)
OPEN = ("app_version", "sdk_version", "region")
text = st.text(max_size=40)


def registered(name: str) -> tuple[str, ...]:
    policy = desired().policy
    return {
        "app_version": policy.app_versions[APP],
        "sdk_version": policy.sdk_versions,
        "region": policy.regions,
    }[name]


@given(st.dictionaries(st.sampled_from(OPEN), text, min_size=1))
def test_any_open_ended_name_is_taken_and_no_stranger_is_kept(said: dict[str, str]) -> None:
    admitted = Vocabulary(desired()).check(replace(GOOD, **said))  # type: ignore[arg-type]  # str

    assert isinstance(admitted, Admitted)
    strange = tuple(n for n in OPEN if n in said and said[n] not in registered(n))
    assert admitted.folded == strange
    assert admitted.in_rollout == (not strange)
    assert not admitted.blanked
    for name in OPEN:
        kept = getattr(admitted.context, name)
        assert kept == OTHER if name in strange else kept in registered(name)
    if strange:
        rollout = (admitted.context.rollout_id, admitted.context.arm, admitted.context.step)
        assert rollout == ("", "", 0)


@given(st.lists(st.tuples(text, text, text), min_size=1, max_size=30))
def test_however_many_names_are_said_the_contexts_that_are_kept_are_bounded(
    said: list[tuple[str, str, str]],
) -> None:
    vocabulary = Vocabulary(desired())

    kept = set()
    for names in said:
        context = replace(GOOD, **dict(zip(OPEN, names, strict=True)))  # type: ignore[arg-type]
        admitted = vocabulary.check(context)
        assert isinstance(admitted, Admitted)
        kept.add(admitted.context)

    bound = 1
    for name in OPEN:
        bound *= len(registered(name)) + 1
    assert len(kept) <= bound


def test_what_is_registered_counts_from_then_on() -> None:
    before = desired()
    policy = replace(before.policy, app_versions={APP: ("1.0.0", "5.1.1")})
    context = replace(GOOD, app_version="5.1.1")
    early = Vocabulary(before).check(context)
    late = Vocabulary(replace(before, policy=policy)).check(context)

    assert isinstance(early, Admitted)
    assert isinstance(late, Admitted)
    assert (early.in_rollout, late.in_rollout) == (False, True)
    assert late.context == replace(context, epsilon=0.0)


@pytest.mark.parametrize("name", ["app_id", "model_id", "model_version"])
def test_what_rows_mean_nothing_without_is_never_folded(name: str) -> None:
    found = Vocabulary(desired()).check(replace(GOOD, **{name: "of tomorrow"}))  # type: ignore[arg-type]

    assert isinstance(found, PermanentError)


def test_a_rollout_that_does_not_stand_is_counted_as_that() -> None:
    found = Vocabulary(desired()).check(replace(GOOD, rollout_id="gone", region="ES"))

    assert isinstance(found, Admitted)
    assert found.blanked
    assert found.folded == ("region",)


@given(
    st.floats(0, 100, width=32), st.integers(0, 999), st.sampled_from(["android", "ios", "other"])
)
def test_numbers_of_a_context_carry_few_bits(epsilon: float, os_major: int, platform: str) -> None:
    said = replace(GOOD, epsilon=epsilon, os_major=os_major, platform=platform)

    found = Vocabulary(desired()).check(said)

    if isinstance(found, PermanentError):
        assert found.code == "epsilon_out_of_bounds"
        return
    assert found.context.epsilon in EPSILONS
    assert found.context.os_major == 0 or platform != "other"
    assert found.context.os_major < 40


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_every_listed_epsilon_is_taken_as_a_phone_sends_it(epsilon: float) -> None:
    found = Vocabulary(desired()).check(replace(GOOD, epsilon=float(np.float32(epsilon))))

    assert not isinstance(found, PermanentError)
    assert found.context.epsilon == epsilon
