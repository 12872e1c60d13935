"""What may be shown of git's words and of a remote's address: never a secret, on one line."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

WORDS_MAX: Final = 300
"""Characters of git's own words in an error's detail."""
_URL: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"]+", re.IGNORECASE)
_SCP: Final = re.compile(r"(?:[^\s@/:]+@)?([^\s@/:]+):(?!//)(.+)")
_PART_MIN: Final = 4
"""Shorter parts of a path are no secrets, and are in many words."""
_GITS_OWN: Final = ("remote", "repository", "repo", "main", "fetch", "host", "https", "http")


def shown_address(remote: str) -> str:
    """A remote's address for people. Tokens also stand in paths, so of a URL only the host is."""
    if "://" in remote:
        url = urlsplit(remote)
        if url.scheme == "file":
            return remote
        port = f":{url.netloc.rpartition(':')[2]}" if re.search(r":\d+$", url.netloc) else ""
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        return f"{url.scheme}://{host}{port}/***"
    scp = _SCP.fullmatch(remote)
    return f"{scp[1]}:***" if scp and not remote.startswith(("/", ".")) else remote


def shown_words(words: str, *, remote: str, secrets: Iterable[str]) -> str:
    """Git's words without what `remote` and `secrets` hold."""
    address = shown_address(remote)
    words = words.replace(remote, address)
    words = _URL.sub(lambda found: shown_address(found[0].rstrip("/")), words)
    for secret in sorted({*secrets, *_parts(remote)}, key=len, reverse=True):
        if secret:
            words = words.replace(secret, "***")
    return " ".join(_printable(words).split())[:WORDS_MAX]


def _parts(remote: str) -> set[str]:
    """User, password, path and query of a remote that is no local path, as git may write them."""
    if shown_address(remote) == remote:
        return set()
    if "://" in remote:
        url = urlsplit(remote)
        parts = [url.username or "", url.password or "", url.path, url.query]
    else:
        user, _, rest = remote.rpartition("@")
        parts = [user, rest.partition(":")[2]]
    whole = {form for part in parts for form in (part.strip("/"), unquote(part).strip("/"))}
    pieces = {piece for part in whole for piece in re.split(r"[/&=:~?]", part)}
    secret = {part.removesuffix(".git") for part in whole | pieces}
    return {p for p in secret if len(p) >= _PART_MIN and p not in _GITS_OWN}


def _printable(words: str) -> str:
    return "".join(c if c.isprintable() else " " for c in words)
