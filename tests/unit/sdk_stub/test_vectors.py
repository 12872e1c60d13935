"""The vectors for authors of an SDK say what the reference does."""

import base64
import json
from typing import Any

import pytest

from sdk_stub.arm import arm_of, fraction
from sdk_stub.header_releases import HeaderReleases
from sdk_stub.held_config import HeldConfig
from tests.house import ROOT
from wire.errors import PermanentError

ARMS = json.loads((ROOT / "docs/vectors/arms.json").read_text())["cases"]
CONFIGS = json.loads((ROOT / "docs/vectors/release-configs.json").read_text())


@pytest.mark.parametrize("case", ARMS, ids=lambda case: f"{case['salt']}-{case['seed_hex']}")
def test_places_and_arms_are_as_the_vectors_say(case: dict[str, Any]) -> None:
    place = fraction(case["salt"], bytes.fromhex(case["seed_hex"]))

    assert place == case["place"] == (int(case["sha256_hex"][:16], 16) >> 11) / 2**53
    said = {share: arm_of(place, float(share)).name.lower() for share in case["arms"]}
    assert said == case["arms"]


@pytest.mark.parametrize("case", CONFIGS["cases"], ids=lambda case: str(case["what"]))
def test_release_configs_are_obeyed_or_refused_as_the_vectors_say(case: dict[str, Any]) -> None:
    class Source:
        def fetch(self, app_id: str, etag: str) -> tuple[bytes, str, str]:
            return base64.b64decode(case["body_base64"]), case["signature"], '"x"'

    reader = HeaderReleases(base64.b64decode(CONFIGS["public_key_base64"]), Source())
    version, held = case["held_version"], None
    if version is not None:
        held = HeldConfig(b"another", reader.trust, version, case["now_ms"] + 1, 1)

    def read() -> HeldConfig | None:
        return reader.refresh(CONFIGS["app_id"], held, now_ms=case["now_ms"], at=0)

    if case["expect"] == "obey":
        assert read() is not None
        return
    with pytest.raises(PermanentError):
        read()
