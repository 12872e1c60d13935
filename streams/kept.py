"""What was delivered and is not finished: tokens by offset, given back in order."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Kept(Generic[T]):
    """Tokens of one partition. A redelivered offset replaces its older token."""

    _tokens: dict[int, T] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._tokens)

    def keep(self, offset: int, token: T) -> None:
        """Hold a token until its offset is finished."""
        self._tokens.pop(offset, None)
        self._tokens[offset] = token

    def finish(self, *, below: int) -> list[T]:
        """Let go of every token below an offset, lowest first."""
        done = sorted(offset for offset in self._tokens if offset < below)
        return [self._tokens.pop(offset) for offset in done]

    def forget(self) -> None:
        """Drop every token: they belong to an assignment that is over."""
        self._tokens.clear()
