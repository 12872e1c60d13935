"""Pairs of statements over two views, or two metrics, whose difference might be somebody.

A bill and the metric that it is made of; one metric and another of the same place; what was counted
by when it arrived and what is shown by when it happened. Each pair knows what of every observation
the first answer might count and the second might not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.privacy_raw import ANY, Raw, Selection, is_somebodys, shown_uploads
from bench.privacy_truth import Shown
from streams.series import METRIC_NAMES
from wire.smallest_cell import UPLOADS_MIN
from wire.times import DAY_MS, HOUR_MS, MINUTE_MS

COUNTED: Final = (
    "SELECT sum(aggregated) FROM hf.ingest_quality",
    "SELECT count() FROM hf.ingest_quality WHERE aggregated > 0",
    "SELECT max(aggregated) FROM hf.ingest_quality",
    "SELECT sum(aggregated) - (SELECT sum(n) FROM hf.metric_minute "
    "WHERE metric = 'inference.latency') FROM hf.ingest_quality",
)
"""Asked before and after an arrival: what an upload changes here by itself tells of it."""
_NUMBERS: Final = ("inference.latency", "inference.energy", "network.sent", "network.received")
_KINDS: Final = ("egress", "energy", "cellular", "cloud_calls")
_SPANS: Final = (MINUTE_MS, HOUR_MS, DAY_MS)


@dataclass(frozen=True, slots=True)
class Between:
    """Two statements, and whether a difference of their answers is somebody's."""

    kind: str
    first: str
    second: str
    isolates: Callable[[float], bool]


def draw_between(
    shown: Shown, raw: Sequence[Raw], rng: np.random.Generator, count: int
) -> Iterator[Between]:
    """`count` pairs, each once, around rows that are small."""
    plain = np.flatnonzero(shown.places[:, 6] == -1)
    asked: set[tuple[str, str]] = set()
    for tried in range(20 * count):
        if len(asked) == count:
            return
        picks = rng.choice(plain, 4)
        row = int(picks[np.argmin(shown.n[picks])])
        model, version, arm, _, at_ms, _, _ = shown.places[row].tolist()
        if tried % 2:
            pair = _bill(shown, raw[model], _of_day(rng, model, version, at_ms), tried // 2)
        else:
            chosen = _of_place(rng, model, version, arm, at_ms)
            pair = _metrics(raw[model], chosen, rng)
        if (pair.first, pair.second) not in asked:
            asked.add((pair.first, pair.second))
            yield pair


def _of_day(rng: np.random.Generator, model: int, version: int, at_ms: int) -> Selection:
    day = at_ms // DAY_MS * DAY_MS
    return Selection(model, ANY if rng.random() < 0.1 else version, ANY, day, day + DAY_MS)


def _of_place(
    rng: np.random.Generator, model: int, version: int, arm: int, at_ms: int
) -> Selection:
    span = int(rng.choice(_SPANS))
    since = at_ms // span * span
    which = rng.integers(0, 3)
    return Selection(
        model, version if which else ANY, arm if which == 1 else ANY, since, since + span
    )


def _metrics(raw: Raw, chosen: Selection, rng: np.random.Generator) -> Between:
    """Observations of two metrics, of the same places."""
    one, other = (str(name) for name in rng.choice(_NUMBERS, 2, replace=False))

    def isolates(difference: float) -> bool:
        rows = raw.selected(chosen)
        by_row = rows.has(one).astype(np.float64) - rows.has(other)
        return is_somebodys(difference, rows.upload, by_row)

    spans = {MINUTE_MS: "minute", HOUR_MS: "hour", DAY_MS: "day"}
    kind = f"two metrics of a {spans[chosen.until_ms - chosen.since_ms]}"
    return Between(kind, _minutes(chosen, one, "n"), _minutes(chosen, other, "n"), isolates)


def _bill(shown: Shown, raw: Raw, chosen: Selection, number: int) -> Between:
    """A line of a bill, and the same amount as metrics have it."""
    kind = _KINDS[number % len(_KINDS)]
    metric = {"egress": "network.received", "energy": "inference.energy"}.get(kind, _NUMBERS[0])
    parts = [metric] if kind != "cellular" else ["network.sent", "network.received"]
    what = "n" if kind == "cloud_calls" else "mean * n"
    second = " + ".join(f"({_minutes(chosen, m, what)})" for m in parts)
    first = (
        f"SELECT sum(quantity) FROM hf.cost_daily WHERE {chosen.where('day')} "  # noqa: S608
        f"AND cost_kind = '{kind}'"
    )

    def isolates(difference: float) -> bool:
        rows = raw.selected(chosen)
        seen = np.isin(rows.upload, shown_uploads(shown, parts[-1], chosen))
        on_bill = _billed(rows, kind)
        of_metric = rows.has(metric).astype(float) if what == "n" else rows.amount(*parts)
        waited = on_bill * _in_tens(rows, on_bill > 0)
        made_of = [
            on_bill - of_metric * seen,
            waited - of_metric * seen,
            on_bill * ~seen,
            (on_bill - of_metric) * seen,
        ]
        return any(is_somebodys(difference, rows.upload, each) for each in made_of)

    return Between(f"bill of {kind} and its metric", first, f"SELECT {second}", isolates)


def _billed(rows: Raw, kind: str) -> NDArray[np.float64]:
    if kind == "cloud_calls":
        return rows.remote.astype(np.float64)
    if kind == "cellular":
        return np.where(rows.cellular, rows.amount("network.sent", "network.received"), 0.0)
    return rows.amount("network.received" if kind == "egress" else "inference.energy")


def _in_tens(rows: Raw, adds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows that are on a bill which grows when ten uploads of a release wait for it."""
    billed = np.zeros(len(adds), np.bool_)
    for version in np.unique(rows.version):
        mine = rows.version == version
        waiting, until = 0, -1
        for window in np.unique(rows.window[mine & adds]):
            here = mine & adds & (rows.window == window)
            waiting += len(np.unique(rows.upload[here]))
            if waiting >= UPLOADS_MIN:
                waiting, until = 0, int(window)
        billed |= mine & (rows.window <= until)
    return billed


def _minutes(chosen: Selection, metric: str, what: str) -> str:
    assert metric in METRIC_NAMES  # noqa: S101
    return (
        f"SELECT sum({what}) FROM hf.metric_minute WHERE {chosen.where('minute')} "  # noqa: S608
        f"AND metric = '{metric}'"
    )
