"""What every detector keeps. A new one joins with one line in `CASES`.

The stream of a case is 300 windows as they are when nothing drifts, of which the last 200 may be
shifted. Drawing is by seed, so a failure names its seed.
"""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analytics.detectors import DETECTORS
from analytics.detectors.adwin import Adwin
from analytics.detectors.base import Detector, DetectorWindow, Finding, Plain, State, outcome_of
from analytics.detectors.label_drift import LabelDrift
from analytics.detectors.shiryaev_roberts import ShiryaevRoberts
from analytics.types import Outcome

WINDOW_MS = 900_000
QUIET, SHIFTED = 100, 200


@dataclass(frozen=True)
class Case:
    """`false_alarm_rate` is declared per window; `seeds` of 400 windows each must keep to it.

    `lengths` are two quiet stretches, of which the longer may not need more memory.
    """

    make: Callable[[], Detector]
    false_alarm_rate: float
    seeds: int
    lengths: tuple[int, int] = (2000, 4000)


CASES = [
    Case(ShiryaevRoberts, 1e-4, seeds=200),
    Case(Adwin, 1e-4, seeds=200),
    Case(LabelDrift, 1e-4, seeds=10, lengths=(200, 400)),
]


@pytest.fixture(params=CASES, ids=lambda case: case.make.__name__)
def case(request: pytest.FixtureRequest) -> Case:
    assert isinstance(request.param, Case)
    return request.param


def stream(
    seed: int, *, windows: int = QUIET + SHIFTED, onset: int = QUIET
) -> list[DetectorWindow]:
    """Heavy-tailed scores shifted by 1.5 sd, and labels of which 5 % and then 20 % are wrong."""
    rng = np.random.default_rng(seed)
    z = rng.standard_t(4, windows) / np.sqrt(2.0) + 1.5 * (np.arange(windows) >= onset)
    hits = rng.binomial(100, np.where(np.arange(windows) >= onset, 0.2, 0.05))
    return [
        DetectorWindow(t * WINDOW_MS, 100, float(z[t]), 0.1, int(hits[t])) for t in range(windows)
    ]


def run(detector: Detector, windows: list[DetectorWindow]) -> list[Finding]:
    return [detector.update(window) for window in windows]


def through_a_codec(state: State) -> State:
    """What a snapshot does to a state: bytes and back, nothing shared."""
    copied: State = pickle.loads(pickle.dumps(state))  # noqa: S301 - made on this line
    return copied


