"""Who may replay or discard: the first to ask, in the order of the letters' topic, till it ends.

Every command reads the same records in the same order, so all agree on one holder, and time plays
no part: a command that hangs for an hour still holds its claim when it goes on. So does one that
was killed, since nobody can tell the two apart; a person who knows that it has ended takes over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CLAIM_KEY: Final = b"replay"
CLAIM: Final = "claim"
TAKE_OVER: Final = "take-over"
RELEASE: Final = "release"


@dataclass(slots=True)
class ReplayClaim:
    """`holder` is the name of the one life that may append; "" if nobody does."""

    holder: str = ""

    def take(self, headers: Mapping[str, bytes]) -> None:
        """Take the topic's next record under `CLAIM_KEY` in; its header's value is a name."""
        if TAKE_OVER in headers:
            self.holder = headers[TAKE_OVER].decode()
        elif CLAIM in headers and not self.holder:
            self.holder = headers[CLAIM].decode()
        elif headers.get(RELEASE, b"").decode() == self.holder:
            self.holder = ""
