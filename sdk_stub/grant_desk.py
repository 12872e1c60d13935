"""When a phone needs grants, and how it gets them. Whatever comes of it, uploads are kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sdk_stub.ports import GrantSource
from sdk_stub.releases import OfferedModel, ReleaseConfig
from sdk_stub.steady import SteadyClock
from sdk_stub.unit_grants import ASKED_FOR, UnitGrants
from wire.errors import PermanentError, TransientError
from wire.pb import telemetry_pb2 as pb

PROOF: Final = "grant"
_PAUSE_S: Final = 60
_REFUSED_PAUSE_S: Final = 3600


@dataclass(slots=True)
class GrantDesk:
    """Asks `source`, if there is one, while a config says that units need proof."""

    held: UnitGrants
    source: GrantSource | None
    attest: Callable[[], str]
    steady: SteadyClock
    _not_before: int = 0  # of the steady clock

    def ask(self, config: ReleaseConfig | None) -> None:
        """Have some when they are needed, not more often than once a minute."""
        models = config.models if config is not None else ()
        is_needed = any(m.rollout is not None and m.rollout.proof == PROOF for m in models)
        if self.source is None or not is_needed or self.steady() < self._not_before:
            return
        if not self.held.wants_more(self.steady.wall_ms()):
            return
        wait_s = 0
        try:
            self.held.take_in(self.source.ask_grants(ASKED_FOR, self.attest()))
        except TransientError as error:
            wait_s = error.retry_after_s
        except PermanentError:
            wait_s = _REFUSED_PAUSE_S
        self._not_before = self.steady() + max(wait_s, _PAUSE_S) * 1000

    def id_for(self, name: str) -> bytes | None:
        """The id of an upload of the queue."""
        return self.held.id_of(name, self.steady.wall_ms())

    def is_needed(self, upload: pb.UploadRequest, model: OfferedModel | None) -> bool:
        """Whether it carries a unit of a rollout in which only granted ids count."""
        rollout = None if model is None else model.rollout
        if self.source is None or rollout is None or rollout.proof != PROOF:
            return False
        carries = upload.enrolled or any(upload.unit_bet) or upload.unit_days or upload.outcomes
        return rollout.rollout_id == upload.context.rollout_id and bool(carries)
