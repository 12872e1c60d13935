"""Which of many ids are certainly not in a file: a Bloom filter over those of the present hour.

The ids of one hour lie all over each other's files, and nearly all that are asked for are new:
without it a new id would read a page of every file that was written in its hour.
Source: B. H. Bloom, Space/time trade-offs in hash coding with allowable errors, CACM 13 (1970).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Halves = NDArray[np.uint64]
BITS_PER_ID: Final = 8
"""At least; at most twice that. With two places an id, 1 to 5 in 100 new ids are taken for old."""
_SMALLEST_LOG2: Final = 9
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # odd constants of multiplicative hashing
_PLACES: Final = (np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0xD6E8FEB86659FD93))


class IdFilter:
    """Knows ids whose upper half is at least `since`; of others it says that they may be there."""

    def __init__(self, since: int, ids_max: int) -> None:
        log2 = max((ids_max * BITS_PER_ID - 1).bit_length(), _SMALLEST_LOG2)
        self.since = since
        self.count = 0
        self._shift = np.uint64(64 - log2)
        self._bits = np.zeros(1 << (log2 - 3), np.uint8)

    @property
    def memory_bytes(self) -> int:
        """What its bits take."""
        return self._bits.nbytes

    def add(self, high: Halves, low: Halves) -> None:
        """Know these ids, shape ``(U,)``, as far as they are of the hour."""
        of_hour = high >= np.uint64(self.since)
        self.count += int(of_hour.sum())
        for place in self._places(high[of_hour], low[of_hour]):
            np.bitwise_or.at(self._bits, place >> 3, np.uint8(1) << (place & 7).astype(np.uint8))

    def may_have(self, high: Halves, low: Halves) -> NDArray[np.bool_]:
        """False where an id is certainly not among those that were added, shape ``(U,)``."""
        found = np.ones(len(high), bool)
        for place in self._places(high, low):
            found &= (self._bits[place >> 3] >> (place & 7).astype(np.uint8)) & 1 == 1
        return found | (high < np.uint64(self.since))

    def _places(self, high: Halves, low: Halves) -> list[NDArray[np.int64]]:
        mixed = (high ^ (low * _MIX)) * _MIX
        return [((mixed * place) >> self._shift).astype(np.int64) for place in _PLACES]
