"""Byte-exact edits: golden files, refusals, arbitrary manifests, and recorded public ones."""

import os
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actions.manifest_edit import SHARE, find_offer, rfc3339, set_scalar, withdraw
from actions.yaml_text import Step, plain_values
from actions.yaml_values import Plain
from tests.fakes.gitops import RELEASE
from wire.errors import PermanentError

GOLDEN = Path(__file__).parents[2] / "golden"
HOLD_MS = 1_794_700_800_000
ROOT = Path(__file__).parents[3]
PUBLIC = (
    Path(os.environ.get("HOLDFAST_DATA") or ROOT / "../shared/data") / "manifests/manifests.tar.gz"
)
SHARE_LINE = "    share: 0.2          # of phones, each arm\n"


def withdrawn(text: str) -> str:
    content = text.encode()
    offer = find_offer(content, app_id="keyboard", model_id="next-word")
    assert offer is not None
    return withdraw(content, offer.document, hold_until_ms=HOLD_MS).decode()


@pytest.mark.parametrize("case", sorted(p.name for p in GOLDEN.glob("rollback_*")))
def test_a_rollback_changes_the_fewest_possible_lines(case: str) -> None:
    before = (GOLDEN / case / "before/release.yaml").read_bytes()

    after = withdrawn(before.decode()).encode()

    assert after == (GOLDEN / case / "after/release.yaml").read_bytes()


def test_an_edit_done_twice_is_an_edit_done_once() -> None:
    once = withdrawn(RELEASE)

    assert withdrawn(once) == once


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("an alias", RELEASE.replace("0.2 ", "*s ").replace("attempt: 1", "attempt: &s 1")),
        ("an anchor", RELEASE.replace("0.2 ", "&s 0.2 ")),
        ("a tag", RELEASE.replace("0.2 ", "!!float 0.2 ")),
        ("a block", RELEASE.replace(SHARE_LINE, "    share: >\n      0.2\n")),
        ("several lines", RELEASE.replace(SHARE_LINE, "    share: '0\n      2'\n")),
        ("a list", RELEASE.replace("0.2 ", "[0.2] ")),
        (
            "an alias before it",
            RELEASE.replace("metadata:", "x: &r {id: next-word-1.5.0, share: 0.2}\nmetadata:")
            .split("  rollout:")[0]
            .replace("  candidate:", "  rollout: *r\n  candidate:"),
        ),
    ],
)
def test_what_cannot_be_spliced_safely_is_refused(what: str, text: str) -> None:
    with pytest.raises(PermanentError) as refused:
        withdrawn(text)

    assert refused.value.code == "scalar_not_editable", what


def test_a_change_that_an_alias_would_carry_elsewhere_is_refused() -> None:
    text = RELEASE.replace("rollout:", "rollout: &r", 1) + "---\ncopy: 1\n"
    shared = text.replace("  classGroups: 10\n", "  classGroups: 10\n  again: *r\n")

    with pytest.raises(PermanentError) as refused:
        withdrawn(shared)

    assert refused.value.code == "edit_not_exact"


def test_an_absent_scalar_is_not_invented() -> None:
    with pytest.raises(PermanentError) as refused:
        withdrawn(RELEASE.replace(SHARE_LINE, ""))

    assert refused.value.code == "scalar_absent"


def test_a_manifest_of_another_model_offers_nothing() -> None:
    assert find_offer(RELEASE.encode(), app_id="keyboard", model_id="ranker") is None
    assert find_offer(b"a: 1\n", app_id="keyboard", model_id="next-word") is None


def test_a_hold_never_ends_early() -> None:
    assert rfc3339(1_000) == "1970-01-01T00:00:01Z"
    assert rfc3339(1_001) == "1970-01-01T00:00:02Z"


def test_a_text_that_plain_style_would_change_gets_quotes() -> None:
    for value in ("yes: no", "0.5", "null", "# x", "a #b", "", " a", "{", "l'été", "a\nb", "é,"):
        edited = set_scalar(b"k: plain # kept\n", 0, ["k"], value)

        assert plain_values(edited) == [{"k": value}]
        assert edited.endswith(b" # kept\n")


