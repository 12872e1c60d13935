"""What is used and not yet billed, because too few uploads stand behind it.

A line of a bill is shown as it is. So each amount of a release and day waits until `UPLOADS_MIN`
uploads have added to it, and is billed then, all at once: what a bill grows by rests on so many.
When a day is over, what waits of a model's releases is billed together as release `other`; what is
too little even so, of all models together; and what is too little then, with the next such day.
Nothing is lost, and nothing is billed twice: of each amount fewer than `UPLOADS_MIN` uploads of
days that are over wait at any time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final, NamedTuple

from analytics.cost import Quantities, QuantityKey
from wire.smallest_cell import UPLOADS_MIN

OTHER: Final = "other"

_AMOUNTS: Final = tuple(f.name for f in fields(Quantities))


class Place(NamedTuple):
    """One amount of a release and day."""

    key: QuantityKey
    amount: str


class Waiting(NamedTuple):
    """How much waits, and how many uploads added to it."""

    quantity: int
    uploads: int


@dataclass(slots=True)
class HeldCosts:
    """Amounts by release and day that are not billed yet."""

    _held: dict[Place, Waiting] = field(default_factory=dict)

    def add(self, key: QuantityKey, used: Quantities, uploads: Quantities) -> None:
        """Take in what was used, and how many new uploads added to each amount."""
        for amount, n, sent in zip(_AMOUNTS, used.amounts(), uploads.amounts(), strict=True):
            if n or sent:
                self._put(Place(key, amount), Waiting(n, sent))

    def due(self, over_ms: int) -> list[tuple[QuantityKey, Quantities]]:
        """What may be billed now, by key, each once; days before `over_ms` get no more rows."""
        found: dict[QuantityKey, Quantities] = {}
        for place, n in self._released(over_ms):
            one = Quantities(**{place.amount: n})
            found[place.key] = found.get(place.key, Quantities()) + one
        return sorted(found.items())

    def _released(self, over_ms: int) -> Iterator[tuple[Place, int]]:
        yield from self._enough()
        over = [place for place in sorted(self._held) if place.key.event_day_ms < over_ms]
        if not over:
            return
        last_ms = max(place.key.event_day_ms for place in over)
        over = self._fold(over, [replace(p.key, model_version=OTHER) for p in over])
        yield from self._enough()
        over = [place for place in over if place in self._held]
        self._fold(over, [QuantityKey(OTHER, OTHER, OTHER, last_ms)] * len(over))
        yield from self._enough()

    def _enough(self) -> Iterator[tuple[Place, int]]:
        for place in sorted(p for p, held in self._held.items() if held.uploads >= UPLOADS_MIN):
            yield place, self._held.pop(place).quantity

    def _fold(self, places: Sequence[Place], keys: Iterable[QuantityKey]) -> list[Place]:
        folded = set()
        for place, key in zip(places, keys, strict=True):
            target = place._replace(key=key)
            self._put(target, self._held.pop(place))
            folded.add(target)
        return sorted(folded)

    def _put(self, place: Place, more: Waiting) -> None:
        old = self._held.get(place, Waiting(0, 0))
        self._held[place] = Waiting(old.quantity + more.quantity, old.uploads + more.uploads)

    def state(self) -> list[list[object]]:
        """Plain values for a snapshot."""
        return [
            [k.app_id, k.model_id, k.model_version, k.event_day_ms, amount, *held]
            for (k, amount), held in sorted(self._held.items())
        ]

    def restore(self, state: Iterable[Sequence[object]]) -> None:
        """The inverse of `state`."""
        self._held.clear()
        for app_id, model_id, version, day_ms, amount, quantity, uploads in state:
            key = QuantityKey(str(app_id), str(model_id), str(version), int(str(day_ms)))
            self._held[Place(key, str(amount))] = Waiting(int(str(quantity)), int(str(uploads)))
