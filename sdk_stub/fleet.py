"""The phones of one model, moved on by `tick`: they obey, enrol, infer, report and go away."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sdk_stub.arm import Arm, find_bets
from sdk_stub.batch import SDK_VERSION
from sdk_stub.blocks import write_columns, write_heads, write_nested
from sdk_stub.faults import HEALTHY, Fault, FaultTarget, per_upload
from sdk_stub.phones import NEVER, Index, exponential_ms, make_fleetmates
from sdk_stub.population import PLATFORMS, TIERS, Column, Who, measure, season
from sdk_stub.releases import OfferedModel, OfferedRollout
from wire.pb import telemetry_pb2 as pb

ROWS: Final = (36, 40, 44)
"""Inferences in an ordinary upload; enough for nearly every phone to bet in its first."""
DAY_ROWS: Final = 8
_NETWORKS: Final = ("WIFI", "CELLULAR")
_PLACEMENTS: Final = ("DEVICE", "CLOUD")
_RUNTIMES: Final = {"android": "TFLITE", "ios": "COREML"}
_OS_MAJOR: Final = {"android": 15, "ios": 18}


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """How the phones of one model behave. Means are of exponential laws; shares in [0, 1]."""

    phones: int = 20_000
    regions: tuple[str, ...] = ("US", "IN", "BR", "DE")
    app_versions: Mapping[str, str] = field(default_factory=dict)  # by app id
    app_version: str = "1.0.0"  # of an app that is not listed
    sdk_version: str = SDK_VERSION
    adoption_ms: int = 4_000
    download_ms: int = 1_000
    gap_ms: int = 20_000  # between uploads of an enrolled phone, once it has reported its day
    idle_gap_ms: int = 60_000  # between uploads of every other phone
    spread_ms: int = 600_000  # the inferences of an upload lie in the time before it
    late_share: float = 0.05
    late_max_ms: int = 3 * 3_600_000
    gone_share: float = 0.02  # enrol and never come back, whatever the arm
    cold_share: float = 0.08  # inferences that are the first of their process
    cellular_share: float = 0.3
    cloud_share: float = 0.1
    crash_share: float = 0.003
    label_share: float = 0.3
    incorrect_share: float = 0.1


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One upload, ready to be sent with the key of its app. `rows` are its inferences."""

    app_id: str
    body: bytes
    rows: int


