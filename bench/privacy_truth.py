"""Which uploads stand behind each row that may be shown: counted one by one, for the benchmark.

Written apart from what it checks: here a row is a list of uploads. Of what is released at the end
of a log hour the rule is told again (docs/privacy.md); that the store holds these rows and no
others is checked by their counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from streams.series import METRIC_NAMES
from wire.smallest_cell import PARTIAL_MIN, UPLOADS_MIN
from wire.times import HOUR_MS, MINUTE_MS

OTHER_CLASS: Final = 65_535
CLASS: Final = METRIC_NAMES.index("prediction.class")
_HOUR_MINUTES: Final = HOUR_MS // MINUTE_MS
_METRICS: Final = len(METRIC_NAMES)

Ints = NDArray[np.int64]


class Place(NamedTuple):
    """What a row is about. `code` is the class for rows of classes, else -1."""

    model: int
    version: int
    arm: int
    metric: int
    at_ms: int
    width_s: int
    code: int


@dataclass(frozen=True, slots=True)
class Facts:
    """A window's observations as columns, shape ``(R,)``, rows of one upload together."""

    window: int
    model: Ints
    version: Ints
    arm: Ints
    bucket: Ints
    upload: Ints
    remote: NDArray[np.bool_]  # inferred in the cloud
    cellular: NDArray[np.bool_]
    columns: Mapping[int, tuple[NDArray[np.float32] | NDArray[np.uint32], NDArray[np.bool_]]]


@dataclass(frozen=True, slots=True)
class Shown:
    """Rows that may be shown, as columns, and the uploads behind each, end to end."""

    places: Ints  # shape (rows, 7): the fields of `Place`
    n: Ints
    amount: NDArray[np.float64]
    offsets: Ints
    uploads: Ints

    def behind(self, rows: Ints) -> int:
        """How many uploads stand behind these rows together."""
        parts = [self.uploads[self.offsets[i] : self.offsets[i + 1]] for i in rows]
        return len(np.unique(np.concatenate(parts))) if parts else 0


@dataclass(frozen=True, slots=True)
class _Metric:
    """A window's observations that have one metric, sorted by place and upload."""

    upload: Ints
    value: NDArray[np.float64]
    is_new: NDArray[np.bool_]  # the first of its upload in its place
    starts: Ints  # of each place, and the end of the last; shape (places + 1,)
    sent: Ints  # uploads of each place

    @classmethod
    def of(cls, place: Ints, places: int, upload: Ints, value: NDArray[np.float64]) -> Self:
        order = np.lexsort((upload, place))
        place, upload, value = place[order], upload[order], value[order]
        starts = np.searchsorted(place, np.arange(places + 1))
        is_new = np.concatenate([[True], (upload[1:] != upload[:-1]) | (place[1:] != place[:-1])])[
            : len(place)
        ]
        sent = np.bincount(place[is_new], minlength=places)
        return cls(upload, value, is_new, starts, sent)


