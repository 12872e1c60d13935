"""The laws of a simulated fleet: who the phones are, and what one inference of theirs measures.

Shapes are those of real fleets: a lognormal body with a slow mode (thermal throttling), scaled by
device tier; a gain of the platform, the region and the single phone; a season that moves both arms
alike. Every law draws the same random numbers whatever the fault, so a fault changes its own
columns and leaves the others bit for bit.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sdk_stub.faults import TAIL_SHARE
from wire.columns import UINT_ABSENT

Floats = NDArray[np.float32]
Ints = NDArray[np.uint32]
Column = Floats | Ints

TIERS: Final = ("low", "mid", "high")
PLATFORMS: Final = ("android", "ios")
CLASSES: Final = 10

_TIER_SHARE: Final = (0.35, 0.40, 0.25)
_PLATFORM_SHARE: Final = (0.7, 0.3)
_TIER_LATENCY_MS: Final = np.array([46.0, 24.0, 13.0], "f4")
_TIER_ENERGY_MJ: Final = np.array([90.0, 60.0, 45.0], "f4")
_TIER_MEMORY_KB: Final = np.array([90e3, 120e3, 160e3], "f4")
_PLATFORM_GAIN: Final = np.array([1.0, 0.85], "f4")
_PHONE_SD: Final = 0.2  # of log latency, between phones of one kind
_EVENT_SD: Final = 0.3  # of log latency, between inferences of one phone
_SLOW_SHARE: Final = 0.06
_SLOW_SCALE: Final = 2.5
_COLD_SCALE: Final = 1.6
_ENERGY_SHAPE: Final = 6.0
_BYTES_SD: Final = 0.5
_BYTES_SENT: Final = 1200.0
_BYTES_RECEIVED: Final = 4200.0
_MEMORY_SD: Final = 0.1
_CONFIDENCE_POWER: Final = 0.2  # U^0.2 is Beta(5, 1)
_SEASON_SHARE: Final = 0.15
_SEASON_MS: Final = 20_000.0
_ERROR_CODES: Final = 5


@dataclass(frozen=True, slots=True)
class Phones:
    """Who the phones are, before any treatment; shape ``(phones,)`` each."""

    tier: NDArray[np.int8]
    platform: NDArray[np.int8]
    region: NDArray[np.int8]
    gain: Floats


def draw_phones(count: int, regions: int, rng: np.random.Generator) -> Phones:
    """A population; earlier regions are larger (1, 1/2, 1/3 ...)."""
    weight = 1.0 / np.arange(1, regions + 1)
    region = rng.choice(regions, count, p=weight / weight.sum())
    regional = 1.0 + 0.08 * region.astype("f4")
    phone = np.exp(_PHONE_SD * rng.standard_normal(count, dtype="f4"))
    return Phones(
        tier=rng.choice(len(TIERS), count, p=_TIER_SHARE).astype("i1"),
        platform=rng.choice(len(PLATFORMS), count, p=_PLATFORM_SHARE).astype("i1"),
        region=region.astype("i1"),
        gain=(regional * phone).astype("f4"),
    )


def season(now_ms: int) -> float:
    """What everybody's latency is multiplied by at this moment; mean 1, alike in both arms."""
    return 1.0 + _SEASON_SHARE * math.sin(2.0 * math.pi * now_ms / _SEASON_MS)


def _tail_threshold() -> float:
    """The 1 - TAIL_SHARE quantile of the standard latency law (median of the body = 1)."""

    def above(x: float) -> float:
        body, slow = (
            0.5 * math.erfc(math.log(x / s) / (_EVENT_SD * math.sqrt(2))) for s in (1, _SLOW_SCALE)
        )
        return (1.0 - _SLOW_SHARE) * body + _SLOW_SHARE * slow

    low, high = 1.0, 100.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if above(middle) > TAIL_SHARE else (low, middle)
    return low


_TAIL: Final = _tail_threshold()


