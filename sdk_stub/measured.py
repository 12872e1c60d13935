"""What was measured, without what cannot be a measurement: a bad value costs itself alone.

A counter that was reset gives a negative difference, some platforms say -1 for "unsupported", a
division by nothing gives NaN. The rest of the inference is as good as any other.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Final

from wire.pb.registry import METRICS

_COUNT_MAX: Final = 0xFFFFFFFF
_KIND: Final = {metric.column: metric for metric in METRICS}


def only_sound(measured: Mapping[str, float], left_out: Counter[str]) -> dict[str, float]:
    """The values that are numbers within the registered bounds; the others count in `left_out`."""
    sound: dict[str, float] = {}
    for column, value in measured.items():
        number = _number(column, value)
        if number is None:
            left_out[column] += 1
        else:
            sound[column] = number
    return sound


def _number(column: str, value: object) -> float | None:
    if value is None or isinstance(value, str | bytes | bytearray):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever an app passes
    except (TypeError, ValueError, OverflowError):
        return None
    metric = _KIND[column]
    if not math.isfinite(number) or not metric.low <= number <= metric.high:
        return None
    return number if metric.wire == "float" else int(number)


def is_count(value: object) -> bool:
    """Whether it fits a count of the wire."""
    return isinstance(value, int) and 0 <= value <= _COUNT_MAX
