"""Our own logs: what is said over and over by a client is said seldom."""

import logging

import pytest

from holdfast.observe import Seldom


def said(seldom: Seldom, name: str, message: str, at_s: float) -> bool:
    record = logging.makeLogRecord({"name": name, "msg": message, "created": at_s})
    return bool(seldom.filter(record))


def test_the_same_words_come_once_in_ten_seconds() -> None:
    seldom = Seldom("aiokafka")

    heard = [said(seldom, "aiokafka.client", "Unable connect to %s", at) for at in (1, 2, 9, 12)]

    assert heard == [True, False, False, True]


def test_other_words_and_other_loggers_are_heard() -> None:
    seldom = Seldom("aiokafka")
    said(seldom, "aiokafka.client", "Unable connect to %s", 1)

    assert said(seldom, "aiokafka.client", "Topic %s not found", 2)
    assert said(seldom, "aiokafka.fetcher", "Unable connect to %s", 2)


@pytest.mark.parametrize("name", ["holdfast.service", "root"])
def test_our_own_words_are_never_held_back(name: str) -> None:
    seldom = Seldom("aiokafka")

    assert [said(seldom, name, "store_away", 1) for _ in range(3)] == [True] * 3


def test_what_it_remembers_is_bounded() -> None:
    seldom = Seldom("aiokafka")
    for n in range(3_000):
        said(seldom, "aiokafka", f"message {n}", 1)

    assert len(seldom._said) <= 1_000
