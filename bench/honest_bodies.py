"""Honest uploads of any size and encoding, to set hostile ones against."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import zstandard

from bench.hostile_bodies import SMALL_BYTES, Body, json_head, protobuf_columns
from wire.decode import Encoding
from wire.gather import COLUMNS, ROWS_MAX

_HONEST_ROWS: Final = [8 * 5**i // 4**i for i in range(32)] + [ROWS_MAX]
_FOLD: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}


@dataclass(slots=True)
class Honest:
    """Uploads of random values in every column, and what is paid for so many bytes of them.

    An upload has 10,000 rows at most, so beyond their size it is as many of the largest as that.
    """

    now_ms: int
    _made: dict[tuple[Encoding, str], list[Body]] = field(default_factory=dict)

    def like(self, body: Body) -> tuple[Body, float]:
        """The smallest of that size and encodings, or the largest; and how many of it."""
        key = (body.encoding, body.content_encoding)
        if key not in self._made:
            self._made[key] = [honest(*key, rows, self.now_ms) for rows in _HONEST_ROWS]
        size = max(SMALL_BYTES, len(body.wire))
        for made in self._made[key]:
            if len(made.wire) >= size:
                return made, 1.0
        return self._made[key][-1], size / len(self._made[key][-1].wire)


def honest(encoding: Encoding, content_encoding: str, rows: int, now_ms: int) -> Body:
    """Rows of random values in every column."""
    values = np.random.default_rng(1).integers(1, 1_000, (len(COLUMNS), rows))
    columns = {name: values[c].tolist() for c, name in enumerate(COLUMNS)}
    columns["unit_bet"] = [0] * rows
    if encoding is Encoding.JSON:
        body = json_head(now_ms) + b',"columns":' + json.dumps(columns).encode() + b"}"
    else:
        body = protobuf_columns(now_ms, columns)
    return Body("honest", encoding, content_encoding, _FOLD[content_encoding](body))
