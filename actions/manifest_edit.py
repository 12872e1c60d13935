"""Byte-exact edits: splice scalars, read the file again, and refuse if anything else changed."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from actions.manifest_objects import objects_of
from actions.yaml_text import (
    ALIASES_MAX,
    Path,
    Span,
    Step,
    bytes_of,
    find_mapping,
    find_scalars,
    plain_values,
    spelled,
    text_of,
)
from actions.yaml_values import Plain
from wire.errors import PermanentError

SHARE: Final = ("spec", "rollout", "share")
HOLD_UNTIL: Final = ("spec", "rollout", "holdUntil")
_SHOWN_MAX: Final = 3


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
        ``scalar_absent``, ``scalar_not_editable``, ``edit_not_exact`` or ``yaml_unreadable``.
    """
    manifest = (document, *place)
    found = _withdrawals(text_of(content), [manifest], rfc3339(hold_until_ms))[manifest]
    if isinstance(found, PermanentError):
        raise found
    return _edited(content, found)


def not_withdrawable(
    content: bytes, manifests: Sequence[Path], *, hold_until_ms: int
) -> Iterator[tuple[Path, PermanentError]]:
    """Which of a file's manifests (document and place) `withdraw` would refuse, and why.

    All are tried in one reading, so that many in a file cost what few do. Of those that would
    change something else with them the first alone is named: whoever mends it sees the next.
    """
    sound: dict[Path, list[_Edit]] = {}
    found = _withdrawals(text_of(content), manifests, rfc3339(hold_until_ms))
    for manifest, edits in found.items():
        if isinstance(edits, PermanentError):
            yield manifest, edits
        else:
            sound[manifest] = edits
    error = _refused(content, sound)
    while error is not None and len(sound) > 1:
        first = dict(list(sound.items())[: len(sound) // 2])
        others = {k: v for k, v in sound.items() if k not in first}
        of_first = _refused(content, first)
        sound, error = (first, of_first) if of_first is not None else (others, error)
    if error is not None:
        yield next(iter(sound)), error


def add_entry(
    content: bytes, document: int, path: Sequence[Step], key: str, values: Sequence[str]
) -> bytes:
    """The file with one more entry, ``key: [values]``, at the head of the mapping at `path`.

    Raises PermanentError ``scalar_not_editable``, ``edit_not_exact`` or ``yaml_unreadable``.
    """
    text = text_of(content)
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
    return _edited(content, [_Edit(at, at, inserted, (document, *path, key), list(values))])


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
    at = (document, *path)
    span = find_scalars(text_of(content), [at]).get(at)
    if span is None:
        raise PermanentError("scalar_absent", f"there is no {_dotted(path)}")
    if isinstance(span, PermanentError):
        raise span
    return _edited(content, [_set(span, at, value)])


@dataclass(frozen=True, slots=True)
class _Edit:
    """Characters ``[start, end)`` become `text`; what stands at `path` is `value` then."""

    start: int
    end: int
    text: str
    path: Path
    value: Plain


def _set(span: Span, path: Path, value: str | float) -> _Edit:
    style = span.style or ('"' if span.is_empty else "")
    text = (" " if span.is_empty else "") + spelled(value, style)
    return _Edit(span.start, span.end, text, path, value)


def _withdrawals(
    text: str, manifests: Sequence[Path], hold: str
) -> dict[Path, list[_Edit] | PermanentError]:
    """The edits that withdraw each manifest's candidate, or why there are none."""
    spans = find_scalars(text, [(*m, *path) for m in manifests for path in (SHARE, HOLD_UNTIL)])
    return {m: _withdrawal(text, m, spans, hold) for m in manifests}


def _withdrawal(
    text: str, manifest: Path, spans: Mapping[Path, Span | PermanentError], hold: str
) -> list[_Edit] | PermanentError:
    share_at, hold_at = (*manifest, *SHARE), (*manifest, *HOLD_UNTIL)
    share, held = spans.get(share_at), spans.get(hold_at)
    if share is None:
        return PermanentError("scalar_absent", f"there is no {_dotted(SHARE)}")
    if isinstance(share, PermanentError):
        return share
    if isinstance(held, PermanentError):
        return held
    edits = [_set(share, share_at, 0)]
    if held is not None:
        return [*edits, _set(held, hold_at, hold)]
    try:
        at, inserted = _hold_line(text, share, hold)
    except PermanentError as error:
        return error
    return [*edits, _Edit(at, at, inserted, hold_at, hold)]


def _refused(content: bytes, edits: Mapping[Path, Sequence[_Edit]]) -> PermanentError | None:
    """Why these edits cannot be made together; None if they can."""
    try:
        _edited(content, [edit for each in edits.values() for edit in each])
    except PermanentError as error:
        return error
    return None


def _edited(content: bytes, edits: Sequence[_Edit]) -> bytes:
    """The file with the edits made, proven by reading it again."""
    text = text_of(content)
    expected: Plain = plain_values(content)
    pieces, end = [], 0
    for edit in sorted(edits, key=lambda edit: edit.start):  # stable: a share before its hold
        pieces += [text[end : edit.start], edit.text]
        end = edit.end
    edited = bytes_of("".join([*pieces, text[end:]]), content)
    for edit in edits:
        expected = _replaced(expected, edit.path, edit.value)
    if not _same(plain_values(edited), expected):
        fields = ", ".join(sorted({_dotted(edit.path[1:]) for edit in edits})[:_SHOWN_MAX])
        raise PermanentError("edit_not_exact", f"setting {fields} would change more than it")
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
