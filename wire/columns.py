"""A commit group as columns: one row per upload, one row per observation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wire.context import Context
from wire.errors import PermanentError

FLOAT_ABSENT_BITS: Final = 0x7FC0A55E
"""Bit pattern of the quiet NaN that stands for "not measured" in a float column."""
UINT_ABSENT: Final = 0xFFFFFFFF
"""Stands for "not measured" in an integer column."""


@dataclass(frozen=True, slots=True)
class UnitDays:
    """Per-installation day summaries of a group, shape ``(units,)`` each."""

    upload: NDArray[np.int32]
    day: NDArray[np.int32]
    errored: NDArray[np.uint8]
    crashed: NDArray[np.uint8]
    energy_mj: NDArray[np.float32]
    data_bytes: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Feedback:
    """Delayed labels of a group, shape ``(reports,)`` each."""

    upload: NDArray[np.int32]
    label_age_days: NDArray[np.int32]
    correct: NDArray[np.int64]
    incorrect: NDArray[np.int64]
    unit_correct: NDArray[np.int64]
    unit_incorrect: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class UploadGroup:
    """Decoded uploads of one commit group; ``U`` uploads, ``R`` observations.

    `columns` maps every registered column name, plus ``event_offset_ms`` and ``unit_bet``, to an
    array of shape ``(R,)``, float32 or uint32 as registered, absent values filled with
    `FLOAT_ABSENT_BITS` / `UINT_ABSENT` (0 for the two named above).
    """

    batch_ids: list[bytes]
    created_ms: NDArray[np.int64]
    n: NDArray[np.int32]
    context: NDArray[np.int32]
    contexts: list[Context]
    enrolled: NDArray[np.uint8]
    enrolled_ms: NDArray[np.int64]
    unknown_fields: NDArray[np.int32]
    columns: Mapping[str, NDArray[np.float32] | NDArray[np.uint32]]
    unit_days: UnitDays
    feedback: Feedback


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came of each body: `index[i]` is its row in `group`, or -1 with `errors[i]` set."""

    group: UploadGroup
    index: list[int]
    errors: dict[int, PermanentError]
