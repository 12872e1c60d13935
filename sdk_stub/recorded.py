"""Recorded runs on real phones, as arrays: latencies and predicted classes of each run.

Reads a folder with ``latency.parquet`` and ``predictions.parquet``; rows of one (round, device,
task) are one run in its order.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wire.errors import PermanentError

GROUPS: Final = 20
"""Registered class groups. ImageNet numbers its classes along the WordNet tree, so neighbours are
what models confuse: taking them apart (modulo) lets a group's share move, where folding ranges
would hide it (MobileNetEdgeTPU to MobileNetV4: total variation 0.0072 against 0.0040)."""
_MODE: Final = "single_stream"


def group_of(class_id: NDArray[np.int32]) -> NDArray[np.int32]:
    """Registered group of each class, in [0, GROUPS)."""
    return (class_id % GROUPS).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Run:
    """One device's run of one model over the images; `latency_ms` may be shorter, or empty."""

    round: str
    vendor: str
    device: str
    task: str
    class_id: NDArray[np.int32]
    is_correct: NDArray[np.bool_]
    latency_ms: NDArray[np.float32]


def read_runs(folder: Path) -> list[Run]:
    """All single-stream prediction runs, the newest round of each (device, task), sorted.

    `is_correct` is agreement with the consensus: the class that most devices predict for an image.
    """
    predictions = _read(folder / "predictions.parquet")
    predictions = predictions.filter(pc.equal(predictions["mode"].cast(pa.string()), _MODE))
    latencies = _split(_read(folder / "latency.parquet"))
    newest: dict[tuple[str, str], tuple[str, str, str, str]] = {}
    tables = _split(predictions)
    for key in sorted(tables):
        newest[key[2], key[3]] = key
    keys = sorted(newest.values(), key=lambda key: (key[3], key[1], key[2]))
    classes = [_by_image(tables[key]) for key in keys]
    if not classes:
        raise PermanentError("recorded_runs_empty", f"no {_MODE} predictions")
    label = consensus(np.stack([c for _, c in classes]))
    runs = []
    for key, (order, by_image) in zip(keys, classes, strict=True):
        latency = latencies.get(key)
        runs.append(
            Run(
                *key,
                class_id=by_image[order],
                is_correct=(by_image == label)[order],
                latency_ms=np.zeros(0, "f4")
                if latency is None
                else latency["latency_ms"].to_numpy().astype("f4"),
            )
        )
    return runs


def consensus(class_id: NDArray[np.int32]) -> NDArray[np.int32]:
    """The class that most runs say; `class_id` has shape ``(runs, images)``. Ties: the first run's.

    The labels of the images are not in the recordings.
    """
    votes = np.stack([(class_id == row).sum(axis=0) for row in class_id])
    winner = votes.argmax(axis=0)
    label: NDArray[np.int32] = class_id[winner, np.arange(class_id.shape[1])]
    return label


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise PermanentError("recorded_runs_missing", f"there is no {path.name} in the folder")
    return pq.read_table(path)


def _split(table: pa.Table) -> dict[tuple[str, str, str, str], pa.Table]:
    """One table per (round, vendor, device, task), rows in their order."""
    columns = [table[name].cast(pa.string()) for name in ("round", "vendor", "device", "task")]
    names = pc.binary_join_element_wise(*columns, "\x1f").combine_chunks()
    coded = names.dictionary_encode()
    codes = coded.indices.to_numpy()
    return {
        _key(name): table.take(pa.array(np.flatnonzero(codes == code)))
        for code, name in enumerate(coded.dictionary.to_pylist())
    }


def _key(joined: str) -> tuple[str, str, str, str]:
    round_, vendor, device, task = joined.split("\x1f")
    return round_, vendor, device, task


def _by_image(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Order of the images in the run, and the predicted class by image number."""
    order = table["sample_idx"].to_numpy()
    class_id = np.empty(len(order), np.int32)
    try:
        class_id[order] = table["class_id"].to_numpy()
    except IndexError as error:
        raise PermanentError(
            "recorded_runs_malformed", "a run does not cover its images"
        ) from error
    return order.astype(np.int64), class_id
