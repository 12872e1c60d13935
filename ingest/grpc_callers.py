"""Whose calls reach grpcio: of whoever shows a valid key whose quota is not used up."""

from collections.abc import Callable
from dataclasses import dataclass

from ingest.keys import bearer
from ingest.ports import Keys
from ingest.quota import Quotas
from wire.errors import PermanentError, TransientError


@dataclass(frozen=True, slots=True)
class Callers:
    """`count_refused` is told the code of each refusal that is answered."""

    keys: Keys
    quotas: Quotas
    count_refused: Callable[[str], None]

    def slot_of(self, address: str) -> int:
        """Where the quota counts this address's prefix."""
        return self.quotas.slot_of(address)

    def knows(self, authorization: bytes) -> bool:
        """Whether the key is valid."""
        return self._app_shown(authorization) is not None

    def is_welcome(self, authorization: bytes, slot: int) -> bool:
        """Whether a call may go on, by a glance: nothing is counted."""
        app_id = self._app_shown(authorization)
        return app_id is not None and not self.quotas.is_used_up(app_id, slot)

    def goes_first(self, authorization: bytes, slot: int, asks: int) -> bool:
        """Whether it comes before strangers. So many connections and calls are counted."""
        app_id = self._app_shown(authorization)
        return app_id is not None and self.quotas.goes_first(app_id, slot, asks)

    def refusal(self, authorization: bytes, slot: int) -> PermanentError | TransientError | None:
        """Why a call may not go on; None if it may."""
        try:
            app_id = self._app_of(authorization)
            if self.quotas.is_used_up(app_id, slot):
                self.quotas.spend(app_id, slot, 0)
        except PermanentError as error:
            self.count_refused(error.code)
            return error
        except TransientError as error:
            return error
        return None

    def _app_shown(self, authorization: bytes) -> str | None:
        try:
            return self._app_of(authorization)
        except PermanentError:
            return None

    def _app_of(self, authorization: bytes) -> str:
        return self.keys.app_of(bearer(authorization.decode("latin-1")))
