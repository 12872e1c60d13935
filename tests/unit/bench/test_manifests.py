"""A short run of the manifests' generator; the full count is `holdfast bench manifests`."""

import jsonschema
import numpy as np
import pytest

from actions.manifest_objects import objects_of
from actions.yaml_text import plain_values
from bench.manifest_maker import Maker, schema_of
from bench.manifests import through


def test_nothing_that_satisfies_its_schema_ends_the_stages() -> None:
    found = through(250, seed=5)

    assert not found.raised
    assert found.taken > found.repositories / 2
    assert found.watched > found.taken / 3
    assert found.windows > 2 * found.taken


@pytest.mark.parametrize("seed", range(5))
def test_what_is_made_satisfies_its_schema(seed: int) -> None:
    made = Maker(np.random.default_rng(seed)).repository()

    objects = [
        o.value for content in made.files.values() for o in objects_of(plain_values(content))
    ]
    assert len(objects) == made.manifests
    for value in objects:
        jsonschema.Draft202012Validator(schema_of(value["kind"])).validate(value)
