"""Wall clocks jump; waiting, ages and day blocks do not."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_stub.client import Client, ClientSettings
from sdk_stub.steady import SteadyClock
from tests.fakes.phone_world import START_MS, rng
from tests.unit.sdk_stub.test_client import DEVICE, World
from wire.errors import TransientError

YEAR_MS = 365 * 86_400_000
IN_2099_MS = 4_070_908_800_000
JUMPS = {
    "a year back": -YEAR_MS,
    "a year on": YEAR_MS,
    "1970": -START_MS,
    "before 1970": -2 * START_MS,
    "2099": IN_2099_MS - START_MS,
    "an hour back": -3_600_000,
    "the end of 64 bits": (1 << 62) - START_MS - 10**9,
}


@dataclass
class Phone:
    """A wall clock and a monotonic one; `lives` moves both, as time does."""

    wall_ms: int = START_MS
    ticks_ms: int = 5_000

    def lives(self, ms: int) -> None:
        self.wall_ms += ms
        self.ticks_ms += ms


class SteadyWorld(World):
    """A world whose client has a monotonic clock."""

    def __init__(self, folder: Path, *, seed: int = 1) -> None:
        self.phone = Phone()
        super().__init__(folder, seed=seed)

    def start(self) -> Client:
        made = ClientSettings(DEVICE, self.folder, self.releases.public_key)
        return Client(
            made,
            self.server,
            self.releases,
            now_ms=lambda: self.phone.wall_ms,
            monotonic_ms=lambda: self.phone.ticks_ms,
            rng=rng(self.seed),
        )

    def deliver(self) -> None:
        self.client.flush()
        while (wait_ms := self.client.send()) is not None:
            self.phone.lives(wait_ms)


@pytest.mark.parametrize("jump_ms", JUMPS.values(), ids=JUMPS)
@pytest.mark.parametrize("asked_s", [0, 20])
def test_a_jump_neither_shortens_nor_lengthens_a_back_off(
    tmp_path: Path, jump_ms: int, asked_s: int
) -> None:
    world = SteadyWorld(tmp_path)
    world.client.grant()
    world.infer(1, version="1.0.0")
    world.client.flush()
    world.server.answers = [TransientError("try_again", "", retry_after_s=asked_s)]
    before_ms = world.client.send()
    assert before_ms is not None

    world.phone.wall_ms += jump_ms

    assert world.client.send() == before_ms
    world.phone.ticks_ms += before_ms
    assert world.client.send() is None
    assert len(world.server.taken) == 1


@pytest.mark.parametrize("jump_ms", JUMPS.values(), ids=JUMPS)
def test_without_a_monotonic_clock_no_jump_makes_it_wait_longer(
    tmp_path: Path, jump_ms: int
) -> None:
    world = World(tmp_path)
    world.client.grant()
    world.infer(1, version="1.0.0")
    world.client.flush()
    world.server.answers = [TransientError("try_again", "", retry_after_s=20)]
    before_ms = world.client.send()
    assert before_ms is not None

    world.clock.ms += jump_ms
    after_ms = world.client.send()

    assert after_ms is not None
    assert after_ms <= before_ms
    world.clock.ms += after_ms
    assert world.client.send() is None


@pytest.mark.parametrize("jump_ms", JUMPS.values(), ids=JUMPS)
def test_ages_are_what_passed_and_the_upload_can_be_said(tmp_path: Path, jump_ms: int) -> None:
    world = SteadyWorld(tmp_path)
    world.client.grant()
    world.infer(1, version="1.0.0")
    world.phone.lives(700)
    world.phone.wall_ms += jump_ms
    world.infer(1, version="1.0.0")

    world.deliver()

    (upload,) = world.server.taken
    assert list(upload.event_offset_ms) == [700, 0]


@pytest.mark.parametrize("jump_ms", JUMPS.values(), ids=JUMPS)
def test_day_blocks_go_by_what_was_lived(tmp_path: Path, jump_ms: int) -> None:
    world = SteadyWorld(tmp_path)
    version = world.join()
    world.infer(3, version=version)
    world.phone.wall_ms += jump_ms
    world.infer(4, version=version)
    world.deliver()
    assert not any(u.unit_days for u in world.server.taken)

    for _ in range(20):
        world.phone.lives(1500)
        world.deliver()
    days = [d for u in world.server.taken for d in u.unit_days]

    assert [d.day for d in days] == [0, 1, 3, 7]
    assert days[0].energy_mj == 21.0


@pytest.mark.parametrize("jump_ms", JUMPS.values(), ids=JUMPS)
def test_a_jump_while_the_app_was_closed_ends_no_day(tmp_path: Path, jump_ms: int) -> None:
    world = SteadyWorld(tmp_path)
    world.infer(3, version=world.join())
    world.phone = Phone(world.phone.wall_ms + jump_ms, ticks_ms=40)

    world.client = world.start()
    world.deliver()

    assert not any(u.unit_days for u in world.server.taken)
    assert world.client.consents


@pytest.mark.parametrize("jump_ms", JUMPS.values(), ids=JUMPS)
def test_enrolling_under_a_wrong_clock_harms_nobody(tmp_path: Path, jump_ms: int) -> None:
    world = SteadyWorld(tmp_path)
    world.phone.wall_ms += jump_ms

    world.infer(60, version=world.join())
    world.deliver()
    world.phone.wall_ms -= jump_ms
    world.client = world.start()
    world.infer(60, version=world.loaded())
    world.deliver()

    assert sum(u.enrolled for u in world.server.taken) == 1
    assert sum(sum(u.unit_bet) for u in world.server.taken) == 1


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from(["lives", "jumps", "restarts"]), st.integers(-(10**14), 10**14)),
        max_size=30,
    )
)
def test_the_steady_clock_never_goes_back_and_lives_what_ticks(
    steps: list[tuple[str, int]],
) -> None:
    phone = Phone()
    clock = SteadyClock(lambda: phone.wall_ms, lambda: phone.ticks_ms)
    last, lived = clock(), 0
    for what, ms in steps:
        if what == "lives":
            phone.lives(abs(ms))
            lived += abs(ms)
        elif what == "jumps":
            phone.wall_ms += ms
        else:
            clock = SteadyClock(
                lambda: phone.wall_ms, lambda: phone.ticks_ms, clock.lived_ms, clock.seen_ms
            )
        now = clock()
        assert now >= last
        last = now

    if all(what != "restarts" for what, _ in steps):
        assert clock() == lived
