"""What an installation remembers: its seed, and its part in each rollout. It never leaves it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from sdk_stub.arm import SEED_BYTES, Arm, arm_of, count_inference, draw_bet_position, fraction
from sdk_stub.buffer import write_whole
from sdk_stub.releases import OfferedModel, OfferedRollout
from wire.errors import PermanentError

DAYS: Final = (0, 1, 3, 7)
"""Day blocks after enrolment that are reported, each once."""
_REMEMBERED_MAX: Final = 64  # rollouts; older ones are withdrawn and cannot come back by then


@dataclass(slots=True)
class DayTotals:
    """What an installation reports of one day block."""

    errored: bool = False
    crashed: bool = False
    energy_mj: float = 0.0
    data_bytes: float = 0.0


@dataclass(slots=True)
class Enrolment:
    """One installation's part in one rollout. `ready`: the version of its arm is on the phone."""

    model_id: str
    rollout_id: str
    step: int
    arm: Arm
    enrolled_ms: int
    cohort_ms: int
    observation_ms: int
    bet_position: int
    ready: bool
    retired: bool = False
    counted: int = 0
    bet_done: bool = False
    label_done: bool = False
    days: dict[int, DayTotals] = field(default_factory=dict)
    days_sent: list[int] = field(default_factory=list)

    @property
    def cohort_start_ms(self) -> int:
        """When it enrolled, as coarse as it is sent."""
        return self.enrolled_ms - self.enrolled_ms % self.cohort_ms

    def count(self, *, first_of_process: bool) -> bool:
        """One more inference with the version of the arm: is it the betting event?"""
        self.counted, bets = count_inference(
            self.counted, self.bet_position, first_of_process=first_of_process
        )
        if bets and not self.bet_done:
            self.bet_done = True
            return True
        return False

    def day_totals(self, at_ms: int) -> DayTotals | None:
        """Totals of the reported block that this moment lies in."""
        block = (at_ms - self.enrolled_ms) // self.observation_ms
        return self.days.setdefault(block, DayTotals()) if block in DAYS else None

    def take_ended_days(self, now_ms: int) -> list[tuple[int, DayTotals]]:
        """Blocks that have ended and were never reported; they count as reported from here on."""
        ended = [
            day
            for day in DAYS
            if day not in self.days_sent
            and now_ms >= self.enrolled_ms + (day + 1) * self.observation_ms
        ]
        self.days_sent.extend(ended)
        return [(day, self.days.pop(day, DayTotals())) for day in ended]


@dataclass(slots=True)
class Installation:
    """All that is kept between starts of the app."""

    seed: bytes
    consent: bool = False
    signed_config: tuple[bytes, str, str] | None = None  # body, signature, ETag: for offline starts
    enrolments: list[Enrolment] = field(default_factory=list)

    def find(self, rollout_id: str, model_id: str) -> Enrolment | None:
        """The part in this rollout, retired or not."""
        return next(
            (e for e in self.enrolments if e.rollout_id == rollout_id and e.model_id == model_id),
            None,
        )

    def active(self, model_id: str) -> Enrolment | None:
        """The rollout of this model that the installation takes part in."""
        return next((e for e in self.enrolments if e.model_id == model_id and not e.retired), None)

    def obey(self, model: OfferedModel) -> None:
        """Retire what the config no longer offers to this place: it never bets again."""
        for enrolment in self.enrolments:
            if enrolment.model_id == model.model_id and not self._is_offered(enrolment, model):
                enrolment.retired = True

    def _is_offered(self, enrolment: Enrolment, model: OfferedModel) -> bool:
        rollout = model.rollout
        return (
            rollout is not None
            and rollout.rollout_id == enrolment.rollout_id
            and arm_of(fraction(rollout.salt, self.seed), rollout.share) == enrolment.arm
        )

    def enrol(
        self, model_id: str, rollout: OfferedRollout, *, now_ms: int, rng: np.random.Generator
    ) -> Enrolment | None:
        """Take part, at the step at which this place first falls into a slice; once per rollout."""
        arm = arm_of(fraction(rollout.salt, self.seed), rollout.share)
        if arm is Arm.NONE or self.find(rollout.rollout_id, model_id) is not None:
            return None
        enrolment = Enrolment(
            model_id=model_id,
            rollout_id=rollout.rollout_id,
            step=rollout.step,
            arm=arm,
            enrolled_ms=now_ms,
            cohort_ms=rollout.cohort_ms,
            observation_ms=rollout.observation_ms,
            bet_position=draw_bet_position(rng),
            ready=arm is Arm.CONTROL and rollout.control == "plain",
        )
        self.enrolments = [*self.enrolments[-_REMEMBERED_MAX:], enrolment]
        return enrolment


def load_installation(path: Path, rng: np.random.Generator) -> Installation:
    """What was saved, or a new installation with a fresh seed and no consent."""
    if not path.exists():
        return Installation(seed=rng.bytes(SEED_BYTES))
    try:
        return msgspec.json.decode(path.read_bytes(), type=Installation)
    except msgspec.MsgspecError as error:
        raise PermanentError("installation_unreadable", "the saved state is damaged") from error


def save_installation(path: Path, installation: Installation) -> None:
    """Durable before anything that depends on it is sent: a bet lost is a bet not made twice."""
    write_whole(path, msgspec.json.encode(installation))
