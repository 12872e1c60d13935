"""In whatever form a manifest stands: it is read, or it is a mistake; never nothing."""

import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from actions.desired_files import BrokenManifestsError, read_desired
from actions.manifest_documents import MISTAKES_MAX
from actions.manifest_edit import find_offer, withdraw
from actions.manifest_signs import could_hold
from tests.fakes.gitops import FILES, PATH, POLICY, RATE_CARD, RELEASE, desired
from wire.desired import Desired

VALUE = yaml.safe_load(RELEASE)
HOLD_MS = 1_794_700_800_000
LISTED = {"apiVersion": "v1", "kind": "List", "items": [VALUE]}


def outcome(content: bytes, name: str = PATH, last: Desired | None = None) -> str:
    """``read`` if the release is there, ``mistake`` if the file is named, else ``nothing``."""
    others = {path: body for path, body in FILES.items() if path != PATH}
    try:
        found = read_desired({**others, name: content}, commit="c", last=last)
    except BrokenManifestsError as error:
        named = [m for m in error.mistakes if m.file == name and m.accepted]
        return "mistake" if named == list(error.mistakes) else "mistake elsewhere"
    return "read" if found.releases else "nothing"


def replaced(old: str, new: str) -> bytes:
    assert old in RELEASE
    return RELEASE.replace(old, new).encode()


READ = {
    "JSON": json.dumps(VALUE).encode(),
    "JSON on many lines": json.dumps(VALUE, indent=2).encode(),
    "JSON with tabs": json.dumps(VALUE, indent="\t").encode(),
    "JSON with escapes": json.dumps({**VALUE, "spec": {**VALUE["spec"], "owner": "é 😀"}}).encode(),
    "flow style": yaml.safe_dump(VALUE, default_flow_style=True).encode(),
    "a byte order mark": b"\xef\xbb\xbf" + RELEASE.encode(),
    "a tag": replaced("apiVersion: ", "apiVersion: !!str "),
    "a tag on a mapping": replaced("spec:\n", "spec: !!map\n"),
    "an anchor": replaced("apiVersion: ", "apiVersion: &v "),
    "an alias": replaced("costCenter: AI-Mobile-001", "costCenter: &c AI").replace(
        b"project: keyboard", b"project: *c"
    ),
    "a merge key": replaced("  stable:\n", "  stable:\n    <<: {digest: x}\n"),
    "a folded block": replaced("apiVersion: holdfast.dev/v1", "apiVersion: >-\n  holdfast.dev/v1"),
    "a literal block": replaced("kind: ModelRelease", "kind: |-\n  ModelRelease"),
    "a value on the next line": replaced("apiVersion: ", "apiVersion:\n  "),
    "an escaped letter": replaced("apiVersion: holdfast", 'apiVersion: "\\x68oldfast').replace(
        b"dev/v1", b'dev/v1"', 1
    ),
    "an escaped line end": replaced(
        "apiVersion: holdfast.dev/v1", 'apiVersion: "hold\\\n  fast.dev/v1"'
    ),
    "an explicit key": replaced("apiVersion: holdfast.dev/v1", "? apiVersion\n: holdfast.dev/v1"),
    "quoted keys": replaced("apiVersion:", "'apiVersion' :").replace(b"kind:", b'"kind":'),
    "a list": yaml.safe_dump(LISTED).encode(),
    "a list of its own": yaml.safe_dump({**LISTED, "kind": "ModelReleaseList"}).encode(),
    "a list in a list": yaml.safe_dump({**LISTED, "items": [LISTED]}).encode(),
    "the second document": b"kind: Other\n---\n" + RELEASE.encode(),
    "a directive": b"%YAML 1.2\n---\n" + RELEASE.encode(),
    "ended lines of Windows": RELEASE.replace("\n", "\r\n").encode(),
}
MISTAKE = {
    "UTF-16 LE": b"\xff\xfe" + RELEASE.encode("utf-16-le"),
    "UTF-16 BE": b"\xfe\xff" + RELEASE.encode("utf-16-be"),
    "UTF-16 without a mark": RELEASE.encode("utf-16-le"),
    "UTF-32": RELEASE.encode("utf-32"),
    "Latin-1": replaced("team-keyboard", "\xe9quipe").decode().encode("latin-1"),
    "a tab": replaced("  appId", "\tappId"),
    "an unknown tag": replaced("apiVersion: ", "apiVersion: !vault "),
    "a template": b"{{- if .Values.on }}\n" + RELEASE.encode() + b"{{- end }}\n",
    "a conflict": b"<<<<<<< HEAD\n" + RELEASE.encode(),
    "half a file": RELEASE.encode()[: RELEASE.index("digest") + 3],
    "another version": replaced("holdfast.dev/v1", "holdfast.dev/v2"),
    "another case": replaced("holdfast.dev/v1", "Holdfast.dev/V1"),
    "a slip in the group": replaced("holdfast.dev/v1", "holdfast.deb/v1"),
    "a slip in the kind": replaced("ModelRelease", "ModelRelaese"),
    "a kind in lower case": replaced("kind: ModelRelease", "kind: modelrelease"),
    "no version": replaced("apiVersion: holdfast.dev/v1\n", ""),
    "a slip in the key": replaced("apiVersion:", "apiversion:"),
    "a list of versions": replaced("apiVersion: holdfast.dev/v1", "apiVersion: [holdfast.dev/v1]"),
    "a duplicate key": RELEASE.encode() + b"kind: Other\n",
    "an alias of itself": replaced("metadata:", "metadata: &m\n  labels: *m"),
    "a large file": RELEASE.encode() + b"#" * (300 << 10),
    "many nodes": RELEASE.encode() + b"x: [" + b"a," * 60_000 + b"]\n",
    "a share by alias": replaced("attempt: 1", "attempt: &s 1").replace(
        b"share: 0.2", b"share: *s"
    ),
    "a share with a tag": replaced("share: 0.2", "share: !!float 0.2"),
    "a NUL": RELEASE.encode() + b"\0",
}


