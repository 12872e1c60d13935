"""Every observation that was sent, to tell whose a difference of two views is.

Unlike `bench.privacy_truth` this knows nothing of what may be shown: it finds the uploads that one
answer counts and another does not, by what they sent. A difference that is theirs to the last unit,
and theirs are one to nine, is somebody's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.privacy_fleet import arm_name, model_name, version_name
from bench.privacy_truth import Facts, Ints, Shown
from streams.series import METRIC_NAMES
from wire.smallest_cell import UPLOADS_MIN
from wire.times import MINUTE_MS

ANY: Final = -1
_ROUNDED: Final = 0.5  # counts are whole, and bills are rounded to whole units


class Selection(NamedTuple):
    """Events of a model, of all its releases or of one, since and until a moment."""

    model: int
    version: int
    arm: int
    since_ms: int
    until_ms: int

    def where(self, time: str) -> str:
        """As a statement says it."""
        said = [f"model_id = '{model_name(self.model)}'"]
        if self.version != ANY:
            said.append(f"model_version = '{version_name(self.version)}'")
        if self.arm != ANY:
            said.append(f"arm = '{arm_name(self.arm)}'")
        at = f"toUnixTimestamp(toDateTime({time}, 'UTC'))"
        return " AND ".join(
            [*said, f"{at} >= {self.since_ms // 1000}", f"{at} < {self.until_ms // 1000}"]
        )


@dataclass(frozen=True, slots=True)
class Raw:
    """All observations as columns; `value` and `present` by metric."""

    model: NDArray[np.int16]
    version: NDArray[np.int16]
    arm: NDArray[np.int16]
    at_ms: Ints
    window: Ints  # number of the window in which it came
    upload: Ints
    remote: NDArray[np.bool_]
    cellular: NDArray[np.bool_]
    value: dict[int, NDArray[np.float64]]
    present: dict[int, NDArray[np.bool_]]

    @classmethod
    def of(cls, windows: Sequence[Facts]) -> "list[Raw]":
        """By model."""
        whole = cls._joined(windows)
        return [whole.rows(np.flatnonzero(whole.model == m)) for m in range(whole.model.max() + 1)]

    @classmethod
    def _joined(cls, windows: Sequence[Facts]) -> "Raw":
        metrics = list(windows[0].columns)

        def joined(name: str) -> NDArray[np.generic]:
            return np.concatenate([getattr(w, name) for w in windows])

        return cls(
            model=joined("model").astype(np.int16),
            version=joined("version").astype(np.int16),
            arm=joined("arm").astype(np.int16),
            at_ms=(joined("bucket").astype(np.int64) >> 1) * MINUTE_MS,
            window=np.repeat(np.arange(len(windows)), [len(w.upload) for w in windows]),
            upload=joined("upload").astype(np.int64),
            remote=joined("remote").astype(np.bool_),
            cellular=joined("cellular").astype(np.bool_),
            value={
                m: np.concatenate([w.columns[m][0].astype(np.float64) for w in windows])
                for m in metrics
            },
            present={m: np.concatenate([w.columns[m][1] for w in windows]) for m in metrics},
        )

    def rows(self, at: Ints) -> "Raw":
        """Some of them."""
        return Raw(
            self.model[at], self.version[at], self.arm[at], self.at_ms[at], self.window[at],
            self.upload[at], self.remote[at], self.cellular[at],
            {m: v[at] for m, v in self.value.items()}, {m: p[at] for m, p in self.present.items()},
        )  # fmt: skip

    def selected(self, chosen: Selection) -> "Raw":
        """The selection's observations; `self` are its model's."""
        taken = (self.at_ms >= chosen.since_ms) & (self.at_ms < chosen.until_ms)
        if chosen.version != ANY:
            taken &= self.version == chosen.version
        if chosen.arm != ANY:
            taken &= self.arm == chosen.arm
        return self.rows(np.flatnonzero(taken))

    def amount(self, *metrics: str) -> NDArray[np.float64]:
        """Of each observation the sum of these metrics, absent as 0."""
        found = np.zeros(len(self.upload))
        for name in metrics:
            m = METRIC_NAMES.index(name)
            found += np.where(self.present[m], self.value[m], 0.0)
        return found

    def has(self, metric: str) -> NDArray[np.bool_]:
        """Of each observation whether it has the metric."""
        return self.present[METRIC_NAMES.index(metric)]


def shown_uploads(shown: Shown, metric: str, chosen: Selection) -> Ints:
    """Uploads behind the rows of this metric that are shown of the selection."""
    places = shown.places
    taken = (
        (places[:, 0] == chosen.model)
        & (places[:, 3] == METRIC_NAMES.index(metric))
        & (places[:, 6] == -1)
        & (places[:, 4] >= chosen.since_ms)
        & (places[:, 4] < chosen.until_ms)
    )
    if chosen.version != ANY:
        taken &= places[:, 1] == chosen.version
    if chosen.arm != ANY:
        taken &= places[:, 2] == chosen.arm
    parts = [shown.uploads[shown.offsets[i] : shown.offsets[i + 1]] for i in np.flatnonzero(taken)]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *parts]))


def is_somebodys(difference: float, upload: Ints, by_row: NDArray[np.float64]) -> bool:
    """Whether a difference is what one to nine uploads sent; `by_row` is what it is made of."""
    if not len(upload):
        return False
    names, of_row = np.unique(upload, return_inverse=True)
    each = np.bincount(of_row, weights=by_row, minlength=len(names))
    behind = np.count_nonzero(each)
    total = float(each.sum())
    near = abs(difference - total) <= _ROUNDED + 1e-9 * float(np.abs(each).sum())
    return bool(0 < behind < UPLOADS_MIN and near and abs(total) > _ROUNDED)
