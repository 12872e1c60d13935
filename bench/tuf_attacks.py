"""Attacks on release metadata, made from what an attacker on the way has recorded and stolen.

Each gives both forms: files of the TUF repository, and body with signature of the header's form.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from bench.tuf_forger import Forger
from bench.tuf_world import APP, Files, Generation, Header, Wire, World

TIMESTAMP: Final = "metadata/timestamp.json"


@dataclass(frozen=True, slots=True)
class Attack:
    """One answerer that means harm, and what it is."""

    kind: str
    how: str
    wire: Wire


@dataclass(slots=True)
class Attacks:
    """Draws attacks on a phone that holds generation `held` (-1: none yet)."""

    world: World
    rng: random.Random
    forger: Forger

    def draw(self, kind: str, held: int) -> Attack:
        """One attack of a kind."""
        how, files, header, endless = KINDS[kind](self, held)
        return Attack(kind, how, Wire(files, header, endless))

    def any(self) -> Generation:
        """Something that was served once."""
        return self.rng.choice(self.world.generations)

    def newest(self) -> Generation:
        """What honest servers answer."""
        return self.world.generations[-1]

    def roots(self) -> Files:
        """All roots, or those that an attacker lets through."""
        shown = self.newest().files if self.rng.random() < 0.5 else self.any().files
        return {name: content for name, content in shown.items() if name.endswith("root.json")}


Drawn = tuple[str, Files, Header | None, str]


def replay(attacks: Attacks, held: int) -> Drawn:
    """What was right before what the phone has."""
    if held < 1:
        return freeze(attacks, held)
    old = attacks.world.generations[attacks.rng.randrange(held)]
    if attacks.rng.random() < 0.3:
        files = {**attacks.newest().files, TIMESTAMP: old.files[TIMESTAMP]}
        return "the timestamp alone", files, old.header, ""
    return "everything", {**old.files, **attacks.roots()}, old.header, ""


def freeze(attacks: Attacks, held: int) -> Drawn:
    """What was right, and is over; or nothing at all."""
    over = [g for g in attacks.world.generations if g.expires_ms <= attacks.world.now_ms]
    old = attacks.rng.choice(over)
    if attacks.rng.random() < 0.1:
        return "silence", {}, None, ""
    return "expired", {**old.files, **attacks.roots()}, old.header, ""


def mix(attacks: Attacks, held: int) -> Drawn:
    """Files of several moments and of another app, each in the place that the one above names."""
    rng = attacks.rng

    def part() -> Files:
        chosen = attacks.any()
        return chosen.foreign if rng.random() < 0.3 else chosen.files

    one, two, three = attacks.any(), attacks.any(), attacks.any()
    timestamp = part()[TIMESTAMP]
    snapshot = _file(part(), "snapshot.json", rng)
    targets = _file(part(), "targets.json", rng)
    snapshot_at = said_by(timestamp)["meta"]["snapshot.json"]["version"]
    targets_at = said_by(snapshot)["meta"]["targets.json"]["version"]
    files = {
        **attacks.roots(),
        TIMESTAMP: timestamp,
        f"metadata/{snapshot_at}.snapshot.json": snapshot,
        f"metadata/{targets_at}.targets.json": targets,
    }
    for named in said_by(targets)["targets"].values():
        files[f"targets/{named['hashes']['sha256']}.{APP}.json"] = three.content
    header = (one.header[0], two.header[1], '"mixed"')
    if rng.random() < 0.3:
        header = one.foreign_header
    return "of other moments and apps", files, header, ""


def tamper(attacks: Attacks, held: int) -> Drawn:
    """One file of the newest, changed on the way."""
    newest, rng = attacks.newest(), attacks.rng
    files = dict(newest.files)
    wanted = (TIMESTAMP, "snapshot.json", "targets.json", f".{APP}.json", "root.json")
    suffix = rng.choice(wanted)
    name = rng.choice([n for n in files if n.endswith(suffix)])
    how, change = rng.choice(CHANGES)
    files[name] = change(files[name], rng)
    if rng.random() < 0.3:  # what the attacker wants phones to run, with everything that fits it
        files = _with_other_target(newest.files, rng)
        how = "another target, and its digest in targets"
    body, signature, etag = newest.header
    if rng.random() < 0.8:
        body = change(body, rng)
    else:
        signature = change(signature.encode(), rng).decode("latin-1")
    return f"{how}, {suffix}", files, (body, signature, etag + "x"), ""


def wrong_key(attacks: Attacks, held: int) -> Drawn:
    """A repository of the attacker's own, under keys that do not count, or not any more."""
    how, files, header = attacks.forger.forge(attacks.rng, held, attacks.roots())
    return how, files, header, ""


