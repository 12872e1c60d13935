"""What may wait at the door: no app, and no half-sent body, takes all of it."""

import numpy as np
import pytest

from ingest.admission import Admission
from wire.errors import TransientError


def admission() -> Admission:
    return Admission(bytes_max=1000, uploads_max=100, rng=np.random.default_rng(1))


def filled(door: Admission, owner: str) -> int:
    """How many pieces of 10 bytes this app gets in."""
    count = 0
    try:
        while True:
            door.take(10, owner)
            count += 1
    except TransientError:
        return count


def test_one_app_gets_three_quarters_and_leaves_room_for_another() -> None:
    door = admission()

    assert filled(door, "camera") == 75
    assert filled(door, "keyboard") >= 15
    assert filled(door, "third") >= 1


def test_bodies_that_are_not_whole_get_half() -> None:
    door = admission()
    door.take_part(500, "camera")

    with pytest.raises(TransientError):
        door.take_part(1, "keyboard")
    door.take(200, "camera")
    door.give_part_back(500, "camera")
    door.give_back(200, "camera")
    assert (door.in_flight, door.in_flight_bytes, door.part_bytes) == (0, 0, 0)
