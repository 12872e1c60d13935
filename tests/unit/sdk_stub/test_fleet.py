"""The simulated fleet: seeded, obedient, one bet per phone, and each fault in its own law alone."""

from collections.abc import Iterable
from functools import cache

import numpy as np
import pytest
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sdk_stub.faults import FAULTS, FaultTarget
from sdk_stub.fleet import FleetSettings
from sdk_stub.releases import OfferedRollout
from sdk_stub.simulate import Fleet
from tests.fakes.phone_world import START_MS, config, rng, rollout
from wire.columns import UINT_ABSENT
from wire.decode import Encoding, decode_group
from wire.pb import telemetry_pb2 as pb

TARGET = FaultTarget("m0", "1.1.0")
QUICK = FleetSettings(
    phones=900, adoption_ms=500, download_ms=300, gap_ms=5000, idle_gap_ms=20_000, late_share=0.1
)


@cache
def _run(
    fault: str, *, seed: int = 1, offered: OfferedRollout | None = None, ticks: int = 70
) -> list[pb.UploadRequest]:
    fleet = Fleet(QUICK, rng=rng(seed), fault=FAULTS[fault], target=TARGET)
    fleet.obey(config(offered or rollout()), START_MS)
    return _parse(o.body for k in range(1, ticks + 1) for o in fleet.tick(START_MS + 100 * k))


def _parse(bodies: Iterable[bytes]) -> list[pb.UploadRequest]:
    return [pb.UploadRequest.FromString(body) for body in bodies]


@pytest.fixture(scope="module")
def healthy() -> list[pb.UploadRequest]:
    return _run("none")


def test_equal_seeds_give_equal_bytes(healthy: list[pb.UploadRequest]) -> None:
    again = _run.__wrapped__("none")

    assert [u.SerializeToString() for u in again] == [u.SerializeToString() for u in healthy]
    assert _run("none", seed=2, ticks=10) != healthy[:10]


def test_every_upload_is_whole(healthy: list[pb.UploadRequest]) -> None:
    assert len({u.batch_id for u in healthy}) == len(healthy)
    for upload in healthy:
        for name in ("latency_ms", "event_offset_ms", "unit_bet", "error_code", "confidence"):
            assert len(getattr(upload, name)) == upload.n
        assert len(UnknownFieldSet(upload)) == 0
        assert upload.created_ms <= START_MS + 8000


def test_the_server_side_decoder_reads_the_same_columns(
    healthy: list[pb.UploadRequest],
) -> None:
    bodies = [(Encoding.PROTOBUF, u.SerializeToString()) for u in healthy[:500]]

    decoded = decode_group(bodies)

    sent = np.concatenate([np.array(u.latency_ms, "f4") for u in healthy[:500]])
    assert decoded.errors == {}
    assert not decoded.group.unknown_fields.any()
    assert np.array_equal(decoded.group.columns["latency_ms"], sent)


def test_some_uploads_tell_of_hours_ago(healthy: list[pb.UploadRequest]) -> None:
    late = [
        u for u in healthy if u.n and START_MS - u.created_ms + max(u.event_offset_ms) > 700_000
    ]

    assert 0.05 < len(late) / sum(u.n > 0 for u in healthy) < 0.15


def test_enrolled_phones_bet_once_and_report_one_day(healthy: list[pb.UploadRequest]) -> None:
    enrolled = sum(u.enrolled for u in healthy)
    bets = sum(sum(u.unit_bet) for u in healthy)
    days = sum(len(u.unit_days) for u in healthy)

    assert enrolled == 900
    assert 0.95 * enrolled < bets <= enrolled
    assert 0.95 * enrolled < days <= enrolled
    assert max(sum(u.unit_bet) for u in healthy) == 1
    assert all(u.enrolled_ms % 500 == 0 for u in healthy)


phases = st.lists(
    st.tuples(st.integers(1, 4000), st.integers(1, 8), st.sampled_from([None, 0.1, 0.5])),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30, deadline=None)
@given(phases, st.integers(0, 100))
def test_one_phone_bets_once_however_the_fleet_is_stepped(
    steps: list[tuple[int, int, float | None]], seed: int
) -> None:
    alone = FleetSettings(phones=1, adoption_ms=200, download_ms=200, gap_ms=500, gone_share=0.0)
    fleet = Fleet(alone, rng=rng(seed))
    now_ms, sent = START_MS, []
    for number, (gap_ms, ticks, share) in enumerate(steps):
        offered = None if share is None else rollout(share=share, step=number)
        fleet.obey(config(offered), now_ms)
        for _ in range(ticks):
            now_ms += gap_ms
            sent += [o.body for o in fleet.tick(now_ms)]

    uploads = _parse(sent)

    assert sum(sum(u.unit_bet) for u in uploads) <= sum(u.enrolled for u in uploads) <= 1
    assert sum(len(u.unit_days) for u in uploads) <= 1
    assert len({(u.context.step, u.context.arm) for u in uploads if u.context.rollout_id}) <= 1


