"""Ratios are of figures that both trees have, pair by pair."""

import pytest

from bench.compare import compared, main

_OURS = {("S8", "server"): (2.0, "CPU-s"), ("S8", "new"): (1.0, "MB"), ("S8", "none"): (0, "n")}
_THEIRS = {("S8", "server"): (4.0, "CPU-s"), ("S8", "none"): (0, "n")}


def test_each_pair_gives_a_ratio_and_their_middle_is_the_figure() -> None:
    slow = {**_OURS, ("S8", "server"): (12.0, "CPU-s")}
    (result,) = compared([(_OURS, _THEIRS), (slow, _THEIRS), (_OURS, _THEIRS)])

    assert (result.what, result.value, result.n) == ("server (CPU-s)", 0.5, 3)
    assert (result.low, result.high) == (0.5, 3.0)


def test_what_one_tree_alone_says_is_left_out() -> None:
    assert [one.what for one in compared([(_OURS, _THEIRS)])] == ["server (CPU-s)"]


@pytest.mark.parametrize("arguments", [["no-such-commit", "e2e"], ["HEAD", "e2e", "--pairs", "0"]])
def test_what_cannot_be_compared_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["compare", *arguments])

    with pytest.raises(SystemExit):
        main()
    assert "error: " in capsys.readouterr().err
