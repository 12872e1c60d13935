"""A context is a key: equal ones hash alike, and its hash goes to no other process."""

import copy
import dataclasses
import pickle

from tests.unit.wire.test_decode import CONTEXT
from wire.context import Context


def test_equal_contexts_hash_alike_and_changed_ones_are_other_keys() -> None:
    again = Context(**dataclasses.asdict(CONTEXT))
    changed = dataclasses.replace(CONTEXT, step=CONTEXT.step + 1)

    assert len({CONTEXT, again}) == 1
    assert len({CONTEXT, changed}) == 2


def test_a_copy_brings_no_hash_of_another_process() -> None:
    hash(CONTEXT)
    for made in (pickle.loads(pickle.dumps(CONTEXT)), copy.copy(CONTEXT)):  # noqa: S301  # our own
        assert made == CONTEXT
        assert not hasattr(made, "_hashed")
