"""Many manifests in one file: read, edited one by one, and looked at together."""

from collections.abc import Iterator

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from yaml.events import Event

from actions.desired_files import BrokenManifestsError, read_desired
from actions.manifest_edit import find_offer, not_withdrawable, withdraw
from actions.manifest_objects import objects_of
from actions.yaml_text import Path, plain_values
from tests.fakes.gitops import FILES, PATH, RELEASE
from wire.errors import PermanentError

HOLD_MS = 1_794_700_800_000
FORMS = ("documents", "list", "json", "bare list", "nested lists")


def release(number: int, share: str = "share: 0.2") -> str:
    text = RELEASE.replace("next-word", f"m{number}").replace("share: 0.2", share)
    return text.split("\n", 1)[1] if text.startswith("#") else text


def together(texts: list[str], form: str) -> bytes:
    """The manifests in one file."""
    if form == "documents":
        return "---\n".join(texts).encode()
    items = "".join("- " + text.replace("\n", "\n  ").rstrip(" ") for text in texts)
    if form == "bare list":
        return items.encode()
    if form == "list":
        return f"apiVersion: v1\nkind: List\nitems:\n{items}".encode()
    flow = [yaml.safe_dump(yaml.safe_load(text), default_flow_style=True) for text in texts]
    if form == "json":
        return ("{kind: List, items: [" + ", ".join(flow) + "]}").encode()
    return ("[" * 3 + "{kind: List, items: [" * 8 + ", ".join(flow) + "]}" * 8 + "]" * 3).encode()


def readings_of(content: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often libyaml begins with a file of this kind until its state is there."""
    begun = []
    parse = yaml.parse

    def counted(text: str, Loader: type[yaml.CSafeLoader]) -> Iterator[Event]:  # noqa: N803 - its
        begun.append(1)
        return parse(text, Loader=Loader)

    with monkeypatch.context() as patched:
        patched.setattr(yaml, "parse", counted)
        others = {path: body for path, body in FILES.items() if path != PATH}
        read_desired({**others, "many.yaml": content}, commit="c")
    return len(begun)


@pytest.mark.parametrize("form", FORMS)
def test_manifests_are_read_wherever_in_the_file_they_stand(form: str) -> None:
    others = {path: body for path, body in FILES.items() if path != PATH}
    content = together([release(i) for i in range(7)], form)

    found = read_desired({**others, "many.yaml": content}, commit="c")

    assert [r.model_id for r in found.releases] == [f"m{i}" for i in range(7)]


@pytest.mark.parametrize("form", FORMS)
def test_many_manifests_in_a_file_are_looked_at_as_often_as_one(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = readings_of(together([release(0)], form), monkeypatch)
    many = readings_of(together([release(i) for i in range(40)], form), monkeypatch)

    assert many == one


def refused_alone(content: bytes, at: Path) -> PermanentError | None:
    try:
        withdraw(content, int(at[0]), hold_until_ms=HOLD_MS, place=at[1:])
    except PermanentError as error:
        return error
    return None


SHARES = ("share: 0.2", "share: 0.2", "share: 0.2", "share: &s 0.2", "share: !!float 0.2")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(SHARES), min_size=1, max_size=6), st.sampled_from(FORMS[:3]))
def test_what_is_said_of_all_is_what_each_one_would_say(shares: list[str], form: str) -> None:
    content = together([release(i, share) for i, share in enumerate(shares)], form)
    placed = [(p.document, *p.place) for p in objects_of(plain_values(content))]

    refused = dict(not_withdrawable(content, placed, hold_until_ms=HOLD_MS))

    for at in placed:
        alone = refused_alone(content, at)
        assert str(refused.get(at)) == str(alone)


@pytest.mark.parametrize("sharer", [0, 3, 5])
def test_one_whose_edit_would_reach_elsewhere_is_found_among_many(sharer: int) -> None:
    texts = [release(i) for i in range(6)]
    texts[sharer] = texts[sharer].replace("rollout:", "rollout: &r") + "  again: *r\n"
    content = together(texts, "documents")

    found = list(not_withdrawable(content, [(i,) for i in range(6)], hold_until_ms=HOLD_MS))

    assert [(at, error.code) for at, error in found] == [((sharer,), "edit_not_exact")]


def test_each_of_many_is_rolled_back_alone() -> None:
    content = together([release(i) for i in range(5)], "list")
    offer = find_offer(content, app_id="keyboard", model_id="m3")
    assert offer is not None

    after = withdraw(content, offer.document, hold_until_ms=HOLD_MS, place=offer.place)

    shares = [p.value["spec"]["rollout"]["share"] for p in objects_of(plain_values(after))]
    assert shares == [0.2, 0.2, 0.2, 0, 0.2]


def test_thousands_of_mistakes_between_manifests_stay_small() -> None:
    apps = "".join(f'    a{i}: ["1.0.0"]\n' for i in range(3000))
    policy = FILES["policy.yaml"].replace(b"  appVersions:\n", f"  appVersions:\n{apps}".encode())
    texts = [release(i).replace("appId: keyboard", "appId: other") for i in range(150)]
    files = {"policy.yaml": policy, "rates.yaml": FILES["rates.yaml"]}

    with pytest.raises(BrokenManifestsError) as broken:
        read_desired({**files, "many.yaml": together(texts, "documents")}, commit="c")

    assert "and 2981 more" in str(broken.value)
    assert len(str(broken.value)) < 100_000
