"""When a phone needs grants, and how it gets them. Whatever comes of it, uploads are kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from sdk_stub.ports import GrantSource
from sdk_stub.releases import OfferedModel, ReleaseConfig
from sdk_stub.steady import SteadyClock
from sdk_stub.unit_grants import ASKED_FOR, ID_BYTES, UnitGrants
from wire.errors import PermanentError, TransientError
from wire.pb import telemetry_pb2 as pb

PROOF: Final = "grant"
_PAUSE_S: Final = 60
_REFUSED_PAUSE_S: Final = 3600


@dataclass(slots=True)
class GrantDesk:
    """Asks `source`, if there is one, when an upload with a unit is to go out and none is left.

    Not before: a network has few, and what lies on a phone expires there.
    """

    held: UnitGrants
    source: GrantSource | None
    attest: Callable[[], str]
    steady: SteadyClock
    rng: np.random.Generator
    _is_asked_for: bool | None = None  # of the config, once there is one
    _not_before: int = 0  # of the steady clock

    def obey(self, config: ReleaseConfig | None) -> None:
        """What the config in force says of proof."""
        if config is not None:
            rollouts = [model.rollout for model in config.models]
            self._is_asked_for = any(r is not None and r.proof == PROOF for r in rollouts)

    def id_for(self, name: str) -> bytes | None:
        """The id of an upload of the queue; None if it must wait for one.

        Where no rollout asks for proof any more, any id does: what waited for a grant goes out.
        """
        now_ms = self.steady.wall_ms()
        found = self.held.id_of(name, now_ms)
        if found is not None or self._is_asked_for is None:
            return found
        if not self._is_asked_for:
            return self.held.give(name, self.rng.bytes(ID_BYTES).hex())
        return self.held.id_of(name, now_ms) if self._ask() else None

    def _ask(self) -> bool:
        """Get some, not more often than once a minute."""
        if self.source is None or self.steady() < self._not_before:
            return False
        wait_s = 0
        try:
            self.held.take_in(self.source.ask_grants(ASKED_FOR, self.attest()))
        except TransientError as error:
            wait_s = error.retry_after_s
        except PermanentError:
            wait_s = _REFUSED_PAUSE_S
        self._not_before = self.steady() + max(wait_s, _PAUSE_S) * 1000
        return True

    def is_needed(self, upload: pb.UploadRequest, model: OfferedModel | None) -> bool:
        """Whether it carries a unit of a rollout in which only granted ids count."""
        rollout = None if model is None else model.rollout
        if self.source is None or rollout is None or rollout.proof != PROOF:
            return False
        labels = (o.unit_correct + o.unit_incorrect for o in upload.outcomes)
        carries = upload.enrolled or any(upload.unit_bet) or upload.unit_days or any(labels)
        return rollout.rollout_id == upload.context.rollout_id and bool(carries)