def _class_edges() -> Floats:
    """Cumulative shares: Zipf over the classes, shape ``(CLASSES,)``."""
    weight = 1.0 / np.arange(1, CLASSES + 1)
    return np.asarray(np.cumsum(weight / weight.sum()), "f4")


_CLASS_EDGES: Final = _class_edges()


@dataclass(frozen=True, slots=True)
class Who:
    """The phone behind each upload of a block, shape ``(uploads,)`` each, and its fault."""

    tier: NDArray[np.int8]
    platform: NDArray[np.int8]
    region: NDArray[np.int8]
    gain: Floats
    fault: dict[str, Floats]


def measure(
    who: Who, first_of_process: NDArray[np.bool_], season_gain: float, rng: np.random.Generator
) -> dict[str, Column]:
    """What each inference measured: registered column -> array like `first_of_process`.

    `first_of_process` has shape ``(uploads, inferences)``: a cold start is slower.
    """
    shape = first_of_process.shape
    fault = {name: column[:, None] for name, column in who.fault.items()}
    errors = rng.random(shape, dtype="f4")
    error_code = np.where(
        errors < fault["error_share"], 1 + (errors * 1e6).astype("u4") % _ERROR_CODES, 0
    ).astype("u4")
    standard = _standard_latency(shape, rng)
    standard = np.where(standard > _TAIL, standard * fault["tail_scale"], standard)
    base = _TIER_LATENCY_MS[who.tier] * _PLATFORM_GAIN[who.platform] * who.gain
    latency = standard * (base * np.float32(season_gain))[:, None] * fault["latency_scale"]
    energy = rng.standard_gamma(_ENERGY_SHAPE, shape, dtype="f4") * np.float32(1 / _ENERGY_SHAPE)
    energy *= _TIER_ENERGY_MJ[who.tier][:, None] * fault["energy_scale"]
    traffic = np.exp(np.float32(_BYTES_SD) * rng.standard_normal(shape, dtype="f4"))
    traffic *= fault["bytes_scale"]
    memory = np.exp(np.float32(_MEMORY_SD) * rng.standard_normal(shape, dtype="f4"))
    classes = _classes(who.region, fault["class_mass"], rng.random(shape, dtype="f4"))
    return {
        "latency_ms": np.where(first_of_process, latency * _COLD_SCALE, latency).astype("f4"),
        "energy_mj": energy,
        "bytes_sent": (traffic * np.float32(_BYTES_SENT)).astype("u4"),
        "bytes_received": (traffic * np.float32(_BYTES_RECEIVED)).astype("u4"),
        "memory_peak_kb": (memory * _TIER_MEMORY_KB[who.tier][:, None]).astype("u4"),
        "prediction_class": np.where(error_code == 0, classes, np.uint32(UINT_ABSENT)).astype("u4"),
        "confidence": np.power(rng.random(shape, dtype="f4"), np.float32(_CONFIDENCE_POWER)),
        "error_code": error_code,
    }


def _standard_latency(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    body: Floats = np.exp(np.float32(_EVENT_SD) * rng.standard_normal(shape, dtype="f4"))
    slow = rng.random(shape, dtype="f4") < _SLOW_SHARE
    return np.where(slow, body * np.float32(_SLOW_SCALE), body).astype("f4")


def _classes(region: NDArray[np.int8], moved: Floats, place: Floats) -> Ints:
    """Zipf classes, in another order in each region; `moved` mass leaves the most frequent one."""
    rank = np.searchsorted(_CLASS_EDGES[:-1], place, side="right")
    # A place in the top `moved` of the first class goes to one of the others, all alike.
    over = place - (_CLASS_EDGES[0] - moved)
    moves = (over >= 0) & (rank == 0) & (moved > 0)
    share = over / np.maximum(moved, np.float32(1e-6))
    other = 1 + np.clip((share * (CLASSES - 1)).astype("i8"), 0, CLASSES - 2)
    turned: NDArray[np.int64] = np.where(moves, other, rank) + 3 * region[:, None].astype("i8")
    return (turned % CLASSES).astype("u4")