@pytest.mark.parametrize("name", READ)
def test_a_manifest_in_any_form_of_yaml_or_json_is_read(name: str) -> None:
    assert outcome(READ[name]) == "read"


@pytest.mark.parametrize("ending", [".json", ".yml", ".YAML", ".Json"])
def test_it_may_have_any_of_the_endings(ending: str) -> None:
    assert outcome(READ["JSON"], f"releases/x{ending}") == "read"


@pytest.mark.parametrize("name", MISTAKE)
def test_what_cannot_be_read_or_has_a_slip_is_a_mistake(name: str) -> None:
    assert outcome(MISTAKE[name]) == "mistake"


@pytest.mark.parametrize("name", READ)
def test_what_is_read_can_be_rolled_back(name: str) -> None:
    content = READ[name]
    offer = find_offer(content, app_id="keyboard", model_id="next-word")
    assert offer is not None

    after = withdraw(content, offer.document, hold_until_ms=HOLD_MS, place=offer.place)

    withdrawn = find_offer(after, app_id="keyboard", model_id="next-word")
    assert withdrawn is not None
    assert (withdrawn.share, withdrawn.hold_until) == (0.0, "2026-11-15T00:00:00Z")
    assert after.startswith(b"\xef\xbb\xbf") == content.startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize(
    "content",
    [b"", b"# nothing\n", b"\xff\xfe", b"{{ broken", b"a: [", b"- 1\n", b"version: lfs\n"],
)
def test_a_file_that_held_a_release_and_holds_nothing_is_a_mistake(content: bytes) -> None:
    assert outcome(content, last=desired()) == "mistake"


def test_a_link_or_a_submodule_in_its_place_is_a_mistake() -> None:
    others = {path: body for path, body in FILES.items() if path != PATH}

    with pytest.raises(BrokenManifestsError) as broken:
        read_desired(others, commit="c", last=desired(), unread={PATH})

    assert broken.value.mistakes[0].file == PATH


def test_a_release_may_be_removed_or_moved_on_purpose() -> None:
    others = {path: body for path, body in FILES.items() if path != PATH}

    assert read_desired(others, commit="c", last=desired()).releases == ()
    moved = {**others, PATH: b"a: 1\n", "new.yaml": RELEASE.encode()}
    assert read_desired(moved, commit="c", last=desired()).releases[0].path == "new.yaml"


