"""Which answers mean "delete": the server read the upload and will never take it. No other does.

Proxies, captive portals, revoked keys and restored folders answer too, and say nothing about the
upload: deleting on their word would lose what a person can still repair.
"""

from typing import Final

FINAL_STATUSES: Final = frozenset({400, 413, 415, 422})
"""Of HTTP, and these only without ``Retry-After``."""
EVERYONE_WAITS: Final = frozenset({401, 407, 408, 425, 429})
"""About the door or the key, as 5xx is; other refusals let the upload's neighbours go on."""
KEPT_CODES: Final = frozenset(
    {"key_missing", "key_unknown", "key_expired", "key_other_app"}
    | {"unknown_app", "unknown_model", "unknown_model_version"}
)
"""Refusals that a person will undo. In a stream a receipt says so by its code alone."""
RETRY_AFTER_MAX_S: Final = 86_400
"""Nobody may silence a phone for longer with one answer."""
_SERVER_ERROR: Final = 500
_RETRY_AFTER_UNREADABLE_S: Final = 5
_DIGITS_MAX: Final = 18


def is_final(status: int, retry_after: str) -> bool:
    """Whether an upload that was answered so is to be deleted."""
    return status in FINAL_STATUSES and not retry_after


def is_about_everyone(status: int) -> bool:
    """Whether the next upload would be answered alike, so that it can wait as well."""
    return status in EVERYONE_WAITS or status >= _SERVER_ERROR or status < min(FINAL_STATUSES)


def retry_after_s(header: str) -> int:
    """Seconds that the server asks for, at most a day; 0 if it asks for nothing."""
    if not header:
        return 0
    if not (header.isascii() and header.isdigit() and len(header) <= _DIGITS_MAX):
        return _RETRY_AFTER_UNREADABLE_S
    return min(int(header), RETRY_AFTER_MAX_S)
