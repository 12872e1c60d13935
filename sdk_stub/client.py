"""The reference client: what an app calls, and all that leaves the phone.

Nothing is recorded or sent without consent. No hardware id, no address and no free text exist in
any call: contexts are enumerations and registered names, and the seed stays in the folder.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from sdk_stub.arm import Arm
from sdk_stub.batch import (
    Batch,
    BatchKey,
    Device,
    Inference,
    float_columns,
    is_sayable,
    key_of,
    say_day,
    say_enrolled,
    start_upload,
)
from sdk_stub.buffer import UploadQueue
from sdk_stub.damage import forget_asides
from sdk_stub.enrolment import Enrolment
from sdk_stub.grant_desk import GrantDesk
from sdk_stub.header_releases import HeaderReleases
from sdk_stub.installation import load_installation, save_installation
from sdk_stub.measured import is_count, only_sound
from sdk_stub.outbox import Outbox
from sdk_stub.ports import GrantSource, ReleaseSource, Transport, Verifier
from sdk_stub.randomise import RandomisedResponse
from sdk_stub.releases import OfferedModel, ReleaseConfig, parse_config
from sdk_stub.retry import Backoff
from sdk_stub.steady import SteadyClock
from sdk_stub.unit_grants import UnitGrants
from wire.desired import Version
from wire.pb import telemetry_pb2 as pb


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """`public_key`: raw Ed25519, shipped with the app, where configs come in the header's form.

    `randomised`: per model id. `attest` gives what the platform says about this phone.
    """

    device: Device
    folder: Path
    public_key: bytes = b""
    queue_bytes_max: int = 4_000_000
    rows_max: int = 40
    backoff: Backoff = field(default_factory=Backoff)
    randomised: Mapping[str, RandomisedResponse] = field(default_factory=dict)
    attest: Callable[[], str] = lambda: ""


_UNSAYABLE: Final = (ValueError, TypeError, OverflowError)
"""What protobuf raises for a value that its field cannot hold."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the app keeps of an inference if a label may come later. Never sent as such."""

    key: BatchKey
    bets: bool


