"""The release configuration: signed, cacheable, and without what was withdrawn."""

import base64
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from streams.log.memory import MemoryLog
from tests.fakes.ingest_world import APP, Running, desired, running
from tests.fakes.phone_http import CLIENT


def test_release_config_is_signed_and_cacheable(server: Running) -> None:
    url = f"{server.http}/v1/releases/{APP}"
    answer = CLIENT.get(url)
    key = CLIENT.get(server.http + "/v1/releases/keys").json()["keys"][0]["public_key"]
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))
    signature = base64.b64decode(answer.headers["holdfast-signature"].removeprefix("ed25519="))

    public.verify(signature, answer.content)
    with pytest.raises(InvalidSignature):
        public.verify(signature, answer.content + b" ")
    assert answer.json()["models"][0]["rollout"]["rollout_id"] == "next-word-2"
    assert "max-age" in answer.headers["cache-control"]
    again = CLIENT.get(url, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert CLIENT.get(server.http + "/v1/releases/nothing").status_code == 404


@pytest.mark.parametrize("state", [{"share": 0.0}, {"hold_until_ms": 1 << 60}])
def test_a_withdrawn_candidate_leaves_the_config_and_changes_its_etag(
    tmp_path: Path, state: dict[str, float]
) -> None:
    with running(tmp_path, MemoryLog()) as server:
        url = f"{server.http}/v1/releases/{APP}"
        before = CLIENT.get(url)

        server.declared.state = desired(**state)  # type: ignore[arg-type]
        after = CLIENT.get(url, headers={"if-none-match": before.headers["etag"]})

        assert after.status_code == 200
        assert after.json()["models"][0]["rollout"] is None
        assert after.json()["models"][0]["stable"]["version"] == "1.0"
