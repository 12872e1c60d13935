"""Closing markers as bytes and back, bit for bit: what travels from `summarise` to `decide`.

MessagePack, typed on the way in, in one zstd frame. Arrays carry their dtype, and counters their
order, so that nothing that is computed of a marker can tell whether it has travelled.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from typing import Final

import msgspec
import numpy as np
import zstandard

from analytics.cells import Cells
from streams.partial import Closed, Cohort, CostDay, DayUse, Quality, UseHour, WindowPartial
from streams.series import Series, UnitSeries
from wire.errors import PermanentError

FORMAT: Final = 4
"""Raised with every change of the shape: decide must not misread another version's markers."""

_LEVEL: Final = 1  # histograms shrink to a third; higher levels cost more CPU than they save
_BYTES_MAX: Final = 1 << 30
_CELL_FIELDS: Final = tuple(f.name for f in fields(Cells))
_Array = tuple[str, bytes]


class _Marker(msgspec.Struct, array_like=True):
    """`Closed` in plain values; `format` stays first, whatever follows."""

    format: int
    partition: int
    up_to_ms: int
    next_offset: int
    log_time: list[int | str]
    controls: list[bytes]
    start_ms: int
    width_ms: int
    series: list[Series]
    cells: list[_Array]
    unit_series: list[UnitSeries]
    units: list[_Array]
    enrolled: list[tuple[Cohort, int]]
    bets: list[tuple[Cohort, int]]
    costs: list[tuple[CostDay, DayUse]]
    use: list[tuple[UseHour, tuple[int, int]]]
    quality: list[tuple[Quality, int]]


_decoder: Final = msgspec.msgpack.Decoder(_Marker)


def encode_marker(closed: Closed) -> bytes:
    """A closing marker as bytes; equal markers give equal bytes."""
    partial = closed.partial
    marker = _Marker(
        format=FORMAT,
        partition=closed.partition,
        up_to_ms=closed.up_to_ms,
        next_offset=closed.next_offset,
        log_time=closed.log_time,
        controls=closed.controls,
        start_ms=partial.start_ms,
        width_ms=partial.width_ms,
        series=partial.series,
        cells=_arrays(partial.cells),
        unit_series=partial.unit_series,
        units=_arrays(partial.units),
        enrolled=list(partial.enrolled.items()),
        bets=list(partial.bets.items()),
        costs=list(partial.costs.items()),
        use=list(partial.use.items()),
        quality=list(partial.quality.items()),
    )
    return zstandard.ZstdCompressor(level=_LEVEL).compress(msgspec.msgpack.encode(marker))


def decode_marker(body: bytes) -> Closed:
    """The inverse of `encode_marker`.

    Raises
    ------
    PermanentError
        ``marker_undecodable``: not a marker, or one of a format that this version cannot read.
    """
    try:
        plain = zstandard.ZstdDecompressor().decompress(body, max_output_size=_BYTES_MAX)
        marker = _decoder.decode(plain)
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise PermanentError("marker_undecodable", type(error).__name__) from error
    if marker.format != FORMAT:
        raise PermanentError(
            "marker_undecodable",
            f"format {marker.format}, this version reads {FORMAT}",
            accepted="the version that wrote it",
        )
    return _closed(marker)


def _closed(marker: _Marker) -> Closed:
    return Closed(
        partition=marker.partition,
        up_to_ms=marker.up_to_ms,
        next_offset=marker.next_offset,
        log_time=marker.log_time,
        controls=marker.controls,
        partial=WindowPartial(
            start_ms=marker.start_ms,
            width_ms=marker.width_ms,
            series=marker.series,
            cells=_cells(marker.cells),
            unit_series=marker.unit_series,
            units=_cells(marker.units),
            enrolled=_cohorts(marker.enrolled),
            bets=_cohorts(marker.bets),
            costs=dict(marker.costs),
            use=dict(marker.use),
            quality=Counter(dict(marker.quality)),
        ),
    )


def _cohorts(pairs: Iterable[tuple[Cohort, int]]) -> Counter[Cohort]:
    return Counter(dict(pairs))


def _arrays(cells: Cells) -> list[_Array]:
    columns = (getattr(cells, name) for name in _CELL_FIELDS)
    return [(column.dtype.str, column.tobytes()) for column in columns]


def _cells(arrays: list[_Array]) -> Cells:
    columns = (np.frombuffer(body, dtype).copy() for dtype, body in arrays)
    return Cells(**dict(zip(_CELL_FIELDS, columns, strict=True)))
