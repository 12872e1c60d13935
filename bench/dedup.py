"""Dedup over the whole horizon, time simulated: `holdfast bench dedup --json`.

Two million uploads arrive in segments over two horizons; one in a hundred is sent again after any
time up to the horizon. Every answer is compared with the truth; memory is that of the process
(anonymous pages only: page cache is the system's to take back) and that of the index's account.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.report import Report, Result
from ingest.anonymise import kept_batch_ids
from streams.dedup import RECENT_BYTES, RECENT_MAX, SPILL_IDS, DedupIndex
from streams.id_filter import BITS_PER_ID
from streams.id_runs import PAGE_IDS
from streams.summarise import SKEW_MS
from wire.segment import BATCH_ID
from wire.times import DAY_MS, HOUR_MS

AGE_MS: Final = 7 * DAY_MS
RATE: Final = 10_000  # uploads a second, of the projection
PARTITIONS: Final = 64
_SMALLER: Final = 32
_FENCE_BYTES: Final = 8
_START_MS: Final = 1_790_000_000_000
_PROJECTED_IDS: Final = RATE * (AGE_MS + SKEW_MS) // 1000


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Uploads in order of arrival; `again` says which were sent before."""

    ids: NDArray[np.void]
    arrived_ms: NDArray[np.int64]
    again: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one pass over the arrivals cost."""

    missed: int
    false: int
    cpu_s: float
    anonymous_bytes: int
    memory_bytes: int
    disk_bytes: int
    held: int
    restore_cpu_s: float
    restored: int


def arrivals(seed: int, uploads: int, *, late_share: float) -> Arrivals:
    """`uploads` first tries over twice the accepted age, and 1 % of them a second time.

    `late_share` of the first tries come from phones that were offline for up to the accepted age.
    """
    rng = np.random.default_rng(seed)
    first_ms = np.sort(rng.integers(_START_MS, _START_MS + 2 * AGE_MS, uploads))
    waited = rng.exponential(5_000, uploads)
    offline = rng.random(uploads) < late_share
    waited[offline] = rng.uniform(0, AGE_MS, int(offline.sum()))
    created_ms = first_ms - np.minimum(waited, AGE_MS).astype(np.int64)
    batch_ids = rng.bytes(16 * uploads)
    ids = kept_batch_ids([batch_ids[i : i + 16] for i in range(0, 16 * uploads, 16)], created_ms)
    repeated = np.flatnonzero(rng.random(uploads) < 0.01)
    left = np.maximum(created_ms[repeated] + AGE_MS - first_ms[repeated], 0)
    again_ms = first_ms[repeated] + (rng.random(len(repeated)) * left).astype(np.int64)
    at = np.concatenate([first_ms, again_ms])
    order = np.argsort(at, kind="stable")
    again = np.arange(len(at)) >= uploads
    return Arrivals(np.concatenate([ids, ids[repeated]])[order], at[order], again[order])


def measure(stream: Arrivals, folder: Path, *, segment: int) -> Measured:
    """Put all arrivals through an index, `segment` uploads at a time; then build it anew."""
    peak = before = anonymous_bytes()
    memory = 0
    index = small_index(folder)
    seen = np.zeros(len(stream.ids), bool)
    begun = time.process_time()
    for i in range(0, len(seen), segment):
        part = slice(i, i + segment)
        seen[part] = index.add(stream.ids[part], int(stream.arrived_ms[part][-1]))
        memory = max(memory, index.memory_bytes)
        if i % (200 * segment) == 0:
            peak = max(peak, anonymous_bytes())
    cpu_s = time.process_time() - begun
    now_ms = int(stream.arrived_ms[-1])
    kept = np.flatnonzero(stream.arrived_ms >= now_ms - AGE_MS - SKEW_MS)
    table = [
        (int(stream.arrived_ms[i]), stream.ids[i : i + segment].tobytes())
        for i in range(int(kept[0]), len(seen), segment)
    ]
    begun = time.process_time()
    small_index(folder).restore(table, now_ms=now_ms)
    return Measured(
        missed=int((stream.again & ~seen).sum()),
        false=int((seen & ~stream.again).sum()),
        cpu_s=cpu_s,
        anonymous_bytes=peak - before,
        memory_bytes=memory,
        disk_bytes=index.disk_bytes,
        held=len(index),
        restore_cpu_s=time.process_time() - begun,
        restored=len(kept),
    )


def small_index(folder: Path) -> DedupIndex:
    """An index whose limits are a share of the product's, so that two million ids reach them."""
    return DedupIndex(
        AGE_MS + SKEW_MS,
        folder,
        spill_ids=SPILL_IDS // _SMALLER,
        recent_max=RECENT_MAX // _SMALLER,
    )


