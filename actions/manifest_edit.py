"""Byte-exact edits: splice one scalar, read it again, and refuse if anything else changed."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from actions.manifest_objects import objects_of
from actions.yaml_text import (
    ALIASES_MAX,
    Span,
    Step,
    bytes_of,
    find_mapping,
    find_scalar,
    plain_values,
    spelled,
    text_of,
)
from actions.yaml_values import Plain
from wire.errors import PermanentError

SHARE: Final = ("spec", "rollout", "share")
HOLD_UNTIL: Final = ("spec", "rollout", "holdUntil")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a ModelRelease manifest offers now; `candidate` is "" if it offers none."""

    document: int
    place: tuple[Step, ...]  # of the object in its document
    rollout_id: str
    attempt: int
    candidate: str
    stable: str
    share: float
    hold_until: str


def find_offer(content: bytes, *, app_id: str, model_id: str) -> Offer | None:
    """The manifest of this model in the file; None if the file holds none (any more).

    Raises
    ------
    PermanentError
        ``yaml_unreadable``.
    """
    for placed in objects_of(plain_values(content, aliases_max=ALIASES_MAX)):
        spec = placed.value.get("spec")
        if placed.value.get("kind") != "ModelRelease":
            continue
        if (_at(spec, "appId"), _at(spec, "modelId")) != (app_id, model_id):
            continue
        rollout = _at(spec, "rollout")
        share, attempt = _at(rollout, "share"), _at(rollout, "attempt")
        return Offer(
            document=placed.document,
            place=placed.place,
            rollout_id=str(_at(rollout, "id") or ""),
            attempt=attempt if isinstance(attempt, int) else 0,
            candidate=str(_at(_at(spec, "candidate"), "version") or ""),
            stable=str(_at(_at(spec, "stable"), "version") or ""),
            share=float(share) if isinstance(share, int | float) else 0.0,
            hold_until=str(_at(rollout, "holdUntil") or ""),
        )
    return None


def withdraw(
    content: bytes, document: int, *, hold_until_ms: int, place: tuple[Step, ...] = ()
) -> bytes:
    """The file with the rollout's share 0 and a hold: one changed line, and one more or changed.

    `place` is where the manifest stands in its document.

    Raises
    ------
    PermanentError
        ``scalar_not_editable``, ``edit_not_exact`` or ``yaml_unreadable``.
    """
    hold = rfc3339(hold_until_ms)
    edited = set_scalar(content, document, (*place, *SHARE), 0)
    if find_scalar(text_of(edited), document, (*place, *HOLD_UNTIL)) is None:
        return _insert_hold(edited, document, place, hold)
    return set_scalar(edited, document, (*place, *HOLD_UNTIL), hold)


def add_entry(
    content: bytes, document: int, path: Sequence[Step], key: str, values: Sequence[str]
) -> bytes:
    """The file with one more entry, ``key: [values]``, at the head of the mapping at `path`.

    Raises PermanentError ``scalar_not_editable``, ``edit_not_exact`` or ``yaml_unreadable``.
    """
    before, text = plain_values(content), text_of(content)
    found = find_mapping(text, document, path)
    if found is None:
        raise PermanentError("scalar_not_editable", f"{_dotted(path)} is no mapping with a key")
    at, in_flow = found
    listed = ", ".join(spelled(value, '"') for value in values)
    entry = f"{spelled(key, '')}: [{listed}]"
    indent = text[text.rfind("\n", 0, at) + 1 : at]
    if in_flow:
        inserted = entry + ", "
    elif indent.strip(" "):
        raise PermanentError("scalar_not_editable", f"{_dotted(path)} does not begin its line")
    else:
        inserted = f"{entry}\n{indent}"
    edited = bytes_of(text[:at] + inserted + text[at:], content)
    expected = list(before)
    expected[document] = _replaced(before[document], (*path, key), list(values))
    _prove(edited, expected, path)
    return edited


def rfc3339(ms: int) -> str:
    """The time in UTC, rounded up to the second: a hold must not end early."""
    moment = datetime.fromtimestamp(math.ceil(ms / 1000), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def set_scalar(content: bytes, document: int, path: Sequence[Step], value: str | float) -> bytes:
    """The file with one scalar replaced, in the style it had; every other byte as it was.

    Raises
    ------
    PermanentError
        ``scalar_absent``; ``scalar_not_editable``; ``edit_not_exact``: reading the result again
        shows another change than the one meant; ``yaml_unreadable``.
    """
    before = plain_values(content)
    text = text_of(content)
    span = find_scalar(text, document, path)
    if span is None:
        raise PermanentError("scalar_absent", f"there is no {_dotted(path)}")
    style = span.style or ('"' if span.is_empty else "")
    new = (" " if span.is_empty else "") + spelled(value, style)
    edited = bytes_of(text[: span.start] + new + text[span.end :], content)
    expected = list(before)
    expected[document] = _replaced(before[document], path, value)
    _prove(edited, expected, path)
    return edited


def _insert_hold(content: bytes, document: int, place: tuple[Step, ...], hold: str) -> bytes:
    before = plain_values(content)
    text = text_of(content)
    share = find_scalar(text, document, (*place, *SHARE))
    if share is None:
        raise PermanentError("scalar_absent", f"there is no {_dotted(SHARE)}")
    at, inserted = _hold_line(text, share, hold)
    edited = bytes_of(text[:at] + inserted + text[at:], content)
    expected = list(before)
    expected[document] = _replaced(before[document], (*place, *HOLD_UNTIL), hold)
    _prove(edited, expected, HOLD_UNTIL)
    return edited


def _hold_line(text: str, share: Span, hold: str) -> tuple[int, str]:
    """Where to insert what: behind the share in a flow mapping, else on a line of its own."""
    if share.in_flow:
        quote = "'" if text[share.key_start] == "'" else '"'
        key = '"holdUntil"' if text[share.key_start] in "\"'" else "holdUntil"
        return share.end, f", {key}: {spelled(hold, quote)}"
    line_start = text.rfind("\n", 0, share.key_start) + 1
    indent = text[line_start : share.key_start]
    if indent.strip(" "):
        raise PermanentError("scalar_not_editable", "share does not begin its line")
    line = f'{indent}holdUntil: "{hold}"'
    ending = re.compile(r"\r?\n").search(text, share.end)
    if ending is None:
        return len(text), "\n" + line
    return ending.end(), line + ending.group()


def _prove(edited: bytes, expected: list[Plain], path: Sequence[Step]) -> None:
    if not _same(plain_values(edited), expected):
        raise PermanentError("edit_not_exact", f"setting {_dotted(path)} would change more than it")


def _replaced(value: Plain, path: Sequence[Step], new: Plain) -> Plain:
    """A copy with the leaf at `path` set; only containers on the path are new.

    So a container that an alias shares stays as it was elsewhere, and the proof sees the
    difference.
    """
    if not path:
        return new
    step = path[0]
    if isinstance(value, dict):
        return {**value, step: _replaced(value.get(step), path[1:], new)}
    if isinstance(value, list) and isinstance(step, int):
        return [_replaced(v, path[1:], new) if i == step else v for i, v in enumerate(value)]
    raise PermanentError("scalar_absent", f"nothing can stand at {step!r}")


def _same(a: Plain, b: Plain) -> bool:
    """Equal in values and types (YAML's 1, 1.0 and true differ); NaN equals NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return a == b or (a != a and b != b)  # noqa: PLR0124 - NaN


def _at(value: Plain, key: str) -> Plain:
    return value.get(key) if isinstance(value, dict) else None


def _dotted(path: Sequence[Step]) -> str:
    return ".".join(map(str, path))
