"""Pairs of analyst statements whose difference might be somebody: made to come close.

A statement is a sum over rows of a view, with conditions. Beside its text it knows which rows of
the truth it sums, so that of two answers it is known who stands behind their difference.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.privacy_fleet import VERSIONS, arm_name, model_name, version_name
from bench.privacy_truth import CLASS, Place, Shown
from streams.series import METRIC_NAMES
from wire.times import DAY_MS, HOUR_MS, MINUTE_MS

Condition = tuple[str, str, int]
_COLUMN: Final = {name: i for i, name in enumerate(Place._fields)}
_SIGNS: Final = {"=": np.equal, "!=": np.not_equal, "<": np.less, ">=": np.greater_equal}
_NUMBERS: Final = tuple(
    METRIC_NAMES.index(name)
    for name in ("inference.latency", "inference.energy", "network.sent", "network.received")
)
_PLAIN: Final = ("code", "=", -1)
_CLASSES: Final = ("code", ">=", 0)


@dataclass(frozen=True, slots=True)
class Statement:
    """A sum over a view, and which rows of the truth it sums.

    `least`: of releases with so many observations alone. `is_amount`: of values, not of counts.
    """

    sql: str
    conditions: Sequence[Condition]
    least: int = 0
    is_amount: bool = False

    def rows(self, shown: Shown) -> NDArray[np.int64]:
        """Indices of the rows that it sums."""
        found = np.arange(len(shown.n))
        for name, sign, value in self.conditions:
            found = found[_SIGNS[sign](shown.places[found, _COLUMN[name]], value)]
        if self.least and len(found):
            release = shown.places[found, _COLUMN["version"]] * 8
            release = release + shown.places[found, _COLUMN["arm"]]
            names, of_row = np.unique(release, return_inverse=True)
            total = np.bincount(of_row, weights=shown.n[found], minlength=len(names))
            found = found[(total >= self.least)[of_row]]
        return found

    def expected(self, shown: Shown) -> float:
        """What the answer is if the view shows the rows of the truth and nothing else."""
        return float((shown.amount if self.is_amount else shown.n)[self.rows(shown)].sum())


@dataclass(frozen=True, slots=True)
class Pair:
    """Two statements of the same quantity."""

    kind: str
    first: Statement
    second: Statement


@dataclass(frozen=True, slots=True)
class Near:
    """Where a pair is made: around one small row."""

    model: int
    version: int
    arm: int
    metric: int
    at_ms: int
    code: int
    count: int

    @property
    def same(self) -> list[Condition]:
        """The model and the metric."""
        return [("model", "=", self.model), ("metric", "=", self.metric), _PLAIN]

    @property
    def hour(self) -> list[Condition]:
        """The model, the metric and the hour."""
        since = self.at_ms // HOUR_MS * HOUR_MS
        return [*self.same, ("at_ms", ">=", since), ("at_ms", "<", since + HOUR_MS)]

    @property
    def of_version(self) -> Condition:
        """The version alone."""
        return ("version", "=", self.version)


def draw(shown: Shown, rng: np.random.Generator, count: int) -> Iterator[Pair]:
    """`count` pairs, each once, the kinds in turn, around rows that are small."""
    metric = shown.places[:, _COLUMN["metric"]]
    numbers = np.flatnonzero(np.isin(metric, _NUMBERS))
    classes = np.flatnonzero(shown.places[:, _COLUMN["code"]] >= 0)
    kinds = list(KINDS.items())
    asked: set[tuple[str, str]] = set()
    i = 0
    while len(asked) < count and i < 20 * count:
        i += 1
        kind, make = kinds[i % len(kinds)]
        rows = classes if kind.startswith("class") else numbers
        picks = rng.choice(rows, 4)
        row = int(picks[np.argmin(shown.n[picks])])
        model, version, arm, of, at_ms, _, code = shown.places[row].tolist()
        first, second = make(Near(model, version, arm, of, at_ms, code, int(shown.n[row])))
        if (first.sql, second.sql) not in asked:
            asked.add((first.sql, second.sql))
            yield Pair(kind, first, second)


def _minutes(
    conditions: Sequence[Condition], *, least: int = 0, is_amount: bool = False
) -> Statement:
    what, where = "mean * n" if is_amount else "n", _where(conditions)
    sql = f"SELECT sum({what}) FROM hf.metric_minute WHERE {where}"  # noqa: S608
    if least:
        sql = (
            "SELECT sum(a) FROM (SELECT model_version, arm, sum(n) AS a FROM hf.metric_minute "  # noqa: S608
            f"WHERE {where} GROUP BY model_version, arm HAVING a >= {least})"
        )
    return Statement(sql, conditions, least, is_amount)


def _totals(conditions: Sequence[Condition], more: Sequence[Condition] = ()) -> Statement:
    sql = f"SELECT sum(n) FROM hf.metric_totals WHERE {_where(conditions, 'day')}"  # noqa: S608
    return Statement(sql, [*conditions, *more])


def _classes(conditions: Sequence[Condition]) -> Statement:
    sql = f"SELECT sum(n) FROM hf.class_share WHERE {_where(conditions, 'hour')}"  # noqa: S608
    return Statement(sql, [*conditions, _CLASSES])


def _apart(near: Near, *more: Condition, is_amount: bool = False) -> tuple[Statement, Statement]:
    whole = _minutes(near.hour, is_amount=is_amount)
    return whole, _minutes([*near.hour, *more], is_amount=is_amount)


def _by_arm(near: Near) -> tuple[Statement, Statement]:
    base = [*near.hour, near.of_version]
    return _minutes(base), _minutes([*base, ("arm", "!=", near.arm)])


def _minute_more(near: Near) -> tuple[Statement, Statement]:
    base = [*near.same, near.of_version]
    first, second = (
        _minutes([*base, ("at_ms", "<", near.at_ms + more)]) for more in (0, MINUTE_MS)
    )
    return first, second


def _having(near: Near) -> tuple[Statement, Statement]:
    return _minutes(near.hour, least=near.count), _minutes(near.hour, least=near.count + 1)


def _day(near: Near) -> tuple[Statement, Statement]:
    day = near.at_ms // DAY_MS * DAY_MS
    base = [*near.same, near.of_version, ("at_ms", ">=", day), ("at_ms", "<", day + DAY_MS)]
    return _totals(base), _minutes([*base, ("width_s", "=", 60)])


def _a_class(near: Near) -> tuple[Statement, Statement]:
    base = [("model", "=", near.model), near.of_version]
    return _classes(base), _classes([*base, ("code", "!=", near.code)])


def _class_hour(near: Near) -> tuple[Statement, Statement]:
    """One class up to an hour, and up to the next; rows of the truth are of minutes."""
    since = near.at_ms // HOUR_MS * HOUR_MS
    base = [("model", "=", near.model), ("code", "=", near.code)]
    first, second = (_classes([*base, ("at_ms", "<", since + more)]) for more in (0, HOUR_MS))
    return first, second


def _class_total(near: Near) -> tuple[Statement, Statement]:
    """Every prediction is in one class, so the total leaves nothing."""
    base = [("model", "=", near.model), near.of_version]
    return _classes(base), _totals([*base, ("metric", "=", CLASS)], [_CLASSES])


KINDS: Final[dict[str, Callable[[Near], tuple[Statement, Statement]]]] = {
    "total minus version": lambda near: _apart(near, ("version", "!=", near.version)),
    "total minus other": lambda near: _apart(near, ("version", "!=", VERSIONS)),
    "total minus arm": _by_arm,
    "minute more": _minute_more,
    "minutes and hours": lambda near: _apart(near, ("width_s", "=", 60)),
    "amounts": lambda near: _apart(near, ("version", "!=", near.version), is_amount=True),
    "having": _having,
    "day and minutes": _day,
    "class left out": _a_class,
    "class of an hour": _class_hour,
    "classes and total": _class_total,
}


def _where(conditions: Sequence[Condition], time: str = "minute") -> str:
    return " AND ".join(_said(*condition, time) for condition in conditions) or "1"


def _said(name: str, sign: str, value: int, time: str) -> str:
    names = {"model": model_name, "version": version_name, "arm": arm_name}
    columns = {"model": "model_id", "version": "model_version", "arm": "arm"}
    if name in names:
        return f"{columns[name]} {sign} '{names[name](value)}'"
    if name == "metric":
        return f"metric {sign} '{METRIC_NAMES[value]}'"
    if name == "at_ms":
        return f"toUnixTimestamp(toDateTime({time}, 'UTC')) {sign} {value // 1000}"
    if name == "code":
        return "1" if value < 0 else f"class {sign} {value}"
    return f"{name} {sign} {value}"