def limit_bytes(held: int, *, share: int) -> float:
    """What an index with that share of the product's limits may hold in memory for so many ids.

    Filters know the ids of one hour.
    """
    limits = (RECENT_MAX * RECENT_BYTES + SPILL_IDS * BATCH_ID.itemsize) / share
    of_one_hour = held * HOUR_MS / (AGE_MS + SKEW_MS)
    return limits + held / PAGE_IDS * _FENCE_BYTES + of_one_hour * 2 * BITS_PER_ID / 8


def anonymous_bytes() -> int:
    """Memory of this process that is no page cache; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def results(uploads: int, found: Measured, *, segment: int) -> list[Result]:
    """The figures of line C4.

    Projected: memory as the measured peak stood to the measured index's limits, disk by id held.
    """
    used = found.memory_bytes / limit_bytes(found.held, share=_SMALLER)
    memory = used * PARTITIONS * limit_bytes(_PROJECTED_IDS // PARTITIONS, share=1)
    disk = _PROJECTED_IDS * found.disk_bytes / found.held
    upload_us = found.cpu_s / uploads * 1e6
    restore_us = found.restore_cpu_s / found.restored * 1e6
    return [
        Result("C4", "duplicates counted again", found.missed, "uploads", ("<=", 0), uploads),
        Result("C4", "uploads taken for duplicates", found.false, "uploads", ("<=", 0), uploads),
        Result("C4", "CPU per upload", upload_us, "us", ("<=", 5.0), uploads),
        Result(
            "C4", "most memory per id held, accounted", found.memory_bytes / found.held, "bytes"
        ),
        Result("C4", "most memory against its limits", used, "of 1", ("<=", 1.0)),
        Result("C4", "memory per id held, RSS", found.anonymous_bytes / found.held, "bytes"),
        Result("C4", "disk per id held", found.disk_bytes / found.held, "bytes", ("<=", 16.0)),
        Result("C4", "ids held at 10,000/s for 7 days", _PROJECTED_IDS, "ids"),
        Result("C4", "memory of them, 64 partitions", memory / 1e9, "GB", ("<=", 2.0)),
        Result("C4", "memory of one partition of 64", memory / PARTITIONS / 1e6, "MB"),
        Result("C4", "disk of them, 64 partitions", disk / 1e9, "GB", ("<=", 120.0)),
        Result("C4", "disk of one partition of 64", disk / PARTITIONS / 1e9, "GB"),
        Result("C4", "rebuild per id after a restart", restore_us, "us"),
        Result(
            "C4",
            "rebuild of one partition of 64",
            restore_us * _PROJECTED_IDS / PARTITIONS / 1e6,
            "CPU-s",
        ),
        Result("C4", "uploads in a segment", segment, "uploads"),
    ]


def main(arguments: list[str]) -> int:
    """Run it; the exit code says whether every bound holds."""
    parser = argparse.ArgumentParser(prog="holdfast bench dedup", description=__doc__)
    parser.add_argument("--uploads", type=int, default=2_000_000)
    parser.add_argument("--segment", type=int, default=100, help="uploads in one segment")
    parser.add_argument("--late-share", type=float, default=0.02, help="first tries of the offline")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    # elsewhere, or the memory that it frees would hide what the index takes
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as maker:
        made = maker.submit(arrivals, chosen.seed, chosen.uploads, late_share=chosen.late_share)
        stream = made.result()
    with TemporaryDirectory() as folder:
        found = measure(stream, Path(folder), segment=chosen.segment)
    report = Report("dedup", results(len(stream.ids), found, segment=chosen.segment))
    return report.give(as_json=chosen.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
