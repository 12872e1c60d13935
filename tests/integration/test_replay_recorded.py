"""Replay of the recorded runs. Needs the recordings: HOLDFAST_DATA, or ../shared/data."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sdk_stub.arm import Arm
from sdk_stub.recorded import GROUPS, consensus, read_runs
from sdk_stub.replay import Replay, ReplayIdentity
from sdk_stub.scenarios import Units
from tests.fakes.phone_world import START_MS, rng
from wire.errors import PermanentError
from wire.pb import telemetry_pb2 as pb

_ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HOLDFAST_DATA", _ROOT.parent / "shared" / "data")) / "mlperf_mobile"
IDENTITY = ReplayIdentity("app", "1.0.0", "m0", "1.0.0", "1.1.0", "r-1")
needs_recordings = pytest.mark.skipif(
    not DATA.is_dir(),
    reason=f"NO RECORDED RUNS at {DATA}: set HOLDFAST_DATA; replay of real data is NOT tested",
)


def _parse(bodies: Iterable[bytes]) -> list[pb.UploadRequest]:
    return [pb.UploadRequest.FromString(body) for body in bodies]


def _agreement(units: Units, arm: Arm) -> float:
    return float(units.is_correct[units.arm == arm].mean())


def test_the_consensus_is_the_class_that_most_runs_say() -> None:
    said = np.array([[1, 5, 7], [2, 5, 8], [2, 5, 9]], np.int32)

    assert consensus(said).tolist() == [2, 5, 7]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder of the same two files, made by hand: two vendors, two models, 40 images."""
    draw = rng(4)
    runs = [
        ("v4.0", vendor, device, task, "single_stream")
        for vendor, device in (("Qualcomm", "SD7G3"), ("Samsung", "Exynos2400"))
        for task in ("classification", "classification_v2")
    ]
    names = ("round", "vendor", "device", "task", "mode")
    columns: dict[str, list[object]] = {n: [] for n in (*names, "sample_idx", "class_id")}
    for run in runs:
        order = draw.permutation(40)
        for name, value in zip(names, run, strict=True):
            columns[name] += [value] * 40
        columns["sample_idx"] += order.tolist()
        columns["class_id"] += ((order * 25 + (run[3] == "classification_v2")) % 1000).tolist()
    pq.write_table(pa.table(columns), tmp_path / "predictions.parquet")
    timed = {n: [v] * 10 for n, v in zip(names[:4], runs[0][:4], strict=True)}
    times = {"seq": list(range(10)), "latency_ms": [float(i) for i in range(10)]}
    pq.write_table(pa.table({**timed, **times}), tmp_path / "latency.parquet")
    return tmp_path


@pytest.mark.parametrize("scenario", ["same-model", "upgrade", "mixed-vendors"])
def test_any_folder_of_the_two_files_replays(small: Path, scenario: str) -> None:
    def bodies() -> list[bytes]:
        replay = Replay(read_runs(small), scenario, IDENTITY, rng=rng(2), windows=7)
        return [u.body for w in replay.windows() for u in replay.uploads(w, START_MS)]

    uploads = _parse(bodies())

    assert bodies() == bodies()
    assert len(uploads) == (40 if scenario == "same-model" else 80)
    assert len({u.batch_id for u in uploads}) == len(uploads)
    for upload in uploads:
        assert (upload.n, list(upload.unit_bet), upload.enrolled) == (1, [1], True)
        assert upload.prediction_class[0] < GROUPS
        assert sum(o.unit_correct + o.unit_incorrect for o in upload.outcomes) == 1
        is_candidate = upload.context.arm == pb.CANDIDATE
        assert upload.context.model_version == ("1.1.0" if is_candidate else "1.0.0")


def test_latencies_are_sent_in_both_arms_or_in_none(small: Path) -> None:
    def timed(scenario: str) -> float:
        replay = Replay(read_runs(small), scenario, IDENTITY, rng=rng(2))
        return float(np.isfinite(replay.units.latency_ms).sum())

    assert timed("same-model") == 10
    assert timed("upgrade") == 0


def test_a_missing_folder_or_scenario_is_named(small: Path, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="unknown_scenario"):
        Replay(read_runs(small), "downgrade", IDENTITY, rng=rng())
    with pytest.raises(PermanentError, match="recorded_runs_missing"):
        read_runs(tmp_path / "nowhere")


@needs_recordings
def test_the_recordings_say_what_they_are_known_to_say() -> None:
    runs = {(r.device, r.task): r for r in read_runs(DATA)}

    assert 0.97 < runs["SD7G3", "classification"].is_correct.mean() < 0.98
    assert 0.90 < runs["Exynos2400", "classification"].is_correct.mean() < 0.93
    assert 0.81 < runs["SD7G3", "classification_v2"].is_correct.mean() < 0.84
    assert len(runs["SD7G3", "classification"].latency_ms) == 2247


@needs_recordings
@pytest.mark.parametrize(
    ("scenario", "low", "high"),
    [("same-model", -0.01, 0.01), ("upgrade", -0.17, -0.13), ("mixed-vendors", -0.05, -0.02)],
)
def test_the_scenarios_differ_in_agreement_as_the_models_do(
    scenario: str, low: float, high: float
) -> None:
    units = Replay(read_runs(DATA), scenario, IDENTITY, rng=rng(1)).units

    assert low < _agreement(units, Arm.CANDIDATE) - _agreement(units, Arm.CONTROL) < high


@needs_recordings
def test_mixed_vendors_differ_between_strata_and_not_within_them() -> None:
    units = Replay(read_runs(DATA), "mixed-vendors", IDENTITY, rng=rng(1)).units

    for region, candidate_share in (("QC", 0.2), ("EX", 0.8)):
        here = units.take(np.flatnonzero(units.region == region))
        assert abs(_agreement(here, Arm.CANDIDATE) - _agreement(here, Arm.CONTROL)) < 0.012
        assert abs((here.arm == Arm.CANDIDATE).mean() - candidate_share) < 1e-6