@pytest.mark.parametrize(
    "foreign",
    [
        b"apiVersion: kyverno.io/v1\nkind: Policy\nspec: {}\n",
        b"namespace: holdfast\nresources: [releases]\n",
        b"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
        b"metadata: {name: policies.holdfast.dev}\nspec: {names: {kind: ModelRelease}}\n",
        b"{{ if holdfast }}\nreplicas: 3\n{{ end }}\n",
        b'{"panels": [{"title": "holdfast \\u00e9"}]}',
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_not_ours_is_left_alone(foreign: bytes) -> None:
    assert outcome(RELEASE.encode()) == "read"
    assert len(read_desired({**FILES, "foreign.yaml": foreign}, commit="c").releases) == 1


@given(st.integers(0, len(RELEASE) - 1), st.binary(min_size=0, max_size=3))
def test_a_damaged_manifest_is_read_or_a_mistake(at: int, damage: bytes) -> None:
    """Unless the damage takes every sign of us away; then it held a release before."""
    content = RELEASE.encode()

    assert outcome(content[:at] + damage + content[at + 1 :], last=desired()) != "nothing"


def test_no_value_of_a_file_is_in_a_mistake() -> None:
    secret = "canary-token"
    for content in (
        RELEASE + f"spec: {secret}\n",
        RELEASE.replace("appId: keyboard", f"appId: '{secret}!'"),
        RELEASE.replace("appId: keyboard", f"appId: !{secret} x"),
        RELEASE.replace("appId: keyboard", f"appId: *{secret}"),
        RELEASE.replace("appId: keyboard", f"appId: {{{secret}: 1, {secret}: 2}}"),
        RELEASE.replace("share: 0.2", f"share: {secret}"),
    ):
        with pytest.raises(BrokenManifestsError) as broken:
            read_desired({**FILES, PATH: content.encode()}, commit="c")
        assert secret not in str(broken.value)


BOMBS: dict[str, Callable[[int], str]] = {
    "scalars": lambda n: "- a\n" * (n // 4),
    "flow": lambda n: "[" + "a," * (n // 2) + "]",
    "deep": lambda n: "[" * n,
    "deep block": lambda n: "- " * (n // 2),
    "keys": lambda n: "".join(f"k{i}: v\n" for i in range(n // 9)),
    "explicit keys": lambda n: "? " * (n // 2),
    "anchors": lambda n: "".join(f"- &a{i} x\n" for i in range(n // 10)),
    "aliases": lambda n: "- &a x\n" + "- *a\n" * (n // 5),
    "documents": lambda n: "---\na\n" * (n // 6),
    "a long line": lambda n: "a: " + "b " * (n // 2),
    "digits": lambda n: "a: " + "9" * n,
    "laughs": lambda n: "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" if i else "a0: &a0 x\n"
        for i in range(min(n, 12))
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_would_cost_much_is_read_within_its_budget_or_is_a_mistake(name: str) -> None:
    content = f"apiVersion: holdfast.dev/v1\nx:\n{BOMBS[name](240_000)}".encode()

    assert outcome(content) == "mistake"


def test_a_file_full_of_mistakes_names_some_of_them() -> None:
    many = POLICY.replace("[DE, FR]", "[" + "'!'," * 40_000 + "]")

    with pytest.raises(BrokenManifestsError) as broken:
        read_desired({**FILES, "policy.yaml": many.encode()}, commit="c")

    assert len(broken.value.mistakes) == MISTAKES_MAX


def test_a_rate_card_that_cannot_be_read_is_a_mistake_too() -> None:
    with pytest.raises(BrokenManifestsError):
        read_desired({**FILES, "rates.yaml": RATE_CARD.encode("utf-16")}, commit="c")


@given(st.sampled_from(list(READ)), st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-16-le"]))
def test_the_quick_look_never_passes_a_manifest_over(name: str, encoding: str) -> None:
    assert could_hold(READ[name].decode("utf-8-sig").encode(encoding))
