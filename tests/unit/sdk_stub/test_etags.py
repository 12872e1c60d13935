"""An ETag that was spoilt or poisoned never keeps a phone from the config that holds."""

from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_stub.client import Client, ClientSettings
from sdk_stub.transport import HttpTransport
from tests.fakes.phone_world import Clock, Server, SignedReleases, config, rng, rollout
from tests.unit.sdk_stub.test_client import DEVICE

SPOILT = ["*", 'W/"*"', '"a,*,b"', '"a", *', '"a\nb"', '"a\r\nX-Other: 1"', '"☃"', '"é"', '"\0"']
SPOILT += [" x", "x", '"', '""', '"' + "x" * (1 << 17) + '"']
TAGS = st.one_of(st.sampled_from(SPOILT), st.text(max_size=40), st.from_regex(r'"[ -~]*"'))


class Door:
    """HTTP answers as the server gives them: "not modified" by each tag of a list, and by ``*``."""

    def __init__(self, folder: Path) -> None:
        self.releases = SignedReleases(config(rollout()))
        self.says_etag = ""
        self.spoilt = ""
        self.transport = HttpTransport("http://door", "hfk_x")
        self.transport._client = httpx.Client(
            base_url="http://door", transport=httpx.MockTransport(self._answer)
        )
        made = ClientSettings(DEVICE, folder, self.releases.public_key)
        self.client = Client(made, Server(), self, now_ms=Clock(), rng=rng())

    def fetch(self, app_id: str, etag: str) -> tuple[bytes, str, str] | None:
        """The client's source; what it keeps of the tag may be spoilt."""
        answer = self.transport.fetch(app_id, etag)
        return answer and (answer[0], answer[1], self.spoilt or answer[2])

    def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = self.releases.fetch("app", "")
        assert answer is not None
        body, signature, newest = answer
        known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
        if newest in known or "*" in known:
            return httpx.Response(304)
        headers = {"Holdfast-Signature": signature, "ETag": self.says_etag or newest}
        return httpx.Response(200, headers=headers, content=body)

    def rolls_back(self) -> None:
        self.releases.serves = config(None)


def test_one_poisoned_answer_does_not_freeze_the_phone(tmp_path: Path) -> None:
    for number, etag in enumerate(["*", '"a,*,b"', '"a", *', "x" * 5000]):
        door = Door(tmp_path / str(number))
        door.says_etag = etag
        assert door.client.refresh_releases()
        door.says_etag = ""
        door.rolls_back()

        assert door.client.refresh_releases(), etag

        assert door.client._config == config(None)


@pytest.mark.parametrize("etag", SPOILT)
def test_a_spoilt_tag_costs_one_unchanged_answer_at_most(tmp_path: Path, etag: str) -> None:
    door = Door(tmp_path)
    door.spoilt = etag
    door.client.refresh_releases()
    door.spoilt = ""
    door.rolls_back()

    assert door.client.refresh_releases()
    assert not door.client.refresh_releases(), "the new tag is shown again"


@settings(max_examples=100, deadline=None)
@given(TAGS)
def test_no_tag_stands_in_the_way(tmp_path_factory: pytest.TempPathFactory, etag: str) -> None:
    door = Door(tmp_path_factory.mktemp("phone"))
    door.spoilt = etag
    door.client.refresh_releases()
    door.spoilt = ""
    door.rolls_back()

    assert door.client.refresh_releases()
    assert door.client._config == config(None)
