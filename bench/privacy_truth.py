"""Which uploads stand behind each row that may be shown: counted one by one, for the benchmark.

Written apart from what it checks: here a row is a list of uploads. Of what is released at the end
of a log hour the rule is told again (docs/privacy.md); that the store holds these rows and no
others is checked by their counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.series import METRIC_NAMES
from wire.smallest_cell import UPLOADS_MIN
from wire.times import HOUR_MS, MINUTE_MS

OTHER_CLASS: Final = 65_535
CLASS: Final = METRIC_NAMES.index("prediction.class")
_HOUR_MINUTES: Final = HOUR_MS // MINUTE_MS

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


@dataclass(slots=True)
class Truth:
    """Takes windows in the order of the log; `other` numbers of version and arm follow the last."""

    versions: int
    arms: int
    least: int = UPLOADS_MIN
    _rows: list[tuple[Place, int, float, Ints]] = field(default_factory=list)
    _small: list[NDArray[np.float64]] = field(default_factory=list)
    _hour: int = -1

    def add(self, facts: Facts) -> None:
        """A window; the log hour before it is over if this one is of a later hour."""
        hour = facts.window // HOUR_MS
        if hour != self._hour:
            self._release()
            self._hour = hour
        for metric, (values, present) in facts.columns.items():
            self._add_metric(facts, metric, values[present].astype(np.float64), present)

    def _add_metric(
        self, facts: Facts, metric: int, value: NDArray[np.float64], present: NDArray[np.bool_]
    ) -> None:
        at = [c[present] for c in (facts.model, facts.version, facts.arm, facts.bucket)]
        upload = facts.upload[present]
        order = np.lexsort((upload, *at[::-1]))
        table = np.stack(at, axis=1)[order]
        starts = np.flatnonzero(np.concatenate([[True], (table[1:] != table[:-1]).any(axis=1)]))
        ends = np.append(starts[1:], len(table))
        upload, value = upload[order], value[order]
        new = np.concatenate([[True], upload[1:] != upload[:-1]])
        new[starts] = True
        counts = np.add.reduceat(new.astype(np.int64), starts)
        for i in np.flatnonzero(counts >= self.least):
            cut = slice(int(starts[i]), int(ends[i]))
            place = _place(table[starts[i]], metric)
            self._rows.append(
                (place, cut.stop - cut.start, value[cut].sum(), upload[cut][new[cut]])
            )
            if metric == CLASS:
                self._add_classes(place, value[cut].astype(np.int64), upload[cut])
        if metric != CLASS:
            group = np.repeat(np.arange(len(starts)), ends - starts)
            small = (counts < self.least)[group]
            hour = (table[:, 3] >> 1) // _HOUR_MINUTES
            self._small.append(np.stack(
                [table[:, 0], table[:, 1], table[:, 2], np.full(len(table), metric), hour,
                 np.full(len(table), facts.window), table[:, 3], counts[group], upload, value],
                axis=1)[small])  # fmt: skip

    def _add_classes(self, place: Place, code: Ints, upload: Ints) -> None:
        by_code = {int(c): np.unique(upload[code == c]) for c in np.unique(code)}
        small = {c for c, who in by_code.items() if len(who) < self.least}
        large = sorted(set(by_code) - small, key=lambda c: (len(by_code[c]), c))
        if small and large:
            small.add(large[0])
        for c in set(by_code) - small:
            self._rows.append((place._replace(code=c), int((code == c).sum()), 0.0, by_code[c]))
        if small:
            of_small = np.isin(code, [*small])
            who = np.unique(upload[of_small])
            self._rows.append((place._replace(code=OTHER_CLASS), int(of_small.sum()), 0.0, who))

    def _release(self) -> None:
        """What was too small in its window: by release and hour, else as `other`."""
        if not self._small:
            return
        facts = np.concatenate(self._small)
        self._small.clear()
        hours, of_fact = np.unique(facts[:, :5].astype(np.int64), axis=0, return_inverse=True)
        of_fact = of_fact.reshape(-1)
        cells = np.unique(
            np.column_stack([of_fact, facts[:, 5:8].astype(np.int64)]), axis=0
        )  # hour's group, window, bucket, count
        largest = np.zeros(len(hours), np.int64)
        order = np.lexsort((cells[:, 3], cells[:, 1], cells[:, 0]))
        cells = cells[order]
        last = np.append((cells[1:, :2] != cells[:-1, :2]).any(axis=1), True)
        np.add.at(largest, cells[last, 0], cells[last, 3])
        target, places = self._folded(hours, largest)
        order = np.argsort(target[of_fact], kind="stable")
        at = target[of_fact][order]
        cuts = np.searchsorted(at, np.arange(len(places) + 1))
        for i, place in enumerate(places):
            rows = facts[order[cuts[i] : cuts[i + 1]]]
            who = np.unique(rows[:, 8].astype(np.int64))
            self._rows.append((place, len(rows), float(rows[:, 9].sum()), who))

    def _folded(self, hours: Ints, sent: Ints) -> tuple[Ints, list[Place]]:
        """Of each hour's group the row that it becomes, -1 for none; and these rows."""
        target = np.full(len(hours), -1)
        places: list[Place] = []
        siblings: dict[tuple[int, int, int], list[int]] = {}
        for i, (model, _, _, metric, hour) in enumerate(hours.tolist()):
            siblings.setdefault((model, metric, hour), []).append(i)
        for (model, metric, hour), group in siblings.items():
            large = sorted((i for i in group if sent[i] >= self.least), key=lambda i: (
                sent[i], *_ordered(hours[i])))  # fmt: skip
            small = [i for i in group if sent[i] < self.least]
            if 0 < sum(int(sent[i]) for i in small) < self.least:
                small += large[:1]
                large = large[1:]
            for i in large:
                target[i] = len(places)
                _, version, arm, _, _ = hours[i].tolist()
                places.append(Place(model, version, arm, metric, hour * HOUR_MS, 3600, -1))
            if sum(int(sent[i]) for i in small) >= self.least:
                target[small] = len(places)
                other = (self.versions, self.arms)
                places.append(Place(model, *other, metric, hour * HOUR_MS, 3600, -1))
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