@dataclass(slots=True)
class Truth:
    """Takes windows in the order of the log; `other` numbers of version and arm follow the last."""

    versions: int
    arms: int
    least: int = UPLOADS_MIN
    partial: int = PARTIAL_MIN
    _rows: list[tuple[Place, int, float, Ints]] = field(default_factory=list)
    _small: list[NDArray[np.float64]] = field(default_factory=list)
    _hour: int = -1

    def add(self, facts: Facts) -> None:
        """A window; the log hour before it is over if this one is of a later hour."""
        hour = facts.window // HOUR_MS
        if hour != self._hour:
            self._release()
            self._hour = hour
        table = np.stack([facts.model, facts.version, facts.arm, facts.bucket], axis=1)
        places, of_row = np.unique(table, axis=0, return_inverse=True)
        of_row, count = of_row.reshape(-1), len(places)
        metrics = {
            metric: _Metric.of(
                of_row[present], count, facts.upload[present], values[present].astype(np.float64)
            )
            for metric, (values, present) in facts.columns.items()
        }
        sent = np.stack([m.sent for m in metrics.values()])
        n = np.stack([np.diff(m.starts) for m in metrics.values()])
        most = sent.max(axis=0)
        fewest = np.where(sent == 0, most, sent).min(axis=0)
        is_open = (most >= self.least) & ((fewest >= self.least) | (most >= self.partial))
        rows = np.where(sent >= self.least, n, 0).max(axis=0)
        for metric, each in metrics.items():
            for i in np.flatnonzero(is_open & (each.sent >= self.least)).tolist():
                self._show(_place(places[i], metric), each, i, int(rows[i]))
            if metric != CLASS:
                self._wait(facts.window, places, metric, each, ~is_open)

    def _show(self, place: Place, each: _Metric, i: int, n: int) -> None:
        cut = slice(int(each.starts[i]), int(each.starts[i + 1]))
        value, upload = each.value[cut], each.upload[cut]
        self._rows.append((place, n, float(value.mean()) * n, upload[each.is_new[cut]]))
        if place.metric == CLASS:
            self._add_classes(place, value.astype(np.int64), upload, n - len(value))

    def _add_classes(self, place: Place, code: Ints, upload: Ints, without: int) -> None:
        by_code = {int(c): np.unique(upload[code == c]) for c in np.unique(code)}
        small = {c for c, who in by_code.items() if len(who) < self.least}
        large = sorted(set(by_code) - small, key=lambda c: (len(by_code[c]), c))
        if (small or without) and large:
            small.add(large[0])
        for c in set(by_code) - small:
            self._rows.append((place._replace(code=c), int((code == c).sum()), 0.0, by_code[c]))
        if small:
            of_small = np.isin(code, [*small])
            who, n = np.unique(upload[of_small]), int(of_small.sum()) + without
            self._rows.append((place._replace(code=OTHER_CLASS), n, 0.0, who))

    def _wait(
        self, window: int, places: Ints, metric: int, each: _Metric, waits: NDArray[np.bool_]
    ) -> None:
        of_row = np.repeat(np.arange(len(places)), np.diff(each.starts))
        kept = waits[of_row]
        at = places[of_row[kept]]
        hour = (at[:, 3] >> 1) // _HOUR_MINUTES
        same = np.ones(len(at), np.int64)
        sent = each.sent[of_row[kept]]
        self._small.append(np.stack(
            [at[:, 0], at[:, 1], at[:, 2], hour, same * metric, same * window, at[:, 3], sent,
             each.upload[kept], each.value[kept]], axis=1))  # fmt: skip

    def _release(self) -> None:
        """What was too small in its window: by release and hour, else as `other`."""
        if not sum(map(len, self._small)):
            return
        facts = np.concatenate(self._small)
        self._small.clear()
        hours, of_fact = np.unique(facts[:, :4].astype(np.int64), axis=0, return_inverse=True)
        of_fact = of_fact.reshape(-1)
        target, places = self._folded(hours, self._sent(facts, of_fact, len(hours)))
        metric = facts[:, 4].astype(np.int64)
        key = np.where(target[of_fact] < 0, -1, target[of_fact] * _METRICS + metric)
        order = np.argsort(key, kind="stable")
        cuts = np.searchsorted(key[order], np.arange(len(places) * _METRICS + 1))
        for i, place in enumerate(places):
            found = {}
            for m in range(_METRICS):
                rows = facts[order[cuts[i * _METRICS + m] : cuts[i * _METRICS + m + 1]]]
                sent = self._sent(rows, np.zeros(len(rows), np.int64), 1, by_release=True)
                if sent[0] >= self.least:
                    found[m] = rows
            n = max((len(rows) for rows in found.values()), default=0)
            for m, rows in found.items():
                who = np.unique(rows[:, 8].astype(np.int64))
                self._rows.append((place._replace(metric=m), n, float(rows[:, 9].mean()) * n, who))

    def _sent(
        self, facts: NDArray[np.float64], group: Ints, groups: int, *, by_release: bool = False
    ) -> Ints:
        """Sure uploads of each group: of a window's buckets the largest count, of metrics too."""
        release = facts[:, :3].astype(np.int64) if by_release else np.zeros((len(facts), 3), int)
        table = np.column_stack([group, release, facts[:, 4:6].astype(np.int64)])
        windows, of_fact = np.unique(table, axis=0, return_inverse=True)
        largest = np.zeros(len(windows), np.int64)
        np.maximum.at(largest, of_fact.reshape(-1), facts[:, 7].astype(np.int64))
        each, of_window = np.unique(windows[:, [0, 4]], axis=0, return_inverse=True)
        total = np.bincount(of_window.reshape(-1), weights=largest, minlength=len(each))
        sent = np.zeros(groups, np.int64)
        np.maximum.at(sent, each[:, 0], total.astype(np.int64))
        return sent

    def _folded(self, hours: Ints, sent: Ints) -> tuple[Ints, list[Place]]:
        """Of each hour's release the row that it becomes, -1 for none; and these rows."""
        target = np.full(len(hours), -1)
        places: list[Place] = []
        siblings: dict[tuple[int, int], list[int]] = {}
        for i, (model, _, _, hour) in enumerate(hours.tolist()):
            siblings.setdefault((model, hour), []).append(i)
        for (model, hour), group in siblings.items():
            large = sorted((i for i in group if sent[i] >= self.least), key=lambda i: (
                sent[i], *_ordered(hours[i])))  # fmt: skip
            small = [i for i in group if sent[i] < self.least]
            if 0 < sum(int(sent[i]) for i in small) < self.least:
                small += large[:1]
                large = large[1:]
            for i in large:
                target[i] = len(places)
                _, version, arm, _ = hours[i].tolist()
                places.append(Place(model, version, arm, 0, hour * HOUR_MS, 3600, -1))
            if small:
                target[small] = len(places)
                places.append(Place(model, self.versions, self.arms, 0, hour * HOUR_MS, 3600, -1))
        return target, places

    def shown(self) -> Shown:
        """All rows so far."""
        who = [row[3] for row in self._rows]
        return Shown(
            np.array([row[0] for row in self._rows], np.int64).reshape(-1, len(Place._fields)),
            np.array([row[1] for row in self._rows], np.int64),
            np.array([row[2] for row in self._rows], np.float64),
            np.cumsum([0, *map(len, who)]).astype(np.int64),
            np.concatenate([np.zeros(0, np.int64), *who]),
        )


def _place(key: Ints, metric: int) -> Place:
    model, version, arm, bucket = key.tolist()
    return Place(
        model, version, arm, metric, (bucket >> 1) * MINUTE_MS, 3600 if bucket & 1 else 60, -1
    )


def _ordered(key: Ints) -> tuple[int, int]:
    """As the store orders releases of a model: version, then rollout (none first), then arm."""
    return int(key[1]), int(key[2])
