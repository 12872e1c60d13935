"""Names that Git declares no more stay known; what is declared again is not carried."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ingest.vocabulary import Admitted, Vocabulary
from tests.fakes.ingest_world import APP, desired
from tests.unit.ingest.test_open_vocabulary import GOOD
from wire.desired import Desired, Release, Version, from_json, to_json
from wire.known import VERSIONS_MAX, carried_on, vanished, versions_of

BEFORE = desired()
DIGEST = "sha256:" + "0" * 64


def state(releases: tuple[Release, ...], before: Desired) -> Desired:
    now = replace(before, releases=releases, known=())
    return replace(now, known=carried_on(before, now))


def is_taken(now: Desired, release: Release, version: str) -> bool:
    context = replace(GOOD, app_id=release.app_id, model_id=release.model_id, model_version=version)
    admitted = Vocabulary(from_json(to_json(now))).check(context)
    if not isinstance(admitted, Admitted):
        return False
    return not admitted.in_rollout or release in now.releases


def test_uploads_of_a_release_that_vanished_are_taken_and_in_no_rollout() -> None:
    words, scene = BEFORE.releases
    now = state((scene,), BEFORE)

    assert vanished(BEFORE, now) == [words]
    assert all(is_taken(now, words, version) for version in versions_of(words))
    admitted = Vocabulary(now).check(GOOD)
    assert isinstance(admitted, Admitted)
    assert (admitted.in_rollout, admitted.class_groups) == (False, 0)


def test_a_stable_version_that_was_replaced_is_taken() -> None:
    words, scene = BEFORE.releases
    now = state((replace(words, stable=Version("3.0", DIGEST), rollout=None), scene), BEFORE)

    assert is_taken(now, words, words.stable.version)
    assert is_taken(now, words, "3.0")
    assert not is_taken(now, words, "never")


def test_app_versions_of_an_app_that_the_policy_dropped_are_taken_as_they_are() -> None:
    now = replace(BEFORE, releases=(), policy=replace(BEFORE.policy, app_versions={}))
    now = replace(now, known=carried_on(BEFORE, now))

    admitted = Vocabulary(now).check(GOOD)

    assert isinstance(admitted, Admitted)
    assert admitted.folded == ()


def test_what_is_declared_again_is_not_carried_on() -> None:
    gone = state((), BEFORE)

    assert state(BEFORE.releases, gone).known == ()


names = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3, unique=True)
histories = st.lists(
    st.dictionaries(st.sampled_from(["m1", "m2", "m3"]), names), min_size=1, max_size=6
)


@given(histories)
def test_every_name_ever_declared_is_known_over_any_history(
    history: list[dict[str, list[str]]],
) -> None:
    now = replace(BEFORE, releases=(), known=())
    ever: set[tuple[str, str]] = set()
    for models in history:
        releases = tuple(
            Release(
                m, f"{m}.yaml", APP, m, "o", "c", "p", Version(v[0], DIGEST), None, tuple(v[1:])
            )
            for m, v in sorted(models.items())
        )
        ever |= {(r.model_id, v) for r in releases for v in versions_of(r)}
        now = state(releases, now)

    declared = [(r.model_id, v) for r in now.releases for v in versions_of(r)]
    carried = [(k.model_id, v) for k in now.known for v in k.versions]
    assert set(declared) | set(carried) == ever
    assert not set(declared) & set(carried)
    assert len(carried) == len(set(carried))


def test_what_is_carried_on_is_bounded() -> None:
    now = replace(BEFORE, releases=(), known=())
    for i in range(3 * VERSIONS_MAX):
        release = Release("m", "m.yaml", APP, "m", "o", "c", "p", Version(f"{i}", DIGEST))
        now = state((release,), now)

    assert len(now.known[0].versions) == VERSIONS_MAX
    assert now.known[0].versions[0] == f"{3 * VERSIONS_MAX - 2}"
