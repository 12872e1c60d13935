"""Bodies kept from fuzzing, and fresh ones: a code that is planned, and neighbours are receipted.

The counts of the acceptance line are `holdfast bench fuzz`'s; here is a short run of the same.
"""

from contextlib import closing
from pathlib import Path

import pytest

from bench.bodies import Road, run
from bench.bodies_live import served
from bench.fuzz import NOW_MS, in_process, judge_group, kept, replayed
from bench.fuzz_wire import over_the_wire
from bench.honest_bodies import honest
from bench.hostile_bodies import SMALL_BYTES, bodies
from bench.roads import all_roads, is_planned
from bench.tally import Tally
from wire.decode import Encoding

CORPUS = Path(__file__).parents[2] / "corpus"


def test_what_fuzzing_found_stays_harmless() -> None:
    tally = replayed(CORPUS)

    assert tally.done == len(list(CORPUS.iterdir())) >= 100
    assert not tally.failed


def test_what_fuzzing_found_stays_harmless_over_every_road() -> None:
    good = honest(Encoding.PROTOBUF, "identity", 8, NOW_MS).wire
    asked, unplanned = 0, []

    with served() as server:
        for name, road in all_roads(server.told, server.told["key"], good):
            with closing(road):
                for body in filter(road.takes, kept(CORPUS)):
                    status = road.send(body)
                    asked += 1
                    if not is_planned(status):
                        unplanned.append((name, body.name, status))

    assert asked >= 600
    assert not unplanned


def test_hostile_shapes_leave_their_neighbours_alone() -> None:
    tally, road = Tally(), Road(NOW_MS)
    shapes = list(bodies(NOW_MS - 1_000, SMALL_BYTES))
    for at in range(0, len(shapes), 16):
        judge_group(road, shapes[at : at + 16], tally)

    assert tally.done == len(shapes) >= 800
    assert not tally.failed


def test_the_benchmark_sends_hostile_bodies_over_every_road() -> None:
    report = run((SMALL_BYTES,), "varints as context", is_live=True)

    bounded = [r.what for r in report.results if r.bound]
    for road in ("HTTP, short", "HTTP, ordinary", "HTTP, chunked", ":validate", "gRPC", "gRPC st"):
        for figure in ("worst CPU", "worst stall", "unplanned"):
            assert any(what.startswith(road) and figure in what for what in bounded)


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