class ModelFleet:
    """All phones that carry one model of one app."""

    def __init__(
        self,
        settings: FleetSettings,
        app_id: str,
        model: OfferedModel,
        *,
        now_ms: int,
        rng: np.random.Generator,
        fault: Fault = HEALTHY,
        target: FaultTarget | None = None,
    ) -> None:
        self._settings = settings
        self._app_id = app_id
        self._model = model
        self._rng = rng
        self._fault = fault
        self._target = target
        self._contexts: dict[int, bytes] = {}
        first_ms = now_ms + exponential_ms(settings.idle_gap_ms, settings.phones, rng)
        self.phones = make_fleetmates(
            settings.phones, regions=len(settings.regions), first_send_ms=first_ms, rng=rng
        )
        self.phones.version[:] = self.phones.version_index(model.stable.version)
        self._announce(now_ms)

    def offer(self, model: OfferedModel, now_ms: int) -> None:
        """The config changed: each phone will see it, sooner or later."""
        if model != self._model:
            self._model = model
            self._announce(now_ms)

    def version_share(self, version: str) -> float:
        """Share of the phones that still send and carry this version."""
        alive = ~self.phones.gone
        carried = self.phones.version[alive] == self.phones.version_index(version)
        return float(carried.mean()) if len(carried) else 0.0

    def _announce(self, now_ms: int) -> None:
        alive = np.flatnonzero(~self.phones.gone)
        delay = exponential_ms(self._settings.adoption_ms, len(alive), self._rng)
        self.phones.obey_ms[alive] = now_ms + delay

    def tick(self, now_ms: int) -> list[Outgoing]:
        """What the phones send up to this moment."""
        phones = self.phones
        due = np.flatnonzero(phones.obey_ms <= now_ms)
        phones.obey(
            due,
            self._model,
            now_ms=now_ms,
            download_ms=self._settings.download_ms,
            rng=self._rng,
        )
        sent: list[Outgoing] = []
        enrolling = np.flatnonzero(phones.enrol_ms <= now_ms)
        if len(enrolling) and self._model.rollout is not None:
            sent += self._enrol(enrolling, self._model.rollout, now_ms)
        sending = np.flatnonzero(phones.send_ms <= now_ms)
        rows = self._rng.choice(ROWS, len(sending))
        for count in ROWS:
            sent += self._infer(sending[rows == count], count, now_ms)
        phones.send_ms[sending] = now_ms + np.where(
            phones.active[sending],
            exponential_ms(self._settings.gap_ms, len(sending), self._rng),
            exponential_ms(self._settings.idle_gap_ms, len(sending), self._rng),
        )
        reporting = np.flatnonzero(phones.day_ms <= now_ms)
        phones.day_ms[reporting] = NEVER
        sent += self._infer(reporting, DAY_ROWS, now_ms, reports_day=True)
        return sent

    def _enrol(self, who: Index, rollout: OfferedRollout, now_ms: int) -> list[Outgoing]:
        phones, settings = self.phones, self._settings
        phones.enrol(who, rollout, now_ms=now_ms, rng=self._rng)
        chance = self._rng.random(len(who))
        dies = chance < np.where(self._is_bad(who), self._fault.silent_share, 0.0)
        leaves = self._rng.random(len(who)) < settings.gone_share
        cohort_start_ms = now_ms - now_ms % rollout.cohort_ms
        said = pb.UploadRequest(enrolled=True, enrolled_ms=cohort_start_ms).SerializeToString()
        created = np.full(len(who), now_ms, np.int64)
        heads = self._heads(who, created, 0)
        phones.silence(who[dies | leaves])
        return [Outgoing(self._app_id, head + said, 0) for head in heads]

    def _is_bad(self, who: Index) -> NDArray[np.bool_]:
        phones, target = self.phones, self._target
        if target is None or target.model_id != self._model.model_id:
            return np.zeros(len(who), np.bool_)
        is_bad: NDArray[np.bool_] = phones.version[who] == phones.version_index(target.version)
        return is_bad

    def _infer(
        self, who: Index, rows: int, now_ms: int, *, reports_day: bool = False
    ) -> list[Outgoing]:
        """One upload of each of these phones, `rows` inferences in it."""
        if not len(who):
            return []
        rng, settings = self._rng, self._settings
        cold = rng.random((len(who), rows)) < settings.cold_share
        columns = measure(self._who(who), cold, season(now_ms), rng)
        bets = self._count(who, cold)
        self._add_up(who, columns)
        says_more = np.logical_or(bets.any(axis=1), reports_day)
        created, offset = self._times(len(who), rows, now_ms, keep_created=says_more)
        columns |= {"event_offset_ms": offset, "unit_bet": bets.astype("u4")}
        heads = self._heads(who, created, rows)
        days = self._days(who) if reports_day else [b""] * len(who)
        enrolments = self._enrolments(who, bets)
        return [
            Outgoing(self._app_id, head + enrolment + day + block, rows)
            for head, enrolment, day, block in zip(
                heads, enrolments, days, write_columns(columns), strict=True
            )
        ]

    def _who(self, who: Index) -> Who:
        kind = self.phones.kind
        return Who(
            tier=kind.tier[who],
            platform=kind.platform[who],
            region=kind.region[who],
            gain=kind.gain[who],
            fault=per_upload(self._fault, self._is_bad(who)),
        )

    def _count(self, who: Index, cold: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Count inferences of enrolled phones; the bets among them, one per phone at most."""
        phones = self.phones
        may_bet = phones.active[who] & ~phones.bet_done[who]
        position = np.where(may_bet, phones.bet_position[who], 0).astype(np.int32)
        counted, bets = find_bets(phones.counted[who], position, cold)
        phones.counted[who] = np.where(phones.active[who], counted, phones.counted[who])
        phones.bet_done[who] |= bets.any(axis=1)
        return bets

    def _add_up(self, who: Index, columns: Mapping[str, Column]) -> None:
        """The installation's values over its first day: what it used since it enrolled."""
        phones = self.phones
        counts = phones.active[who] & (phones.day_ms[who] != NEVER)
        at = who[counts]
        phones.errored[at] |= columns["error_code"][counts].any(axis=1)
        phones.energy_mj[at] += columns["energy_mj"][counts].sum(axis=1, dtype="f8")
        for name in ("bytes_sent", "bytes_received"):
            phones.data_bytes[at] += columns[name][counts].sum(axis=1, dtype="f8")

    def _times(
        self, uploads: int, rows: int, now_ms: int, *, keep_created: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """`created_ms` and offsets. A late upload was made hours ago, or tells of hours ago."""
        rng, settings = self._rng, self._settings
        held = np.where(
            rng.random(uploads) < settings.late_share,
            rng.integers(60_000, settings.late_max_ms, uploads),
            0,
        )
        created = now_ms - np.where(keep_created, 0, held)
        ages = rng.integers(0, settings.spread_ms, (uploads, rows), dtype=np.int64)
        ages = -np.sort(-ages, axis=1) + np.where(keep_created, held, 0)[:, None]
        return created, ages.astype("u4")

    def _enrolments(self, who: Index, bets: NDArray[np.bool_]) -> list[bytes]:
        """A bet says when its installation enrolled, as coarsely as the enrolment did."""
        said = [b""] * len(who)
        for i in np.flatnonzero(bets.any(axis=1)).tolist():
            cohort_start_ms = int(self.phones.cohort_start_ms[who[i]])
            said[i] = pb.UploadRequest(enrolled_ms=cohort_start_ms).SerializeToString()
        return said

    def _days(self, who: Index) -> list[bytes]:
        phones, settings = self.phones, self._settings
        crashed = self._rng.random(len(who)) < settings.crash_share
        labelled = self._rng.random(len(who)) < settings.label_share
        wrong = self._rng.random(len(who)) < settings.incorrect_share
        said = []
        for i, phone in enumerate(who.tolist()):
            upload = pb.UploadRequest()
            upload.unit_days.add(
                day=0,
                errored=bool(phones.errored[phone]),
                crashed=bool(crashed[i]),
                energy_mj=float(phones.energy_mj[phone]),
                data_bytes=float(phones.data_bytes[phone]),
            )
            if labelled[i] and phones.bet_done[phone]:
                incorrect = int(wrong[i])
                upload.outcomes.add(
                    correct=1 - incorrect,
                    incorrect=incorrect,
                    unit_correct=1 - incorrect,
                    unit_incorrect=incorrect,
                )
            said.append(upload.SerializeToString())
        return said

    def _heads(self, who: Index, created: NDArray[np.int64], rows: int) -> list[bytes]:
        rng, settings = self._rng, self._settings
        batch_ids = rng.integers(0, 256, (len(who), 16), dtype=np.uint8)
        cellular = (rng.random(len(who)) < settings.cellular_share).astype("i8")
        cloud = (rng.random(len(who)) < settings.cloud_share).astype("i8")
        codes = self._codes(who, cellular, cloud).tolist()
        contexts = []
        for i, code in enumerate(codes):
            if code not in self._contexts:
                self._contexts[code] = self._context(int(who[i]), int(cellular[i]), int(cloud[i]))
            contexts.append(self._contexts[code])
        heads = write_heads(batch_ids, created, rows)
        return [head + context for head, context in zip(heads, contexts, strict=True)]

    def _codes(
        self, who: Index, cellular: NDArray[np.int64], cloud: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """One number per context: mixed radix over all that a context says."""
        phones, kind = self.phones, self.phones.kind
        active = phones.active[who]
        code = np.where(active, phones.rollout[who] + 1, 0).astype("i8")
        for radix, part in (
            (1 << 10, np.where(active, phones.step[who], 0)),
            (3, np.where(active, phones.arm[who], 0)),
            (1 << 12, phones.version[who]),
            (len(self._settings.regions), kind.region[who]),
            (len(TIERS), kind.tier[who]),
            (len(PLATFORMS), kind.platform[who]),
            (2, cellular),
            (2, cloud),
        ):
            code = code * radix + part
        return code

    def _context(self, phone: int, cellular: int, cloud: int) -> bytes:
        phones, settings = self.phones, self._settings
        platform = PLATFORMS[phones.kind.platform[phone]]
        context = pb.Context(
            app_id=self._app_id,
            app_version=settings.app_versions.get(self._app_id, settings.app_version),
            platform=platform.upper(),
            os_major=_OS_MAJOR[platform],
            device_tier=TIERS[phones.kind.tier[phone]].upper(),
            region=settings.regions[phones.kind.region[phone]],
            network=_NETWORKS[cellular],
            model_id=self._model.model_id,
            model_version=phones.versions[phones.version[phone]],
            runtime=_RUNTIMES[platform],
            placement=_PLACEMENTS[cloud],
            sdk_version=settings.sdk_version,
        )
        if phones.active[phone]:
            context.rollout_id = phones.rollouts[phones.rollout[phone]]
            context.step = int(phones.step[phone])
            is_candidate = phones.arm[phone] == Arm.CANDIDATE
            context.arm = pb.Arm.CANDIDATE if is_candidate else pb.Arm.CONTROL
        return write_nested("context", context.SerializeToString())
