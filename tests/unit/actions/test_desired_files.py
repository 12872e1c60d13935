"""The manifests become the desired state, or every mistake is named with what is accepted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.desired_files import BrokenManifestsError, read_desired, time_ms
from tests.fakes.gitops import FILES, PATH, POLICY, RATE_CARD, RELEASE, START_MS
from wire.desired import Desired, Policy, Release


def read(**files: str) -> Desired:
    """`FILES` with some replaced: release, policy, rates, or others by name."""
    names = {"release": PATH, "policy": "policy.yaml", "rates": "rates.yaml"}
    changed = {names.get(name, f"{name}.yaml"): text.encode() for name, text in files.items()}
    return read_desired({**FILES, **changed}, commit="c0ffee", effective_ms=7)


def mistakes(**files: str) -> list[str]:
    with pytest.raises(BrokenManifestsError) as broken:
        read(**files)
    return [str(m) for m in broken.value.mistakes]


def test_manifests_become_releases_a_policy_and_prices_in_order_of_time() -> None:
    desired = read()

    (release,) = desired.releases
    assert isinstance(release, Release)
    assert release.path == PATH
    assert release.rollout is not None
    assert (release.rollout.share, release.rollout.candidate.version) == (0.2, "1.5.0")
    assert release.known_versions == ("1.3.0",)
    assert isinstance(desired.policy, Policy)
    assert desired.policy.gate.freezes[0][0] == time_ms("2026-12-24T00:00:00Z")
    assert [p.cloud_call_micros for p in desired.prices] == [250, 200]
    assert (desired.commit, desired.effective_ms) == ("c0ffee", 7)


def test_without_a_candidate_there_is_no_rollout() -> None:
    head, tail = RELEASE.split("  candidate:")
    text = head + "  rollout:" + tail.split("  rollout:")[1]

    assert read(release=text).releases[0].rollout is None


def test_a_time_may_be_written_with_or_without_quotes() -> None:
    for written in ("2026-11-01T00:00:00Z", '"2026-11-01T00:00:00Z"', "'2026-11-01T00:00:00.000Z'"):
        text = RELEASE.replace("    control: plain", f"    holdUntil: {written}")

        rollout = read(release=text).releases[0].rollout

        assert rollout is not None
        assert rollout.hold_until_ms == START_MS


def test_every_mistake_of_every_file_is_named_at_once() -> None:
    found = mistakes(
        release=RELEASE.replace("share: 0.2", "share: 0.7").replace("attempt", "atempt"),
        policy=POLICY.replace("alpha: ", "alhpa: "),
        rates=RATE_CARD.replace("USD", "dollars", 1),
    )

    places = [m.split(": ")[:3] for m in found]
    assert [PATH, "spec.rollout.share", "not acceptable; accepted"] in places
    assert [PATH, "spec.rollout.atempt", "unknown key; accepted"] in places
    assert [PATH, "spec.rollout.attempt", "missing; accepted"] in places
    assert ["policy.yaml", "spec.alhpa", "unknown key; accepted"] in places
    assert ["policy.yaml", "spec.alpha", "missing; accepted"] in places
    assert ["rates.yaml", "spec.prices[0].currency", "not acceptable; accepted"] in places
    assert "at most 0.5" in next(m for m in found if "rollout.share" in m)


@pytest.mark.parametrize("key", [line.split(":")[0] for line in POLICY.splitlines()[5:12]])
def test_no_threshold_or_clock_has_a_silent_default(key: str) -> None:
    text = "\n".join(line for line in POLICY.splitlines() if not line.startswith(f"{key}:"))

    assert mistakes(policy=text)[0].startswith(f"policy.yaml: spec.{key.strip()}: missing")


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("share: 0.2", "share: .nan", "spec.rollout.share"),
        ("share: 0.2", "share: .inf", "spec.rollout.share"),
        ("share: 0.2", "share: '0.2'", "spec.rollout.share"),
        ("share: 0.2", "share: true", "spec.rollout.share"),
        ("version: 1.4.0", "version: 1.4", "spec.stable.version"),
        ("version: 1.4.0", 'version: "1.4.0\\n"', "spec.stable.version"),
        ("modelId: next-word", "modelId: Next word, please", "spec.modelId"),
        ("control: plain", "control: placebo", "spec.rollout.control"),
        ("control: plain", "holdUntil: tomorrow", "spec.rollout.holdUntil"),
        ("control: plain", "holdUntil: 2026-13-01T00:00:00Z", "spec.rollout.holdUntil"),
        ("region, dev", "vendor, dev", "spec.strata[1]"),
        ("guardrails: []", "guardrails: [inference.energy]", "spec.guardrails[0]"),
        ("appId: keyboard", "appId: camera", "spec.appId"),
        ("version: 1.5.0", "version: 1.4.0", "spec.candidate.version"),
        ("sha256:0", "md5:0", "spec.stable.digest"),
        ("kind: ModelRelease", "kind: ModelRelaese", "kind"),
        ("holdfast.dev/v1", "holdfast.dev/v2", "apiVersion"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(old: str, new: str, place: str) -> None:
    assert old in RELEASE

    assert any(
        m.startswith(f"{PATH}: {place}: ") for m in mistakes(release=RELEASE.replace(old, new))
    )


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("inference.latency", "inference.latencies", "spec.guardrails[0].metric"),
        ("unit.silence", "inference.latency", "spec.guardrails[1].metric"),
        ("weight: 0.5", "weight: 0.6", "spec.guardrails"),
        ("2026-12-27", "2026-12-23", "spec.gate.freezes[0].end"),
        ("    holdMs: 1209600000\n", "", "spec.gate.holdMs"),
        ("dryRun: false", "dryRun: perhaps", "spec.gate.dryRun"),
    ],
)
def test_a_wrong_policy_is_named_with_its_place(old: str, new: str, place: str) -> None:
    assert old in POLICY

    assert any(
        m.startswith(f"policy.yaml: {place}: ") for m in mistakes(policy=POLICY.replace(old, new))
    )


def test_releases_must_not_repeat_a_name_a_model_or_a_rollout() -> None:
    found = mistakes(twin=RELEASE)

    for place in ("metadata.name", "spec.modelId", "spec.rollout.id"):
        assert any(f"{place}: also in {PATH}" in m for m in found)


def test_there_is_exactly_one_policy_and_at_most_one_rate_card() -> None:
    assert "2 Policies" in mistakes(second=POLICY)[0]
    assert "0 Policies" in mistakes(policy="a: 1\n")[0]
    assert "several RateCards" in mistakes(second=RATE_CARD)[0]
    assert read(rates="a: 1\n").prices == ()


def test_a_candidate_without_a_rollout_is_a_mistake() -> None:
    head, tail = RELEASE.split("  rollout:")

    found = mistakes(release=head + tail[tail.index("  strata") :])

    assert any("candidate without rollout" in m for m in found)


def test_broken_yaml_is_named_by_its_line_and_other_yaml_is_not_read() -> None:
    assert "line 4" in mistakes(release=RELEASE.replace("kind:", "kind: [", 1))[0]
    assert read(template="{{ if .Values.x }}\nkind: [\n") == read()


def test_a_billion_laughs_are_not_counted() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]

    assert "aliases" in mistakes(bomb="\n".join(lines) + "\n" + RELEASE)[0]


def test_deep_nesting_and_duplicate_keys_are_mistakes_not_crashes() -> None:
    assert "nested deeper" in mistakes(release=RELEASE + "  x: " + "[" * 5000 + "\n")[0]
    assert "duplicate key" in mistakes(release=RELEASE + "  classGroups: 11\n")[0]


def test_a_mistake_never_repeats_the_value() -> None:
    found = mistakes(release=RELEASE.replace("share: 0.2", "share: canary-secret"))

    assert not any("canary-secret" in m for m in found)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_state_or_a_list_of_mistakes(garbage: bytes) -> None:
    files = {**FILES, PATH: b"apiVersion: holdfast.dev/v1\n" + garbage}

    try:
        read_desired(files, commit="c")
    except BrokenManifestsError as broken:
        assert broken.mistakes  # noqa: PT017 - either outcome is right, nothing else is


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(RELEASE.splitlines()), st.text("ab:{}[]&*#'\"- \n|>", max_size=12))
def test_a_mangled_manifest_is_a_state_or_a_list_of_mistakes(line: str, instead: str) -> None:
    files = {**FILES, PATH: RELEASE.replace(line, instead, 1).encode()}

    try:
        assert read_desired(files, commit="c").policy
    except BrokenManifestsError as broken:
        assert broken.mistakes  # noqa: PT017 - either outcome is right, nothing else is


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("driftWindowMs: 900000", "driftWindowMs: 14400000", "spec.driftWindowMs"),
        ("margin: 0.05", "margin: 0", "spec.guardrails[0].margin"),
        ("margin: 0.1", "margin: 1.0e-300", "spec.guardrails[1].margin"),
        (
            "weight: 0.5, margin: 0.05",
            "weight: 1.0e-300, margin: 0.05",
            "spec.guardrails[0].weight",
        ),
        ("alpha: 0.0001", "alpha: 1.0e-300", "spec.alpha"),
        ("alphaMargin: 0.05", "alphaMargin: 5.0e-324", "spec.alphaMargin"),
        ("2026-12-27T00:00:00Z", "9999-12-31T23:59:59.999Z", "spec.gate.freezes[0].end"),
        ("2026-12-24T00:00:00Z", "0001-01-01T00:00:00Z", "spec.gate.freezes[0].start"),
    ],
)
def test_what_the_arithmetic_would_refuse_is_a_mistake_of_the_policy(
    old: str, new: str, place: str
) -> None:
    assert old in POLICY

    found = mistakes(policy=POLICY.replace(old, new, 1))

    assert any(m.startswith(f"policy.yaml: {place}: ") for m in found)


def test_a_rollout_that_no_guardrail_applies_to_is_a_mistake() -> None:
    head, tail = POLICY.split("  guardrails:\n")
    gate = tail[tail.index("  gate:") :]
    only = "  guardrails:\n    - {metric: prediction.class, weight: 1, margin: 0.05}\n"
    release = RELEASE.replace("classGroups: 10", "classGroups: 0")

    (found,) = mistakes(policy=head + only + gate, release=release)

    assert found.startswith(f"{PATH}: spec.guardrails: no guardrail of the policy applies")
    assert read(policy=head + only + gate).policy.guardrails[0].metric == "prediction.class"
