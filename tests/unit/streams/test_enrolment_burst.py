"""A burst of enrolments is told once per step, and a fleet's own beginning is none."""

from streams.enrolment_burst import EnrolmentBurst


def told(counts: list[int], step: int = 1, burst: EnrolmentBurst | None = None) -> list[int]:
    watch = burst or EnrolmentBurst()
    return [at for at, n in enumerate(counts) if watch.look(n, step) is not None]


def test_a_burst_is_told_once_and_again_in_the_next_step() -> None:
    watch = EnrolmentBurst()

    assert told([10] * 20 + [80, 900, 90], 1, watch) == [20]
    assert told([500] + [20] * 40 + [300], 2, watch) == [41]


def test_the_first_wave_and_small_numbers_are_no_burst() -> None:
    assert told([5000, 3000, 1000, *range(900, 0, -30)]) == []
    assert told([0] * 40 + [49]) == []
    assert told([30, 40] * 20 + [190]) == []
