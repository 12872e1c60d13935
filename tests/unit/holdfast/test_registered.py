"""People are told once of names that nobody has registered, and anew after a change in Git."""

from dataclasses import replace

import pytest

from actions.messages import Notice
from holdfast.registered import WHERE, RegistrationWatch
from tests.fakes.ingest_world import desired


def test_each_field_is_told_once_a_policy(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Notice] = []
    watch = RegistrationWatch(told.append)
    state = desired()

    watch.look({"fields:unregistered_region": 3, "fields:unknown_field": 9}, state)
    watch.look({"fields:unregistered_region": 8}, state)
    assert len(told) == 1
    watch.look({"fields:unregistered_region": 8, "fields:unregistered_app_version": 1}, state)
    assert [n.code for n in told] == ["unregistered_names"] * 2
    later = replace(state, commit="later")
    watch.look({"fields:unregistered_region": 8}, later)
    assert len(told) == 2, "nothing new was said since the change"
    watch.look({"fields:unregistered_region": 9}, later)

    assert len(told) == 3
    assert len({n.key for n in told}) == 3
    assert [r.message for r in caplog.records] == ["unregistered_names"] * 3


def test_each_open_ended_field_has_a_place_in_the_policy() -> None:
    told: list[Notice] = []
    watch = RegistrationWatch(told.append)

    watch.look({f"fields:unregistered_{name}": 1 for name in WHERE}, desired())

    assert len(told) == len(WHERE)
