"""Recorded runs on real phones through the whole road. Needs them: HOLDFAST_DATA."""

import json
from collections.abc import Callable, Sequence
from functools import cache

import pytest

from analytics.types import Outcome
from holdfast.config import data_folder
from holdfast.replay import Judgement, ReplayPlan, ReplayResult, Written, judge, replay_runs, write
from holdfast.replay_command import RECORDINGS, as_record, run_replay
from sdk_stub.recorded import Run, read_runs

DATA = data_folder() / RECORDINGS
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(),
    reason=f"NO RECORDED RUNS at {DATA}: set HOLDFAST_DATA; acceptance A3 is NOT tested",
)


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return read_runs(DATA)


@pytest.fixture(scope="module")
def upgrade(runs: Sequence[Run]) -> ReplayResult:
    return replay_runs(runs, ReplayPlan("upgrade", seed=1))


@pytest.fixture(scope="module")
def mixed(runs: Sequence[Run]) -> Callable[[ReplayPlan], Judgement]:
    """Judges the unequal scenario; its log is written once per seed."""

    @cache
    def written(seed: int) -> Written:
        return write(runs, ReplayPlan("mixed-vendors", seed=seed, enrols_evenly=True))

    return lambda plan: judge(written(plan.seed), plan, each_alone=False).judged


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_against_its_own_random_half_is_not_rolled_back(
    runs: Sequence[Run], seed: int
) -> None:
    result = replay_runs(runs, ReplayPlan("same-model", seed=seed), each_alone=False)

    judged = result.judged
    assert result.refused == 0
    assert judged.breach_window is None
    assert judged.arithmetic.windows == 120
    assert max(judged.arithmetic.metrics.values()) < judged.arithmetic.log_threshold_equal / 2


def test_the_upgrade_is_found_by_its_labels_within_two_thousand_units(
    upgrade: ReplayResult,
) -> None:
    judged = upgrade.judged

    assert judged.outcome is Outcome.BREACH
    assert judged.arithmetic.metric == "label.incorrect"
    assert judged.units <= 2000
    assert judged.arithmetic.units_candidate > 300
    assert judged.arithmetic.units_control > 300


def test_the_upgrade_moves_less_of_the_class_groups_than_the_margin_tolerates(
    upgrade: ReplayResult,
) -> None:
    """0.7 % of the mass moves over 20 groups: not 2 %, and less than 50,000 images can show."""
    classes = upgrade.alone["prediction.class"].arithmetic

    assert upgrade.alone["prediction.class"].outcome is not Outcome.BREACH
    assert classes.units_candidate == classes.units_control == 50_000
    assert classes.effect_high < classes.margin
    assert classes.log_e_equal_sup < classes.log_threshold_equal


@pytest.mark.parametrize("seed", [1, 2])
def test_vendors_mixed_unequally_are_not_rolled_back_when_stratified(
    mixed: Callable[[ReplayPlan], Judgement], seed: int
) -> None:
    plan = ReplayPlan("mixed-vendors", seed=seed, enrols_evenly=True)

    judged = mixed(plan)

    assert judged.breach_window is None
    assert judged.arithmetic.windows == 120
    assert max(judged.arithmetic.metrics.values()) < judged.arithmetic.log_threshold_equal / 2


@pytest.mark.parametrize("seed", [1, 2])
def test_vendors_mixed_unequally_are_rolled_back_falsely_without_strata(
    mixed: Callable[[ReplayPlan], Judgement], seed: int
) -> None:
    plan = ReplayPlan("mixed-vendors", seed=seed, stratified=False, enrols_evenly=True)

    judged = mixed(plan)

    assert judged.outcome is Outcome.BREACH
    assert judged.arithmetic.metric == "label.incorrect"
    assert judged.units <= 15_000


def test_unequal_enrolments_stop_the_betting_when_stratified(runs: Sequence[Run]) -> None:
    plan = ReplayPlan("mixed-vendors", seed=1, windows=30)

    judged = replay_runs(runs, plan, each_alone=False).judged

    assert judged.outcome is Outcome.INCONCLUSIVE
    assert judged.arithmetic.reason == "assignment"


def test_the_same_seed_gives_the_same_result(upgrade: ReplayResult, runs: Sequence[Run]) -> None:
    again = replay_runs(runs, ReplayPlan("upgrade", seed=1), each_alone=False)

    assert again.judged == upgrade.judged


def test_the_command_gives_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code = run_replay(
        data_folder(), "same-model", seed=4, stratified=True, device=None, as_json=True
    )

    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert exit_code == 0
    assert said["verdict"] != "breach"
    assert said["breach_window"] is None
    assert set(said["metrics"]) == {"label.incorrect", "prediction.class", "inference.latency"}


def test_what_is_not_a_number_is_null(upgrade: ReplayResult) -> None:
    said = json.dumps(as_record(upgrade), allow_nan=False)

    assert json.loads(said)["metrics"]["inference.latency"]["effect"] is None