def canonical(value: Plain) -> object:
    """A state as comparable values: equal states are equal to the last bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return {key: canonical(part) for key, part in value.items()}
    if isinstance(value, list):
        return [canonical(part) for part in value]
    return value


def test_every_detector_has_a_line_here_and_a_card() -> None:
    assert {case.make for case in CASES} == set(DETECTORS)
    cards = Path(__file__).parents[2] / "docs" / "detectors"
    assert all((cards / f"{make().name}.md").is_file() for make in DETECTORS)


def test_a_lasting_shift_is_caught_and_stays_caught(case: Case) -> None:
    findings = run(case.make(), stream(1))

    alarms = [t for t, f in enumerate(findings) if f.outcome is Outcome.BREACH]
    assert alarms
    assert QUIET <= alarms[0] <= QUIET + 60
    assert alarms == list(range(alarms[0], QUIET + SHIFTED))
    assert findings[-1].direction == 1


def test_an_alarm_ends_after_the_series_is_back(case: Case) -> None:
    detector = case.make()
    run(detector, stream(2))

    findings = run(detector, stream(3, windows=150, onset=150))

    assert findings[-1].outcome is Outcome.PASS


def test_a_thin_window_is_inconclusive_and_changes_nothing(case: Case) -> None:
    detector = case.make()
    run(detector, stream(4)[:QUIET])
    before = canonical(detector.state())

    finding = detector.update(DetectorWindow(QUIET * WINDOW_MS, 29, 50.0, 0.1, 29))

    assert finding.outcome is Outcome.INCONCLUSIVE
    assert canonical(detector.state()) == before


@pytest.mark.parametrize("cut", [0, 1, 7, 50, 104, 108, 115, 200])
def test_a_restart_changes_nothing(case: Case, cut: int) -> None:
    windows = stream(5)
    steady, first, second = case.make(), case.make(), case.make()
    run(first, windows[:cut])
    second.restore(through_a_codec(first.state()))

    expected = run(steady, windows)

    assert run(second, windows[cut:]) == expected[cut:]


def test_a_state_is_not_changed_by_later_windows(case: Case) -> None:
    detector = case.make()
    run(detector, stream(6)[:QUIET])
    kept = detector.state()
    before = canonical(kept)

    run(detector, stream(6)[QUIET:])

    assert canonical(kept) == before


def test_a_finding_can_be_recomputed_from_its_own_fields(case: Case) -> None:
    windows = stream(7)
    windows[::9] = [replace(window, count=20, hits=0) for window in windows[::9]]

    for finding in run(case.make(), windows):
        outcome = outcome_of(
            count=finding.count,
            count_min=finding.count_min,
            statistic_sup=finding.statistic_sup,
            threshold=finding.threshold,
        )
        assert finding.outcome is outcome
        assert finding.statistic <= finding.statistic_sup


def test_the_order_of_two_series_does_not_matter(case: Case) -> None:
    a, b = case.make(), case.make()
    one, other = stream(8), stream(9)

    interleaved = [(a.update(x), b.update(y)) for x, y in zip(one, other, strict=True)]

    alone = list(zip(run(case.make(), one), run(case.make(), other), strict=True))
    assert interleaved == alone


def test_memory_is_bounded(case: Case) -> None:
    detector = case.make()
    short, long = case.lengths
    run(detector, stream(10, windows=short, onset=short - 50))
    early = len(pickle.dumps(detector.state()))

    run(detector, stream(11, windows=long, onset=long - 50))

    assert len(pickle.dumps(detector.state())) <= max(2 * early, 8192)


def test_false_alarms_stay_under_the_declared_rate(case: Case) -> None:
    windows = 400
    alarms, exposure = 0, 0

    for seed in range(100, 100 + case.seeds):
        findings = run(case.make(), stream(seed, windows=windows, onset=windows))
        breaches = [t for t, f in enumerate(findings) if f.outcome is Outcome.BREACH]
        alarms += bool(breaches)
        exposure += breaches[0] if breaches else windows

    # So many or more would be seen less than once in ten thousand times at the declared rate.
    allowed = stats.poisson.isf(1e-4, case.false_alarm_rate * exposure)
    assert alarms <= allowed, f"{alarms} in {exposure} windows, seeds 100 to {99 + case.seeds}"


def test_a_fall_is_told_from_a_rise() -> None:
    mirrored = [replace(w, z=-w.z) for w in stream(12)]

    for detector in (ShiryaevRoberts(), Adwin()):
        assert run(detector, mirrored)[-1].direction == -1


def test_only_rises_alarm_where_only_rises_are_watched() -> None:
    mirrored = [replace(w, z=-w.z) for w in stream(13)]

    findings = run(ShiryaevRoberts(directions=(1,)), mirrored)

    assert all(f.outcome is Outcome.PASS for f in findings)


def test_fewer_wrong_labels_are_no_alarm() -> None:
    better = [replace(w, hits=20 if t < QUIET else 2) for t, w in enumerate(stream(14))]

    assert all(f.outcome is Outcome.PASS for f in run(LabelDrift(), better))


def test_adwin_bytes_of_another_river_are_not_read() -> None:
    detector = Adwin()
    run(detector, stream(15)[:QUIET])
    state = {**detector.state(), "river": "0.0.1", "compiled": b"unreadable"}

    restored = Adwin()
    restored.restore(state)

    assert restored.update(stream(15)[QUIET]).windows == QUIET + 1


@pytest.mark.parametrize("wrong", ["text", [1.0], b"\0"])
def test_a_state_of_the_wrong_shape_is_refused(case: Case, wrong: str | list[float]) -> None:
    detector = case.make()

    with pytest.raises(ValueError, match="state holds"):
        detector.restore({**detector.state(), "windows": wrong})  # type: ignore[dict-item]  # on purpose
