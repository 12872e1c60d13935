"""Files of the repository -> the manifests in them, or every mistake with its place.

What is written for Holdfast is read or is a mistake, in whatever form of YAML or JSON it stands: a
manifest that is not recognised would be a release that vanishes. Whatever else the repository
holds is none of our business, and need not even be YAML (templates are not).
"""

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from actions.manifest_edit import not_withdrawable
from actions.manifest_objects import objects_of
from actions.manifest_signs import could_hold, is_meant, is_named_so, says_meant
from actions.yaml_text import ALIASES_MAX, Path, plain_values
from wire.errors import PermanentError

API_VERSION: Final = "holdfast.dev/v1"
SCHEMAS: Final = {"ModelRelease": "model_release", "Policy": "policy", "RateCard": "rate_card"}
FILE_BYTES_MAX: Final = 256 << 10
BYTES_MAX: Final = 4 << 20
"""Of all files that could hold manifests, together."""
MISTAKES_MAX: Final = 100
"""Of one file: whoever mends these sees the next ones."""
_HOLD_MS: Final = 253_402_300_799_000  # the last second of the year 9999: the longest hold


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong, where, and what would be accepted. Never the value: it may be a secret."""

    file: str
    path: str
    problem: str
    accepted: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.path}" if self.path else self.file
        return f"{where}: {self.problem}; accepted: {self.accepted}"


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest that satisfies its schema."""

    file: str
    kind: str
    name: str
    spec: Mapping[str, object]


def read_documents(
    contents: Mapping[str, bytes], *, known: Collection[str] = ()
) -> tuple[list[Document], list[Mistake]]:
    """The manifests of all files, by file name; with every mistake of the broken ones.

    `known` are files that held manifests before: what cannot be read in them is a mistake, whatever
    it looks like.
    """
    found: list[Document] = []
    mistakes: list[Mistake] = []
    left = BYTES_MAX
    for file in sorted(contents):
        content = contents[file]
        if not is_named_so(file) or not (file in known or could_hold(content)):
            continue
        left -= len(content)
        if left < 0:
            most = f"at most {BYTES_MAX} bytes in all files"
            mistakes.append(Mistake(file, "", "too many bytes of manifests", most))
            break
        here: list[Mistake] = []
        for outcome in _read(file, content, is_known=file in known):
            if isinstance(outcome, Document):
                found.append(outcome)
            else:
                here.append(outcome)
            if len(here) >= MISTAKES_MAX:
                break
        mistakes += here
    return found, list(dict.fromkeys(mistakes))


def _read(file: str, content: bytes, *, is_known: bool) -> Iterator[Document | Mistake]:
    must_be_read = is_known or says_meant(content)
    if len(content) > FILE_BYTES_MAX:
        if must_be_read:
            yield Mistake(file, "", "the file is too large", f"at most {FILE_BYTES_MAX} bytes")
        return
    try:
        values = plain_values(content, aliases_max=ALIASES_MAX)
    except PermanentError as error:
        if must_be_read:
            yield Mistake(file, "", f"not readable YAML ({error.detail})", "YAML 1.2, UTF-8")
        return
    tried: list[Path] = []
    for placed in objects_of(values):
        if is_meant(placed.value):
            for outcome in _document(file, placed.value):
                yield outcome
                if isinstance(outcome, Document) and "rollout" in outcome.spec:
                    tried.append((placed.document, *placed.place))
    yield from _uneditable(file, content, tried)


def _document(file: str, value: Mapping[str, Any]) -> Iterator[Document | Mistake]:
    kind = str(value.get("kind"))
    if kind not in SCHEMAS:
        yield Mistake(file, "kind", "unknown kind", "one of " + ", ".join(SCHEMAS))
        return
    mistakes = list(_not_finite(file, "", value))
    for error in _validator(SCHEMAS[kind]).iter_errors(value):
        mistakes.extend(_mistakes(file, error))
        if len(mistakes) >= MISTAKES_MAX:
            break
    metadata, spec = value.get("metadata"), value.get("spec")
    if mistakes or not isinstance(metadata, dict) or not isinstance(spec, dict):
        yield from mistakes
        return
    yield Document(file, kind, str(metadata["name"]), spec)


def _uneditable(file: str, content: bytes, tried: Sequence[Path]) -> Iterator[Mistake]:
    """A rollback that could not be written is found before it is needed."""
    if not tried:
        return
    for at, error in not_withdrawable(content, tried, hold_until_ms=_HOLD_MS):
        place = "".join(f"[{step}]" if isinstance(step, int) else step for step in at[1:])
        yield Mistake(
            file,
            ".".join([*([place] if place else []), "spec.rollout.share"]),
            f"a rollback could not edit this ({error.detail})",
            "a plain number on a line of its own, or in a flow mapping; no alias, anchor or tag",
        )


def _not_finite(file: str, path: str, value: object) -> Iterator[Mistake]:
    """NaN passes every comparison, so no bound of the schema would stop it."""
    if isinstance(value, float) and not math.isfinite(value):
        yield Mistake(file, path, "not a finite number", "a finite number")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _not_finite(file, f"{path}.{key}".lstrip("."), inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _not_finite(file, f"{path}[{i}]", inner)


@cache
def _validator(name: str) -> Validator:
    schema = json.loads((files("wire") / "pb" / f"{name}.schema.json").read_bytes())
    strict: type[Validator] = extend(Draft202012Validator, {"pattern": _matches_whole})  # type: ignore[no-untyped-call] # jsonschema leaves it so
    return strict(schema)


def _matches_whole(
    _: Validator, pattern: str, instance: object, schema: object
) -> Iterator[ValidationError]:
    """Python's ``$`` also matches before a trailing newline; a name must not end with one."""
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield ValidationError("does not match")


def _mistakes(file: str, error: ValidationError) -> Iterable[Mistake]:
    path = ""
    for step in error.absolute_path:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    path = path.lstrip(".")
    instance = error.instance if isinstance(error.instance, dict) else {}
    schema = error.schema if isinstance(error.schema, dict) else {}
    known = schema.get("properties", {})
    match error.validator:
        case "required":
            missing = [key for key in schema["required"] if key not in instance]
            return [Mistake(file, _join(path, k), "missing", _accepted(known[k])) for k in missing]
        case "additionalProperties" if known:
            extra = [str(key) for key in instance if key not in known]
            return [Mistake(file, _join(path, k), "unknown key", ", ".join(known)) for k in extra]
        case "dependentRequired":
            return [Mistake(file, path, "candidate without rollout", "both, or neither")]
        case "type":
            return [Mistake(file, path, "wrong type", _accepted(schema))]
        case _:
            return [Mistake(file, path, "not acceptable", _accepted(schema))]


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


_SHOWN: Final = {
    "const": "exactly {}",
    "enum": "one of {}",
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "pattern": "matching {}",
    "minLength": "length at least {}",
    "maxLength": "length at most {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}


def _accepted(schema: Mapping[str, object]) -> str:
    kind = schema.get("type", "")
    bounds = [form.format(schema[key]) for key, form in _SHOWN.items() if key in schema]
    parts = [*([f"a value of type {kind}"] if kind else []), *bounds]
    return f"{', '.join(parts)} ({schema.get('description', '')})"
