"""By which signs a file or an object is taken as written for Holdfast."""

import re
from collections.abc import Mapping
from typing import Any, Final

_EXTENSIONS: Final = (".yaml", ".yml", ".json")
_GROUP: Final = "holdfast.dev/"
_OWN_KINDS: Final = ("modelrelease", "ratecard")  # nobody else has kinds of these names
_WORDS: Final = ("holdfast", *_OWN_KINDS)
_ESCAPE: Final = re.compile(r"\\[xuU\n]")
"""Within double quotes a name may be written so that its letters do not stand in the file."""
_SAYS: Final = re.compile(
    r"""apiversion["']?\s*:[^\n]{0,200}?holdfast|kind["']?\s*:\s*["']?(modelrelease|ratecard)\b"""
)


def is_named_so(file: str) -> bool:
    """Whether a file of this name may hold manifests."""
    return file.casefold().endswith(_EXTENSIONS)


def could_hold(content: bytes) -> bool:
    """Whether a manifest may stand in a file of these bytes; quick, and never wrongly False."""
    text = _seen(content)
    return any(word in text for word in _WORDS) or _ESCAPE.search(text) is not None


def says_meant(content: bytes) -> bool:
    """Whether a file that cannot be read looks as if it held a manifest."""
    return _SAYS.search(_seen(content)) is not None


def is_meant(value: Mapping[str, Any]) -> bool:
    """Whether an object is written for Holdfast, rightly or with a slip in kind or version."""
    api_version = str(value.get("apiVersion", "")).casefold()
    kind = str(value.get("kind", "")).casefold()
    return (
        "holdfast" in api_version
        or kind in _OWN_KINDS
        or any(isinstance(v, str) and _GROUP in v.casefold() for v in value.values())
        or (kind == "policy" and "/" not in api_version and "spec" in value)
    )


def _seen(content: bytes) -> str:
    """The text in any encoding of Unicode, without case; what cannot be read is left out."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "ignore").casefold()
    if b"\0" in content[:_LOOKED_AT]:  # UTF-16 or UTF-32 without a mark: its ASCII stands apart
        return content.replace(b"\0", b"").decode("utf-8", "ignore").casefold()
    return content.decode("utf-8", "ignore").casefold()


_LOOKED_AT: Final = 1 << 16
_MARKS: Final = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