# -- arbitrary manifests --------------------------------------------------------------------------

comments = st.sampled_from(["", " # note", "   # share: 0.9"])
shares = st.sampled_from(["0.2", "0.20", "2e-1", "0", "0.5", ".1"])
holds = st.sampled_from(
    ["", 'holdUntil: ""', "holdUntil: ''", "holdUntil:", "holdUntil: 2026-01-01T00:00:00Z"]
)


@st.composite
def manifests(draw: st.DrawFn) -> str:
    """A ModelRelease whose rollout is written in one of many ways."""
    keys = ["id: next-word-1.5.0", f"share: {draw(shares)}", 'salt: "s"', "step: 1"]
    if hold := draw(holds):
        keys.append(hold)
    keys = draw(st.permutations(keys))
    indent = draw(st.sampled_from(["    ", "      ", "   "]))
    lines = [f"{indent}{key}{draw(comments)}" for key in keys]
    if draw(st.booleans()):
        lines.insert(draw(st.integers(0, len(lines))), "# share: 0.3")
    head, tail = RELEASE.split("  rollout:\n")
    text = head + "  rollout:\n" + "\n".join(lines) + "\n" + tail[tail.index("  strata") :]
    before = draw(st.sampled_from(["", "a: 1\n---\n", RELEASE.replace("next-word", "x") + "---\n"]))
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    return (before + text).replace("\n", ending)


@settings(max_examples=40, deadline=None)
@given(manifests())
def test_nothing_but_the_share_and_the_hold_changes(text: str) -> None:
    before, after = text.splitlines(keepends=True), withdrawn(text).splitlines(keepends=True)

    kept = [line for line in before if not line.lstrip().startswith(("share:", "holdUntil"))]
    still = [line for line in after if not line.lstrip().startswith(("share:", "holdUntil"))]
    assert still == kept
    assert len(after) - len(before) == (0 if "holdUntil" in text else 1)
    offer = find_offer("".join(after).encode(), app_id="keyboard", model_id="next-word")
    assert offer is not None
    assert (offer.share, offer.hold_until) == (0.0, rfc3339(HOLD_MS))


@settings(deadline=None)
@example(":", "")  # plain in a flow mapping, an indicator in a block
@given(st.text(max_size=40), st.sampled_from(["'", '"', ""]))
def test_any_text_reads_back_as_it_was_set(value: str, style: str) -> None:
    content = f"a: 1\nk: {style}old{style} # kept\nz: [1]\n".encode()

    edited = set_scalar(content, 0, ["k"], value)

    assert plain_values(edited) == [{"a": 1, "k": value, "z": [1]}]
    assert edited.startswith(b"a: 1\nk: ")
    assert edited.endswith(b" # kept\nz: [1]\n")


# -- recorded public manifests --------------------------------------------------------------------


def leaves(value: Plain, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, (*path, i))
    elif path:
        yield path


def test_one_line_changes_in_public_manifests_or_the_edit_is_refused() -> None:
    if not PUBLIC.is_file():
        warnings.simplefilter("default")
        pytest.skip(f"LOUD: no public manifests at {PUBLIC}; set HOLDFAST_DATA")
    edited = refused = 0
    with tarfile.open(PUBLIC) as archive:
        for member in archive.getmembers():
            stream = archive.extractfile(member)
            if stream is None:
                continue
            content = stream.read()
            try:
                documents = plain_values(content)
                found = [(i, p) for i, d in enumerate(documents) for p in leaves(d)]
                document, path = found[len(found) // 2]
                after = set_scalar(content, document, path, "set by a test")
            except PermanentError:
                refused += 1
                continue
            old, new = content.split(b"\n"), after.split(b"\n")
            assert len(old) == len(new), member.name
            assert sum(a != b for a, b in zip(old, new, strict=True)) == 1, member.name
            edited += 1

    # refused: values of several lines, a duplicate key, templates that are not YAML
    assert edited >= 0.95 * (edited + refused)
    assert edited > 200


def test_the_path_of_the_share_is_what_manifests_use() -> None:
    assert set_scalar(RELEASE.encode(), 0, SHARE, 0.3) == RELEASE.replace("0.2 ", "0.3 ").encode()
