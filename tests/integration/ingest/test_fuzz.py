"""Bodies kept from fuzzing, and fresh ones: a code that is planned, and neighbours are receipted.

The counts of the acceptance line are `holdfast bench fuzz`'s; here is a short run of the same.
"""

from pathlib import Path

import pytest

from bench.bodies import Road
from bench.fuzz import Tally, in_process, judge_group, over_the_wire
from bench.hostile_bodies import SMALL_BYTES, Body, bodies, json_head
from wire.decode import Encoding

NOW_MS = 1_790_000_000_000
GOOD = Body("good", Encoding.JSON, "identity", json_head(NOW_MS) + b"}")
CORPUS = sorted((Path(__file__).parents[2] / "corpus").iterdir())


def test_what_fuzzing_found_stays_harmless() -> None:
    tally, road = Tally(), Road(NOW_MS)
    for file in CORPUS:
        encoding, how, _ = file.name.split("-")
        judge_group(
            road, [Body(file.name, Encoding(encoding), how, file.read_bytes())], GOOD, tally
        )

    assert len(CORPUS) >= 100
    assert tally.codes.total() == len(CORPUS)
    assert not tally.failed


def test_hostile_shapes_leave_their_neighbours_alone() -> None:
    tally, road = Tally(), Road(NOW_MS)
    shapes = list(bodies(NOW_MS - 1_000, SMALL_BYTES))
    for at in range(0, len(shapes), 16):
        judge_group(road, shapes[at : at + 16], GOOD, tally)

    assert len(shapes) >= 800
    assert tally.codes.total() == len(shapes)
    assert not tally.failed


@pytest.mark.parametrize("seed", [11, 12])
def test_fresh_mutations_break_no_promise(seed: int) -> None:
    tally = in_process(15_000, seed, float("inf"))

    assert tally.done >= 15_000
    assert tally.codes["taken"] > 100  # mutations that get nowhere would prove nothing
    assert not tally.failed


def test_fresh_mutations_over_the_wire_get_a_planned_answer() -> None:
    tally = over_the_wire(2_000, 13, float("inf"))

    assert tally.done == 2_000
    assert tally.codes["200"] > 20
    assert not tally.failed
