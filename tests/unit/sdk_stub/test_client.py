"""The reference client: consent, arms, one bet, ids kept over retries, nothing personal sent."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_stub.batch import Device, Inference
from sdk_stub.client import Client, ClientSettings
from sdk_stub.randomise import RandomisedResponse
from sdk_stub.retry import Backoff
from tests.fakes.phone_world import Clock, Server, SignedReleases, config, rng, rollout
from wire.errors import PermanentError, TransientError
from wire.pb import telemetry_pb2 as pb

DEVICE = Device("app", "1.0.0", "android", 15, "mid", "DE", "tflite")
MEASURED = {"latency_ms": 20.0, "energy_mj": 3.0, "prediction_class": 4, "bytes_sent": 100}


class World:
    """A client, its clock, its server and its configs."""

    def __init__(self, folder: Path, *, seed: int = 1, **changes: object) -> None:
        self.clock, self.server = Clock(), Server()
        self.releases = SignedReleases(config(rollout()))
        self.folder, self.seed, self.changes = folder, seed, changes
        self.client = self.start()

    def start(self) -> Client:
        made = ClientSettings(
            DEVICE,
            self.folder,
            self.releases.public_key,
            backoff=Backoff(base_ms=100, cap_ms=1000),
            **self.changes,  # type: ignore[arg-type] # each test names real settings
        )
        return Client(made, self.server, self.releases, now_ms=self.clock, rng=rng(self.seed))

    def join(self) -> str:
        """Consent, fetch, enrol, download; the version that runs from then on."""
        self.client.grant()
        self.client.refresh_releases()
        if self.client.download_became_possible("m0") is not None:
            self.client.downloaded("m0")
        return self.loaded()

    def loaded(self) -> str:
        loads = self.client.version_to_load("m0")
        assert loads is not None
        return loads.version

    def infer(self, count: int, *, version: str, cold: bool = False) -> None:
        for _ in range(count):
            self.clock.ms += 10
            self.client.record(Inference("m0", version, MEASURED, first_of_process=cold))

    def arrive(self) -> list[pb.UploadRequest]:
        self.client.flush()
        while (wait_ms := self.client.send()) is not None:
            self.clock.ms += wait_ms
        return self.server.taken


def test_without_consent_nothing_is_recorded_kept_or_sent(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.client.refresh_releases()

    world.client.download_became_possible("m0")
    world.infer(100, version="1.0.0")
    world.arrive()

    assert world.server.tried == []
    assert len(world.client.outbox.queue) == 0


def test_revoking_deletes_what_waits_and_leaves_the_rollout_for_good(tmp_path: Path) -> None:
    world = World(tmp_path)
    version = world.join()
    world.infer(50, version=version)

    world.client.revoke()
    world.arrive()
    world.client.grant()
    world.infer(80, version=world.join())

    assert not any(u.rollout_id for u in (t.context for t in world.arrive()))


def test_enrolment_is_said_once_and_coarsely(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.join()
    for _ in range(3):
        world.client.download_became_possible("m0")
        world.client = world.start()

    enrolments = [u for u in world.arrive() if u.enrolled]

    assert len(enrolments) == 1
    assert enrolments[0].enrolled_ms % 500 == 0
    assert enrolments[0].context.arm != pb.ARM_UNSPECIFIED


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 25), st.booleans(), st.booleans()), max_size=12),
    st.integers(0, 5),
)
def test_there_is_one_bet_however_the_app_lives(
    tmp_path_factory: pytest.TempPathFactory, lives: list[tuple[int, bool, bool]], seed: int
) -> None:
    world = World(tmp_path_factory.mktemp("phone"), seed=seed)
    version = world.join()
    warm = 0
    for count, cold, restart in lives:
        world.infer(count, version=version, cold=cold)
        warm += 0 if cold else count
        if restart:
            world.client.flush()
            world.client = world.start()
            world.client.refresh_releases()
            assert world.loaded() == version

    bets = [u for u in world.arrive() if sum(u.unit_bet)]

    assert sum(sum(u.unit_bet) for u in bets) <= 1
    assert len(bets) == 1 or warm <= 30
    assert not bets or warm >= 21
    assert all(u.enrolled_ms % 500 == 0 and u.enrolled_ms > 0 for u in bets)


def test_a_crash_between_state_and_queue_cannot_bet_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    version = world.join()
    world.infer(35, version=version)

    def die(upload: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world.client.outbox.queue, "put", die)
    with pytest.raises(KeyboardInterrupt):
        world.client.flush()
    world.client = world.start()
    world.infer(80, version=version)

    assert sum(sum(u.unit_bet) for u in world.arrive()) == 0


def test_after_a_rollback_the_stable_version_runs_and_nothing_bets(tmp_path: Path) -> None:
    world = World(tmp_path)
    version = world.join()
    world.infer(10, version=version)

    world.releases.serves = config(None)
    world.client.refresh_releases()
    world.infer(60, version=world.loaded())
    world.releases.serves = config(rollout())
    world.client.refresh_releases()
    world.infer(60, version=world.join())

    assert world.loaded() == "1.0.0"
    assert sum(sum(u.unit_bet) for u in world.arrive()) == 0


def test_each_day_block_is_reported_once_after_it_ended(tmp_path: Path) -> None:
    world = World(tmp_path)
    version = world.join()
    world.infer(10, version=version)
    world.client.record(Inference("m0", version, {**MEASURED, "error_code": 3}))
    assert not any(u.unit_days for u in world.arrive())

    world.clock.ms += 1500
    world.arrive()
    world.client = world.start()
    world.clock.ms += 20 * 1500
    days = [d for u in world.arrive() for d in u.unit_days]

    assert [d.day for d in days] == [0, 1, 3, 7]
    assert (days[0].errored, days[0].energy_mj, days[0].data_bytes) == (True, 33.0, 1100.0)
    assert not any(d.errored or d.energy_mj for d in days[1:])


def test_id_and_moment_are_kept_over_retries_and_restarts(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.client.grant()
    world.infer(3, version="1.0.0")
    world.server.answers = [TransientError("try_again", "", retry_after_s=7) for _ in range(3)]
    world.client.flush()
    began_ms = world.clock.ms

    wait_ms = world.client.send()
    assert wait_ms is not None
    assert wait_ms >= 7000
    world.client = world.start()
    world.arrive()

    assert len(world.server.tried) == 4
    assert len(set(world.server.tried)) == 1
    assert world.server.taken[0].created_ms == began_ms
    assert len(world.server.taken[0].batch_id) == 16


def test_a_permanent_refusal_is_dropped_and_counted_and_its_neighbours_arrive(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.client.grant()
    world.infer(80, version="1.0.0")
    world.server.answers = [PermanentError("refused", "HTTP 400")]

    taken = world.arrive()

    assert world.client.outbox.refused_count == 1
    assert [u.n for u in taken] == [40]


def test_columns_say_what_was_measured_and_nothing_else(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.client.grant()
    world.client.record(Inference("m0", "1.0.0", {"latency_ms": 5.0}))
    world.client.record(Inference("m0", "1.0.0", {"latency_ms": 6.0, "bytes_sent": 9}))
    world.client.record(Inference("m0", "1.0.0", {"energy_mj": 1.0}))

    first, second = world.arrive()

    assert (first.n, list(first.latency_ms)) == (2, [5.0, 6.0])
    assert list(first.bytes_sent) == [0xFFFFFFFF, 9]
    assert (second.n, list(second.latency_ms), list(second.energy_mj)) == (1, [], [1.0])


def test_an_unregistered_column_is_refused_where_it_is_written() -> None:
    with pytest.raises(PermanentError, match="unknown_metric"):
        Inference("m0", "1.0.0", {"user_name": 1.0})


def test_the_seed_never_leaves_the_phone(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.infer(60, version=world.join())
    world.clock.ms += 2000
    world.arrive()

    seed = world.client._installation.seed
    assert all(seed not in body and seed.hex().encode() not in body for body in world.server.tried)
    assert seed not in b"".join(e.encode() for e in world.releases.fetches)


def test_randomised_classes_carry_their_epsilon(tmp_path: Path) -> None:
    response = RandomisedResponse({4: 1}, 8, 2.0)
    world = World(tmp_path, randomised={"m0": response})
    world.client.grant()
    world.infer(40, version="1.0.0")

    (upload,) = world.arrive()

    assert upload.context.epsilon == 2.0
    assert set(upload.prediction_class) <= set(range(8))
    assert len(set(upload.prediction_class)) > 1


def test_labels_are_counts_and_the_bet_is_counted_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    version = world.join()
    kept = [world.client.record(Inference("m0", version, MEASURED)) for _ in range(40)]
    for recorded in [*kept, *kept]:
        assert recorded is not None
        world.client.record_label(recorded, is_correct=True, age_days=2)

    (report,) = [o for u in world.arrive() for o in u.outcomes]

    assert (report.label_age_days, report.correct, report.incorrect) == (2, 80, 0)
    assert (report.unit_correct, report.unit_incorrect) == (1, 0)


def test_a_config_that_is_not_signed_by_the_server_is_not_obeyed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.releases.forge = lambda body: body.replace(b"1.1.0", b"6.6.6")

    with pytest.raises(PermanentError, match="release_config_unsigned"):
        world.client.refresh_releases()

    assert world.client.version_to_load("m0") is None


def test_an_unchanged_config_is_not_read_again_and_serves_an_offline_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.client.refresh_releases()

    world.client = world.start()

    assert world.loaded() == "1.0.0"
    assert not world.client.refresh_releases()
