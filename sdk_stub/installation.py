"""What an installation keeps between starts: its seed, consent, rollouts. It never leaves it."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta

from sdk_stub.arm import SEED_BYTES, Arm, arm_of, draw_bet_position, fraction
from sdk_stub.buffer import write_whole
from sdk_stub.damage import put_aside, read_file
from sdk_stub.enrolment import Enrolment
from sdk_stub.held_config import HeldConfig
from sdk_stub.releases import OfferedModel, OfferedRollout, Whole
from wire.desired import Version

_REMEMBERED_MAX: Final = 64  # rollouts; older ones are withdrawn and cannot come back by then
_BYTES_MAX: Final = 4 << 20


@dataclass(slots=True)
class Installation:
    """All that is kept between starts of the app.

    `held`: the config to obey, for starts without network; `stables`: the last
    stable version of each model, for when no config is to be obeyed. `lived_ms`, `seen_ms`: where
    the `SteadyClock` and the wall clock stood.
    """

    seed: Annotated[bytes, Meta(min_length=SEED_BYTES, max_length=SEED_BYTES)]
    consent: bool = False
    held: HeldConfig | None = None
    enrolments: list[Enrolment] = field(default_factory=list)
    stables: dict[str, Version] = field(default_factory=dict)
    lived_ms: Whole = 0
    seen_ms: int | None = None

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
        self.stables[model.model_id] = model.stable
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
        self,
        model_id: str,
        rollout: OfferedRollout,
        *,
        now_ms: int,
        at: int,
        rng: np.random.Generator,
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
            enrolled_at=at,
            cohort_ms=rollout.cohort_ms,
            observation_ms=rollout.observation_ms,
            bet_position=draw_bet_position(rng),
            ready=arm is Arm.CONTROL and rollout.control == "plain",
        )
        self.enrolments = [*self.enrolments[-_REMEMBERED_MAX:], enrolment]
        return enrolment


def load_installation(path: Path, rng: np.random.Generator) -> tuple[Installation, bool]:
    """What was saved, and whether something unreadable lay there.

    What cannot be read is put aside: the app starts as new, with a fresh seed and no consent.
    """
    is_damaged = False
    try:
        content = read_file(path, bytes_max=_BYTES_MAX)
        return msgspec.json.decode(content, type=Installation), False
    except FileNotFoundError:
        pass
    except (OSError, ValueError, RecursionError):  # msgspec's and Unicode's are ValueErrors
        is_damaged = True
        put_aside(path)
    return Installation(seed=rng.bytes(SEED_BYTES)), is_damaged


def save_installation(path: Path, installation: Installation) -> bool:
    """Durable before anything that depends on it is sent: a bet lost is a bet not made twice.

    False if it could not be written.
    """
    with contextlib.suppress(OSError):
        write_whole(path, msgspec.json.encode(installation))
        return True
    return False
