"""A profile's stacks: whose time it is."""

from bench.profile import describe, hottest, read_stacks, room_of

STACKS = """\
main (holdfast/service.py:10);step (streams/local_worker.py:70);sort (numpy/core.py:1) 30
main (holdfast/service.py:10);commit (/srv/app/ingest/commit.py:5) 60
select (selectors.py:1) 10
"""


def test_time_belongs_to_the_innermost_room_of_ours() -> None:
    rooms = [room_of(stack) for stack in read_stacks(STACKS)]

    assert rooms == ["streams", "ingest", "other"]


def test_the_hottest_function_is_named_with_its_file() -> None:
    assert hottest(read_stacks(STACKS)) == "commit.py: commit"


def test_shares_are_told_by_room_first() -> None:
    assert describe(read_stacks(STACKS))[0] == "  ingest 60%, streams 30%, other 10%"


def test_a_profile_without_samples_says_so() -> None:
    assert describe(read_stacks("")) == ["  no samples"]
