"""Repositories of an attacker's own: signed with keys that do not count, or not any more.

Stolen are: a root key of three where two must sign, and online keys that were rotated out. What
nothing can help against is left out: a stolen online key against a phone that has not heard of the
rotation, because the attacker withholds the root that says so.
"""

import base64
import json
import random
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from bench.tuf_world import APP, STEPS, Files, Header, World
from ingest.root_chain import online_keys, read_root
from ingest.root_folder import COMPACT, open_signer

_ROTATED_AT: Final = next(i for i, step in enumerate(STEPS) if step.rotates == "online")
_EXPIRES: Final = datetime(2098, 1, 1, tzinfo=UTC)


class Forger:
    """Signs whatever is wanted, with all that could be stolen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._own = CryptoSigner.generate_ed25519()
        self._own_header = Ed25519PrivateKey.generate()
        newest = world.generations[-1]
        self._root_version = sum(name.endswith("root.json") for name in newest.files)
        self._online = online_keys(self._newest_root().signed)[0]
        first = online_keys(read_root(world.root).signed)[0]
        stolen = world.keys.folder / "online" / f"{first.keyid[:32]}.pem"
        self._rotated_out = open_signer(f"file2:{stolen.resolve()}", first)
        ceremony = world.ceremony
        self._root_key = ceremony.signer(ceremony.holders()[0])

    def forge(
        self, rng: random.Random, held: int, roots: Files, *, version: int = 1 << 31
    ) -> tuple[str, Files, Header]:
        """A whole repository with a config of the attacker's, and the same under a header."""
        content = self._content(version, rng)
        ways = ["own key", "own key under the name of ours", "root key", "root below threshold"]
        ways += ["root signed twice by one key", "root signed under two names", "root skipped"]
        if held >= _ROTATED_AT:
            ways += ["online key rotated out"] * 2
        way = rng.choice(ways)
        signer: Signer = self._own
        if way == "online key rotated out":
            signer = self._rotated_out
        elif way == "root key":
            signer = self._root_key
        files = self._repository(signer, content, version)
        if way == "own key under the name of ours":
            files = {name: self._renamed(file) for name, file in files.items()}
        shown = roots
        if way.startswith("root ") and way != "root key":
            last = self._world.generations[-1].files
            shown = {n: c for n, c in last.items() if n.endswith("root.json")}
            number = self._root_version + (2 if way == "root skipped" else 1)
            shown[f"metadata/{self._root_version + 1}.root.json"] = self._root(way, number)
        return way, {**files, **shown}, self._header(content, version, rng)

    def _newest_root(self) -> Metadata[Root]:
        files = self._world.generations[-1].files
        return read_root(files[f"metadata/{self._root_version}.root.json"])

    def _root(self, way: str, number: int) -> bytes:
        made = self._newest_root()
        made.signatures.clear()
        made.signed.version = number
        for role in (Targets.type, Snapshot.type, Timestamp.type):
            made.signed.add_key(self._own.public_key, role)
        made.sign(self._root_key)
        made.sign(self._own, append=True)
        raw = json.loads(made.to_bytes(COMPACT))
        if way == "root signed twice by one key":
            raw["signatures"] += [raw["signatures"][0]]
        if way == "root signed under two names":
            others = made.signed.roles[Root.type].keyids
            raw["signatures"] += [{**raw["signatures"][0], "keyid": keyid} for keyid in others]
        return json.dumps(raw).encode()

    def _repository(self, signer: Signer, content: bytes, version: int) -> Files:
        def signed(what: Targets | Snapshot | Timestamp) -> bytes:
            made: Metadata = Metadata(what)  # type: ignore[type-arg]  # any of the three
            made.sign(signer)
            return made.to_bytes(COMPACT)

        listed = {f"{APP}.json": TargetFile.from_data(f"{APP}.json", content, ["sha256"])}
        targets = signed(Targets(version, expires=_EXPIRES, targets=listed))
        meta = {"targets.json": MetaFile.from_data(version, targets, ["sha256"])}
        snapshot = signed(Snapshot(version, expires=_EXPIRES, meta=meta))
        newest = MetaFile.from_data(version, snapshot, ["sha256"])
        return {
            "metadata/timestamp.json": signed(
                Timestamp(version, expires=_EXPIRES, snapshot_meta=newest)
            ),
            f"metadata/{version}.snapshot.json": snapshot,
            f"metadata/{version}.targets.json": targets,
            f"targets/{sha256(content).hexdigest()}.{APP}.json": content,
        }

    def _renamed(self, file: bytes) -> bytes:
        """The same signature, said to be of the key that counts."""
        if b'"signatures"' not in file:
            return file
        raw = json.loads(file)
        for signature in raw["signatures"]:
            signature["keyid"] = self._online.keyid
        return json.dumps(raw).encode()

    def _content(self, version: int, rng: random.Random) -> bytes:
        said = json.loads(rng.choice(self._world.generations[:-1]).content)
        said["models"][0]["stable"]["version"] = "6.6.6"
        return json.dumps(said | {"serial": f"{version:x}"}).encode()

    def _header(self, content: bytes, version: int, rng: random.Random) -> Header:
        times = {"version": version, "expires_ms": int(_EXPIRES.timestamp() * 1000)}
        body = json.dumps({**json.loads(content), **times}).encode()
        signature = base64.b64encode(self._own_header.sign(body)).decode()
        prefix = rng.choice(["ed25519=", "", "none=", "ed25519=ed25519="])
        return body, prefix + signature, '"forged"'
