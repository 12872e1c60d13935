"""One wrong clock does not move log time, however long it is wrong; a true jump does."""

from streams.log_time import CONFIRM_MS, JUMP_MS, LogTime

NOW_MS = 1_800_000_000_000
IN_2099_MS = 4_080_000_000_000


def ticked(time: LogTime, seconds: int, **clocks: int) -> int:
    """Every writer ticks once a second by its own clock."""
    for second in range(seconds):
        for writer, start_ms in clocks.items():
            time.advance(start_ms + 1000 * second, writer)
    return time.now_ms


def test_a_clock_in_2099_is_not_believed_while_another_tells_the_time() -> None:
    time = LogTime(NOW_MS)

    now_ms = ticked(time, 600, right=NOW_MS, wrong=IN_2099_MS)

    assert now_ms == NOW_MS + 599_000


def test_the_right_clock_of_two_keeps_log_time_going_when_the_other_comes_back() -> None:
    time = LogTime(NOW_MS)
    ticked(time, 60, right=NOW_MS, wrong=IN_2099_MS)

    now_ms = ticked(time, 10, right=NOW_MS + 60_000, wrong=NOW_MS + 60_000)

    assert now_ms == NOW_MS + 69_000


def test_the_only_clock_is_believed_after_half_a_minute() -> None:
    time = LogTime(NOW_MS)
    jumped_ms = NOW_MS + JUMP_MS + 3_600_000

    before_ms = ticked(time, CONFIRM_MS // 1000, only=jumped_ms)
    after_ms = ticked(time, 1, only=jumped_ms + CONFIRM_MS)

    assert before_ms == NOW_MS
    assert after_ms == jumped_ms + CONFIRM_MS


def test_two_clocks_that_agree_are_believed_at_once() -> None:
    time = LogTime(NOW_MS)
    jumped_ms = NOW_MS + JUMP_MS + 3_600_000

    assert ticked(time, 1, one=jumped_ms, other=jumped_ms) == jumped_ms


def test_clocks_half_a_minute_apart_give_the_time_of_the_one_ahead() -> None:
    time = LogTime(NOW_MS)

    now_ms = ticked(time, 60, ahead=NOW_MS + 30_000, behind=NOW_MS)

    assert now_ms == NOW_MS + 30_000 + 59_000


def test_a_state_goes_on_as_it_was_saved() -> None:
    time = LogTime(NOW_MS)
    ticked(time, 10, only=IN_2099_MS)

    again = LogTime(*time.state())  # type: ignore[arg-type]  # [int, str, int]

    assert again == time
