"""A repository of many releases is tried in time that grows with their number alone."""

import pytest

from holdfast.desired_state import read_state
from holdfast.manifests import Clocks, Model, policy_text, repository_files
from ingest.releases import models_of
from wire.desired import Desired


def test_the_models_of_an_app_are_tried_once_however_many_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = tuple(Model(f"a{i % 3}", f"m{i}", "1.0.0", "1.1.0", 0.1) for i in range(30))
    policy = policy_text(Clocks(), regions=("DE",), apps=("a0", "a1", "a2"))
    files = {path: text.encode() for path, text in repository_files(models, policy).items()}
    asked: list[str] = []

    def noted(app_id: str, desired: Desired, now_ms: int) -> list[dict[str, object]]:
        asked.append(app_id)
        return models_of(app_id, desired, now_ms)

    monkeypatch.setattr("holdfast.desired_state.models_of", noted)
    found = read_state(files, commit="c" * 40)

    assert len(found.releases) == 30
    assert sorted(asked) == ["a0", "a1", "a2"]