def test_arms_run_their_versions_and_strangers_say_no_rollout(
    healthy: list[pb.UploadRequest],
) -> None:
    for upload in _run("none", offered=rollout(share=0.2)) + healthy:
        arm, rollout_id = upload.context.arm, upload.context.rollout_id
        assert (upload.context.model_version == "1.1.0") == (arm == pb.CANDIDATE)
        assert bool(rollout_id) == (arm != pb.ARM_UNSPECIFIED)


def test_the_fleet_recovers_after_a_rollback() -> None:
    fleet = Fleet(QUICK, rng=rng(), fault=FAULTS["latency"], target=TARGET)
    fleet.obey(config(rollout()), START_MS)
    for k in range(1, 40):
        fleet.tick(START_MS + 100 * k)
    assert fleet.version_share("app", "m0", "1.1.0") > 0.4

    fleet.obey(config(None), START_MS + 4000)
    late = [u for k in range(41, 120) for u in fleet.tick(START_MS + 100 * k)]

    assert fleet.version_share("app", "m0", "1.1.0") == 0.0
    assert all(u.context.model_version == "1.0.0" for u in _parse(o.body for o in late[-200:]))


COLUMNS = {
    "latency": {"latency_ms"},
    "tail": {"latency_ms"},
    "labels": {"prediction_class"},
    "battery": {"energy_mj"},
    "data": {"bytes_sent", "bytes_received"},
    "errors": {"error_code", "prediction_class"},  # a failed inference has no class
    "none": set[str](),
}
ALL = (
    "latency_ms",
    "energy_mj",
    "bytes_sent",
    "bytes_received",
    "memory_peak_kb",
    "prediction_class",
    "confidence",
    "error_code",
    "unit_bet",
)


def _column(uploads: list[pb.UploadRequest], name: str, arm: int) -> np.ndarray:
    return np.concatenate([np.array(getattr(u, name)) for u in uploads if u.context.arm == arm])


@pytest.mark.parametrize("fault", COLUMNS)
def test_a_fault_changes_its_own_columns_of_the_candidate_and_no_other_bit(
    fault: str, healthy: list[pb.UploadRequest]
) -> None:
    faulty = _run(fault)

    changed = {
        name
        for name in ALL
        if not np.array_equal(_column(faulty, name, 1), _column(healthy, name, 1))
    }
    assert changed == COLUMNS[fault]
    for name in ALL:
        assert np.array_equal(_column(faulty, name, 2), _column(healthy, name, 2))


def test_each_fault_has_the_size_that_its_name_promises(healthy: list[pb.UploadRequest]) -> None:
    def ratio(fault: str, name: str) -> np.ndarray:
        before = np.maximum(_column(healthy, name, 1), 1e-9)
        return np.asarray(_column(_run(fault), name, 1) / before)

    tail = ratio("tail", "latency_ms")
    assert np.allclose(ratio("latency", "latency_ms"), 1.2, rtol=1e-5)
    assert np.allclose(ratio("battery", "energy_mj"), 1.3, rtol=1e-5)
    assert np.allclose(np.median(ratio("data", "bytes_sent")), 1.5, rtol=0.01)
    assert np.allclose(tail[tail > 1.5], 2.0, rtol=1e-5)
    assert abs((tail > 1.5).mean() - 0.02) < 0.006
    errors = _column(_run("errors"), "error_code", 1) != 0
    assert stats.binomtest(int(errors.sum()), len(errors), 0.03).pvalue > 1e-6


def test_moved_labels_are_five_hundredths_of_total_variation(
    healthy: list[pb.UploadRequest],
) -> None:
    def shares(uploads: list[pb.UploadRequest], region: str) -> np.ndarray:
        here = [u for u in uploads if u.context.region == region]
        classes = _column(here, "prediction_class", 1)
        return np.bincount(classes[classes != UINT_ABSENT], minlength=10) / len(classes)

    faulty = _run("labels")

    moved = np.abs(shares(faulty, "US") - shares(healthy, "US")).sum() / 2
    assert abs(moved - 0.05) < 0.009


def test_arms_have_the_same_laws_when_nothing_is_wrong(healthy: list[pb.UploadRequest]) -> None:
    bets = {
        arm: [
            u.latency_ms[list(u.unit_bet).index(1)]
            for u in healthy
            if u.context.arm == arm and 1 in u.unit_bet
        ]
        for arm in (1, 2)
    }

    assert stats.ks_2samp(bets[1], bets[2]).pvalue > 1e-4


def test_silent_candidates_enrol_and_never_bet() -> None:
    faulty = _run("silent")

    def silent_share(arm: int) -> float:
        here = [u for u in faulty if u.context.arm == arm]
        return 1 - sum(sum(u.unit_bet) for u in here) / sum(u.enrolled for u in here)

    assert 0.04 < silent_share(1) < 0.13
    assert silent_share(2) < 0.045
