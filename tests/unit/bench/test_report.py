"""What a benchmark says, and when it says that a bound was missed."""

import json
import math

import pytest

from bench.report import Report, Result


def test_a_bound_holds_at_its_limit_and_not_beyond() -> None:
    assert Result("A10", "cost", 4.0, "CPU-s", ("<=", 4.0)).is_ok
    assert not Result("A10", "cost", 4.01, "CPU-s", ("<=", 4.0)).is_ok
    assert Result("A10", "rate", 8000, "1/s", (">=", 8000)).is_ok
    assert not Result("A10", "rate", 7999, "1/s", (">=", 8000)).is_ok


def test_a_figure_that_is_no_number_misses_its_bound() -> None:
    assert not Result("A10", "cost", math.nan, "CPU-s", ("<=", 4.0)).is_ok


def test_a_run_without_figures_proves_nothing() -> None:
    assert not Report("e2e", []).is_ok


def test_the_json_line_is_the_contract_and_strict_json(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("e2e", [Result("A10", "cost", 3.5, "CPU-s", ("<=", 4.0), n=2)])

    code = report.give(as_json=True)

    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0
    assert said["bench"] == "e2e"
    assert said["results"] == [
        {
            "id": "A10",
            "what": "cost",
            "value": 3.5,
            "unit": "CPU-s",
            "bound": "<= 4",
            "ok": True,
            "n": 2,
            "low": None,
            "high": None,
        }
    ]
    assert said["machine"]["cores"] >= 1


def test_one_missed_bound_makes_the_exit_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = (Result("A10", "x", v, "s", ("<=", 1.0)) for v in (0.5, 1.5))

    code = Report("e2e", [good, bad]).give(as_json=False)

    assert code == 1
    assert "MISSED" in capsys.readouterr().out