def endless(attacks: Attacks, held: int) -> Drawn:
    """Answers without end, too long ones, and versions so high that nothing follows them."""
    newest, rng = attacks.newest(), attacks.rng
    roots = sum(name.endswith("root.json") for name in newest.files)
    names = [*newest.files, f"metadata/{roots + 1}.root.json"]
    name, body = rng.choice(names), newest.header[0]
    drawn = rng.random()
    if drawn < 0.4:
        header = (body[:-1] + b" " * (2 << 20) + b"}", newest.header[1], '"long"')
        return "without end", newest.files, header, name
    if drawn < 0.7:
        files = {
            **newest.files,
            name: newest.files.get(name, b"{}") + b" " * rng.randrange(1 << 20),
        }
        return "too long", files, (body + b" " * 99, newest.header[1], '"long"'), ""
    how, files, header = attacks.forger.forge(
        rng, held, attacks.roots(), version=1 << rng.randrange(31, 62)
    )
    return f"fast-forward, {how}", files, header, ""


KINDS: Final[dict[str, Callable[[Attacks, int], Drawn]]] = {
    "replay": replay,
    "freeze": freeze,
    "mix-and-match": mix,
    "tampering": tamper,
    "wrong key": wrong_key,
    "endless and fast-forward": endless,
}


def _file(files: Files, suffix: str, rng: random.Random) -> bytes:
    return files[rng.choice([name for name in files if name.endswith(suffix)])]


def said_by(content: bytes) -> dict[str, Any]:
    """What metadata says, whoever signed it."""
    signed: dict[str, Any] = json.loads(content)["signed"]
    return signed


def _with_other_target(files: Files, rng: random.Random) -> Files:
    name = rng.choice([n for n in files if n.endswith("targets.json")])
    made = json.loads(files[name])
    content = b'{"app_id":"camera","serial":"00","models":[]}'
    digest = sha256(content).hexdigest()
    made["signed"]["targets"][f"{APP}.json"] = {
        "length": len(content),
        "hashes": {"sha256": digest},
    }
    new = {name: json.dumps(made).encode(), f"targets/{digest}.{APP}.json": content}
    return {**files, **new}


def _flip(content: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 3, 20])):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _splice(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + rng.randbytes(rng.randrange(1, 40)) + content[at + rng.randrange(9) :]


def _edit(content: bytes, rng: random.Random) -> bytes:
    """One value, anywhere in the JSON, replaced by another of the kind that an attacker wants."""
    try:
        made = json.loads(content)
    except ValueError:
        return _flip(content, rng)
    places: list[tuple[dict[str, object] | list[object], str | int]] = []

    def walk(value: object) -> None:
        pairs: list[tuple[str | int, object]] = []
        if isinstance(value, dict):
            pairs = list(value.items())
        elif isinstance(value, list):
            pairs = list(enumerate(value))
        for key, inner in pairs:
            places.append((value, key))  # type: ignore[arg-type]  # one of the two, as asked
            walk(inner)

    walk(made)
    holder, key = rng.choice(places)
    later = datetime(2099, 1, 1, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    values: list[object] = [
        0,
        1,
        -1,
        1 << 40,
        0.5,
        later,
        "",
        "0" * 64,
        None,
        [],
        {},
        True,
        "3.2.0",
    ]
    holder[key] = rng.choice(values)  # type: ignore[index]  # the key is of that holder
    return json.dumps(made).encode()


CHANGES: Final[tuple[tuple[str, Callable[[bytes, random.Random], bytes]], ...]] = (
    ("bits", _flip),
    ("cut", _cut),
    ("spliced", _splice),
    ("a value", _edit),
    ("a value", _edit),
)
