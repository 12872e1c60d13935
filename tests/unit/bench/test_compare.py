"""Ratios are of figures that both trees have, pair by pair."""

from bench.compare import compared

_OURS = {("S8", "server"): (2.0, "CPU-s"), ("S8", "new"): (1.0, "MB"), ("S8", "none"): (0, "n")}
_THEIRS = {("S8", "server"): (4.0, "CPU-s"), ("S8", "none"): (0, "n")}


def test_each_pair_gives_a_ratio_and_their_middle_is_the_figure() -> None:
    slow = {**_OURS, ("S8", "server"): (12.0, "CPU-s")}
    (result,) = compared([(_OURS, _THEIRS), (slow, _THEIRS), (_OURS, _THEIRS)])

    assert (result.what, result.value, result.n) == ("server (CPU-s)", 0.5, 3)
    assert (result.low, result.high) == (0.5, 3.0)


def test_what_one_tree_alone_says_is_left_out() -> None:
    assert [one.what for one in compared([(_OURS, _THEIRS)])] == ["server (CPU-s)"]
