"""Which arm an installation is in, and which of its inferences may bet. Nothing here is sent.

The phone draws a seed once, hashes it with the rollout's salt and gets its place in [0, 1). The
lowest `share` of places is the candidate's slice, the highest the control's: disjoint as long as
`share <= 1/2`, and a larger share at a later step only adds installations. The scalar functions
are what the reference client runs; the array functions are the same for a simulated fleet.
"""

import hashlib
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

SEED_BYTES: Final = 16
WARM_UP: Final = 20
"""Inferences after enrolment that never bet: the caches, clocks and first loads they measure are
of the update, not of the model."""
BET_SPAN: Final = 10
"""The betting event is drawn from the next this many, so that no position is special."""
_MANTISSA: Final = 53  # bits of a double: the fraction is exact, and never rounds up to 1


class Arm(IntEnum):
    """The proto's `Arm`; ``NONE`` is outside both slices."""

    NONE = 0
    CANDIDATE = 1
    CONTROL = 2


def fraction(salt: str, seed: bytes) -> float:
    """The installation's place in [0, 1): the first 8 bytes of sha256(salt ":" seed)."""
    digest = hashlib.sha256(salt.encode() + b":" + seed).digest()
    return float((int.from_bytes(digest[:8], "big") >> (64 - _MANTISSA)) * 2.0**-_MANTISSA)


def fractions(salt: str, seeds: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`fraction` of each seed; `seeds` has shape ``(phones, SEED_BYTES)``."""
    salted = hashlib.sha256(salt.encode() + b":")
    raw = np.ascontiguousarray(seeds).tobytes()
    heads = bytearray()
    for at in range(0, len(raw), SEED_BYTES):
        digest = salted.copy()
        digest.update(raw[at : at + SEED_BYTES])
        heads += digest.digest()[:8]
    places = np.frombuffer(bytes(heads), ">u8") >> np.uint64(64 - _MANTISSA)
    return places.astype(np.float64) * 2.0**-_MANTISSA


def arm_of(place: float, share: float) -> Arm:
    """The arm of an installation at this place. `share` is per arm, in [0, 1/2]."""
    _check_share(share)
    if place < share:
        return Arm.CANDIDATE
    return Arm.CONTROL if place >= 1.0 - share else Arm.NONE


def arms_of(places: NDArray[np.float64], share: float) -> NDArray[np.int8]:
    """`arm_of` of each place."""
    _check_share(share)
    arms = np.where(places < share, Arm.CANDIDATE, Arm.NONE)
    return np.where(places >= max(1.0 - share, share), Arm.CONTROL, arms).astype(np.int8)


def _check_share(share: float) -> None:
    if not 0.0 <= share <= 0.5:  # noqa: PLR2004 - two disjoint slices of one whole
        raise ValueError(f"share {share} is not in [0, 0.5]")


def draw_bet_position(rng: np.random.Generator) -> int:
    """J: which counted inference bets, uniform in {WARM_UP + 1 ... WARM_UP + BET_SPAN}."""
    return int(draw_bet_positions(rng, 1)[0])


def draw_bet_positions(rng: np.random.Generator, count: int) -> NDArray[np.int32]:
    """`count` independent draws of J."""
    return rng.integers(WARM_UP + 1, WARM_UP + BET_SPAN + 1, size=count, dtype=np.int32)


def count_inference(counted: int, position: int, *, first_of_process: bool) -> tuple[int, bool]:
    """One more inference after enrolment: the new count, and whether this one bets.

    The first inference of a process is not counted in either arm: it measures a cold start.
    """
    if first_of_process:
        return counted, False
    return counted + 1, counted + 1 == position


def find_bets(
    counted: NDArray[np.int32],
    positions: NDArray[np.int32],
    first_of_process: NDArray[np.bool_],
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """`count_inference` over a row of inferences per phone.

    `first_of_process` has shape ``(phones, inferences)``; the others ``(phones,)``. Returns the new
    counts and the bets, the latter with the shape of `first_of_process`.
    """
    warm = ~first_of_process
    running = counted[:, None] + np.cumsum(warm, axis=1, dtype=np.int32)
    if running.shape[1] == 0:
        return counted, np.zeros(running.shape, bool)
    return running[:, -1], warm & (running == positions[:, None])