class Client:
    """One installation of one app.

    Give the platform's monotonic clock as `monotonic_ms`: waiting, ages and day blocks go by it.
    `left_out` counts what was not worth sending, by column, or as ``inference``, ``upload``,
    ``label``, ``installation`` (the saved one was damaged), ``config`` (the saved one is not to be
    believed any more) and ``unsaved``.
    """

    def __init__(
        self,
        settings: ClientSettings,
        transport: Transport,
        releases: ReleaseSource | Verifier,
        *,
        now_ms: Callable[[], int],
        rng: np.random.Generator,
        monotonic_ms: Callable[[], int] | None = None,
        grants: GrantSource | None = None,
    ) -> None:
        self._settings = settings
        self._releases = (
            releases
            if isinstance(releases, Verifier)
            else HeaderReleases(settings.public_key, releases)
        )
        self._rng = rng
        self._state_path = settings.folder / "installation.json"
        self.left_out: Counter[str] = Counter()
        self._installation, is_damaged = load_installation(self._state_path, rng)
        self.left_out["installation"] += is_damaged
        self._steady = SteadyClock(
            now_ms, monotonic_ms, self._installation.lived_ms, self._installation.seen_ms
        )
        queue = UploadQueue(settings.folder / "queue", bytes_max=settings.queue_bytes_max)
        held = UnitGrants(settings.folder / "grants.json", queue.names)
        self._grants = GrantDesk(held, grants, settings.attest, self._steady, rng)
        self.outbox = Outbox(
            *(queue, transport, settings.backoff, self._steady, rng),
            id_for=self._grants.id_for,
            settled=held.settle,
        )
        self._config = self._saved_config()
        self._batches: dict[BatchKey, Batch] = {}
        self._labels: dict[tuple[BatchKey, int], pb.OutcomeFeedback] = {}

    @property
    def consents(self) -> bool:
        """Whether the person has agreed; off until then."""
        return self._installation.consent

    def grant(self) -> None:
        """The person agrees to send telemetry."""
        self._installation.consent = True
        self._save()

    def revoke(self) -> None:
        """The person withdraws: what waits is deleted, rollouts are left for good."""
        self._installation.consent = False
        for enrolment in self._installation.enrolments:
            enrolment.retired = True
            enrolment.days.clear()
        self._batches.clear()
        self._labels.clear()
        self.outbox.queue.clear()
        self._grants.held.clear()
        forget_asides(self._settings.folder)
        if not self._save():
            self._state_path.unlink(missing_ok=True)  # no consent is what a new one begins with

    def refresh_releases(self) -> bool:
        """Fetch the release config if it changed; whether it says something new.

        Raises PermanentError if what came is not to be obeyed, TransientError if nothing came: what
        is held stays in force until it expires.
        """
        held = self._releases.refresh(
            self._settings.device.app_id,
            self._installation.held,
            now_ms=self._steady.wall_ms(),
            at=self._steady(),
        )
        if held is None:
            return False
        before, self._config = self._config, parse_config(held.body)
        self._installation.held = held
        for model in self._config.models:
            self._installation.obey(model)
        self._save()
        return before is None or before.models != self._config.models

    def download_became_possible(self, model_id: str) -> Version | None:
        """Network and charging allow a download now: enrol, and say what to download, if anything.

        Both arms enrol at this moment, so that both are counted under the same conditions.
        """
        model = self._model(model_id)
        if not self.consents or model is None or model.rollout is None:
            return None
        enrolment = self._installation.enrol(
            model_id,
            model.rollout,
            now_ms=self._steady.wall_ms(),
            at=self._steady(),
            rng=self._rng,
        )
        if enrolment is not None:
            self._announce(enrolment, model)
        active = self._installation.active(model_id)
        if active is None or active.ready:
            return None
        return model.rollout.candidate if active.arm is Arm.CANDIDATE else model.stable

    def downloaded(self, model_id: str) -> None:
        """The version that `download_became_possible` named is on the phone."""
        enrolment = self._installation.active(model_id)
        if enrolment is not None:
            enrolment.ready = True
            self._save()

    def version_to_load(self, model_id: str) -> Version | None:
        """What the app must load; None before the first config.

        Without a config to obey it is the last stable version.
        """
        model = self._model(model_id)
        if model is None:
            return self._installation.stables.get(model_id)
        enrolment = self._installation.active(model_id)
        if enrolment is None or not enrolment.ready or model.rollout is None:
            return model.stable
        return model.rollout.candidate if enrolment.arm is Arm.CANDIDATE else model.stable

    def record(self, inference: Inference) -> Recorded | None:
        """Keep one inference for the next upload; None without consent, or if it cannot be said."""
        if not self.consents:
            return None
        if not is_sayable(inference):
            self.left_out["inference"] += 1
            return None
        inference = replace(inference, measured=only_sound(inference.measured, self.left_out))
        at = self._steady()
        enrolment = self._counting(inference.model_id, inference.model_version)
        bets = False
        if enrolment is not None:
            bets = enrolment.count(first_of_process=inference.first_of_process)
        self._add_to_day(inference, at)
        measured, epsilon = self._privatise(inference)
        key = key_of(inference, enrolment)
        key = replace(key, epsilon=epsilon, floats=float_columns(measured))
        batch = self._batches.setdefault(key, Batch(key))
        batch.add(at, measured, bets=bets)
        if len(batch.rows) >= self._settings.rows_max:
            self._enqueue_batch(self._batches.pop(key))
        return Recorded(key, bets)

    def record_crash(self, model_id: str) -> None:
        """The app found at its start that the model's code had crashed it."""
        enrolment = self._installation.active(model_id)
        totals = enrolment.day_totals(self._steady()) if enrolment and self.consents else None
        if totals is not None:
            totals.crashed = True
            self._save()

    def record_label(self, recorded: Recorded, *, is_correct: bool, age_days: int) -> None:
        """A label came later. Only counts by its age are sent."""
        if not self.consents:
            return
        if not is_count(age_days):
            self.left_out["label"] += 1
            return
        key = replace(recorded.key, floats=frozenset())
        report = self._labels.setdefault(
            (key, age_days), pb.OutcomeFeedback(label_age_days=age_days)
        )
        report.correct += is_correct
        report.incorrect += not is_correct
        enrolment = self._installation.find(key.rollout_id, key.model_id)
        if recorded.bets and enrolment is not None and not enrolment.label_done:
            enrolment.label_done = True
            report.unit_correct += is_correct
            report.unit_incorrect += not is_correct

    def flush(self) -> None:
        """Put everything that is known into the queue: rows, ended day blocks, labels."""
        if not self.consents:
            return
        while self._batches:  # taken out first: whatever becomes of it, its rows are said once
            self._enqueue_batch(self._batches.pop(next(iter(self._batches))))
        while self._labels:
            key, age_days = next(iter(self._labels))
            self._enqueue_label(key, self._labels.pop((key, age_days)))
        for enrolment in self._installation.enrolments:
            if not enrolment.retired:
                self._enqueue_days(enrolment)
        self._save()  # where the steady clock stands, too

    def send(self) -> int | None:
        """Send what waits; milliseconds until the next try makes sense, None if nothing waits."""
        if not self.consents:
            return None
        self._grants.obey(self._config)
        return self.outbox.send_due()

    def _saved_config(self) -> ReleaseConfig | None:
        """The last config, for a start without network, if the app still believes who signed it.

        Else it is dropped with its ETag, so that the next fetch brings one.
        """
        held = self._installation.held
        if held is None:
            return None
        if self._releases.believes(held, self._settings.device.app_id):
            return parse_config(held.body)
        self._installation.held = None
        self.left_out["config"] += 1
        return None

    def _model(self, model_id: str) -> OfferedModel | None:
        """What is offered now: a config that has expired offers its stable version alone."""
        held = self._installation.held
        model = None if self._config is None else self._config.model(model_id)
        if held is None or model is None or model.rollout is None:
            return model
        is_good = held.is_good(now_ms=self._steady.wall_ms(), at=self._steady())
        return model if is_good else replace(model, rollout=None)

    def _counting(self, model_id: str, model_version: str) -> Enrolment | None:
        """The enrolment that this inference belongs to: its arm's version must have run."""
        enrolment = self._installation.active(model_id)
        expected = self.version_to_load(model_id)
        if enrolment is None or not enrolment.ready or expected is None:
            return None
        is_on = self._is_offered(enrolment)
        return enrolment if is_on and expected.version == model_version else None

    def _is_offered(self, enrolment: Enrolment) -> bool:
        """Whether a config that is to be obeyed says that this rollout goes on."""
        model = self._model(enrolment.model_id)
        rollout = None if model is None else model.rollout
        return rollout is not None and rollout.rollout_id == enrolment.rollout_id

    def _privatise(self, inference: Inference) -> tuple[Mapping[str, float], float]:
        response = self._settings.randomised.get(inference.model_id)
        truth = inference.measured.get("prediction_class")
        if response is None:
            return inference.measured, 0.0
        if truth is None:
            return inference.measured, response.epsilon
        answer = response.answer(int(truth), self._rng)
        return {**inference.measured, "prediction_class": answer}, response.epsilon

    def _add_to_day(self, inference: Inference, at: int) -> None:
        """The installation's value, whichever version ran: both arms are counted from enrolment."""
        enrolment = self._installation.active(inference.model_id)
        totals = None if enrolment is None else enrolment.day_totals(at)
        if totals is None:
            return
        measured = inference.measured
        totals.errored |= measured.get("error_code", 0) != 0
        totals.energy_mj += measured.get("energy_mj", 0.0)
        totals.data_bytes += measured.get("bytes_sent", 0) + measured.get("bytes_received", 0)

    def _announce(self, enrolment: Enrolment, model: OfferedModel) -> None:
        key = self._key_of_arm(enrolment, model)
        self._enqueue(key, lambda upload: say_enrolled(upload, enrolment))

    def _enqueue_days(self, enrolment: Enrolment) -> None:
        model = self._model(enrolment.model_id)
        if model is None or not self._is_offered(enrolment):
            return  # until a config says whether it goes on
        ended = enrolment.take_ended_days(self._steady())
        if not ended:
            return

        def say(upload: pb.UploadRequest) -> None:
            for day, totals in ended:
                say_day(upload, day, totals)

        self._enqueue(self._key_of_arm(enrolment, model), say)

    def _key_of_arm(self, enrolment: Enrolment, model: OfferedModel) -> BatchKey:
        offered = model.stable
        if enrolment.arm is Arm.CANDIDATE and model.rollout is not None:
            offered = model.rollout.candidate
        key = key_of(Inference(model.model_id, offered.version, {}), enrolment)
        response = self._settings.randomised.get(model.model_id)
        # the stratum of its bets, so that they count among those that enrolled there
        return key if response is None else replace(key, epsilon=response.epsilon)

    def _enqueue_label(self, key: BatchKey, report: pb.OutcomeFeedback) -> None:
        self._enqueue(key, lambda upload: upload.outcomes.append(report))

    def _enqueue_batch(self, batch: Batch) -> None:
        def say(upload: pb.UploadRequest) -> None:
            batch.fill(upload, at=self._steady())
            if any(batch.bets):
                enrolment = self._installation.find(batch.key.rollout_id, batch.key.model_id)
                upload.enrolled_ms = 0 if enrolment is None else enrolment.cohort_start_ms

        self._enqueue(batch.key, say)

    def _enqueue(self, key: BatchKey, say: Callable[[pb.UploadRequest], object]) -> None:
        """Make an upload and queue it. One that cannot be made, or counted, is lost alone."""
        try:
            upload = start_upload(
                self._settings.device, key, now_ms=self._steady.wall_ms(), rng=self._rng
            )
            say(upload)
            if self._grants.is_needed(upload, self._model(key.model_id)):
                upload.batch_id = b""  # until it is sent
            body = upload.SerializeToString()
        except _UNSAYABLE:
            self.left_out["upload"] += 1
            return
        # first: after a crash in between, what was said once is not said again
        if self._save():
            self.outbox.queue.put(body)

    def _save(self) -> bool:
        self._installation.lived_ms = self._steady()
        self._installation.seen_ms = self._steady.seen_ms
        is_saved = save_installation(self._state_path, self._installation)
        self.left_out["unsaved"] += not is_saved
        return is_saved
