"""Does anything that analysts can ask rest on fewer than ten uploads? ``holdfast bench privacy``.

A real store process with millions of rows of a skewed fleet, as the stages write them. Every view
that the engine has is read and each of its cells held against the uploads behind it, counted one by
one beside the product; then pairs of statements that differ by little, through the gate as the
analyst: of one view, of two views or metrics, of two verdicts, before and after an arrival.
"""

import argparse
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.privacy_beside import read_beside
from bench.privacy_between import COUNTED, draw_between
from bench.privacy_cells import read_views
from bench.privacy_fleet import MODELS, VERSIONS, Fleet, Sent
from bench.privacy_pairs import Pair, draw
from bench.privacy_raw import Raw
from bench.privacy_truth import Facts, Shown, Truth
from bench.privacy_verdicts import draw_verdicts, judged, thresholds
from bench.report import Report, Result
from store import process
from store.client import Client, StoreSettings, connect
from store.migrate import migrate
from store.released import Released
from store.writer import Writer
from streams.partial import Quality
from streams.rows import metric_rows, quality_rows, verdict_rows
from streams.shown import shown_rows
from streams.spend import Spend
from wire.desired import Desired, Policy, Prices
from wire.smallest_cell import UPLOADS_MIN
from wire.times import DAY_MS, MINUTE_MS

_PASSWORD: Final = "of-this-benchmark"  # noqa: S105  # of a store that nobody else reaches
_ARMS: Final = 3
_ARRIVALS: Final = (1, 1, 9, 10, 12, 1, 200)  # uploads of each batch; the last ends the hour
_ASKED_AT_ONCE: Final = 4  # requests of 20 did not end on a loaded machine
_TOLD_EVERY: Final = 500  # pairs
_HOUR: Final = 12  # windows
_SLOW_S: Final = 1200  # a paused machine must not end the store under a statement
_DESIRED: Final = Desired(
    "c1",
    (),
    Policy(
        alpha=1e-4, alpha_margin=0.05, window_ms=5 * MINUTE_MS, accepted_age_ms=7 * DAY_MS,
        observation_ms=DAY_MS, cohort_ms=DAY_MS, silence_grace_ms=DAY_MS, drift_window_ms=DAY_MS,
        regions=(), app_versions={}, sdk_versions=(), guardrails=(),
    ),
    (Prices(0, "EUR", 150, 3_000_000_000, 50_000_000_000, 300_000_000),),
)  # fmt: skip


def tell(line: str) -> None:
    """Progress, beside the figures."""
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)


@dataclass(slots=True)
class Filled:
    """A store that takes windows, and what is true of it."""

    writer: Writer
    analyst: Client
    truth: Truth = field(default_factory=lambda: Truth(VERSIONS, _ARMS))
    spend: Spend = field(default_factory=Spend)
    facts: list[Facts] = field(default_factory=list)
    balance: list[tuple[int, Counter[Quality]]] = field(default_factory=list)
    stored: int = 0
    windows: int = 0

    def take(self, sent: Sent) -> None:
        """One window into the store and into the truth."""
        lines, _ = self.spend.step(sent.partial, _DESIRED)
        rows = {
            "metric_window": metric_rows(sent.partial),
            "metric_shown": shown_rows(sent.partial),
            "ingest_window": quality_rows(sent.partial, 0),
            "cost_line": lines,
        }
        self.writer.write(rows)
        self.truth.add(sent.facts)
        self.facts.append(sent.facts)
        self.balance.append((sent.partial.start_ms, sent.partial.quality))
        self.stored += len(sent.partial.cells)
        self.windows += 1


@dataclass(slots=True)
class Tally:
    """What came of the pairs, by kind: those that isolate and the `unexplained` are to be none."""

    unexplained: int = 0
    smallest: int = 1 << 40
    asked: Counter[str] = field(default_factory=Counter)
    isolated: Counter[str] = field(default_factory=Counter)

    def judge(self, kind: str, difference: float, expected: float, behind: int) -> None:
        """One pair: who stands behind the difference, and whether it is what we think it is."""
        self.note(kind, isolates=0 < behind < UPLOADS_MIN)
        self.unexplained += abs(difference - expected) > 1e-6 * max(1.0, abs(expected), 1e6)
        if behind:
            self.smallest = min(self.smallest, behind)

    def note(self, kind: str, *, isolates: bool) -> None:
        """One pair, judged already."""
        self.asked[kind] += 1
        self.isolated[kind] += isolates
        if self.asked.total() % _TOLD_EVERY == 0:
            tell(f"{self.asked.total():,} pairs asked, {self.isolated.total():,} isolate somebody")

    def results(self) -> Iterator[Result]:
        """A figure for each kind, and their sums."""
        for kind, asked in self.asked.items():
            what = f"isolate somebody: {kind}"
            yield Result("S10", what, self.isolated[kind], "pairs", ("<=", 0), asked)
        total = self.asked.total()
        what = "pairs that isolate somebody"
        yield Result("S10", what, self.isolated.total(), "pairs", ("<=", 0), total)
        what = "pairs whose difference has no rows"
        yield Result("S10", what, self.unexplained, "pairs", ("<=", 0))
        yield Result("S10", "fewest uploads behind", self.smallest, "uploads", (">=", 10))


def fill(filled: Filled, fleet: Fleet, *, rows: int, uploads: int) -> None:
    """Windows of so many uploads, until so many rows are stored and an hour has just begun."""
    while filled.stored < rows or filled.windows % _HOUR != 1:
        filled.take(fleet.window(filled.windows, uploads))
        if filled.windows % _HOUR == 0:
            tell(f"{filled.windows} windows, {filled.stored:,} of {rows:,} rows stored")


def answers(analyst: Client, statements: Sequence[str]) -> Iterator[float]:
    """Of each statement its number; several are sent as columns of one request."""
    for i in range(0, len(statements), _ASKED_AT_ONCE):
        asked = ", ".join(f"({sql})" for sql in statements[i : i + _ASKED_AT_ONCE])
        row: Sequence[Any] = analyst.rows(f"SELECT {asked}")[0]
        numbers = (float(value or 0) for value in row)
        yield from (n if math.isfinite(n) else 0.0 for n in numbers)  # unbounded is as unknown


def of_pairs(analyst: Client, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[float, float]]:
    """Both answers of each pair."""
    found = answers(analyst, [sql for pair in pairs for sql in pair])
    return zip(found, found, strict=True)


def ask_pairs(analyst: Client, pairs: Sequence[Pair], shown: Shown, tally: Tally) -> None:
    """Both statements of every pair, in one state of the store."""
    found = of_pairs(analyst, [(pair.first.sql, pair.second.sql) for pair in pairs])
    for pair, (first, second) in zip(pairs, found, strict=True):
        expected = pair.first.expected(shown) - pair.second.expected(shown)
        rows = np.setxor1d(pair.first.rows(shown), pair.second.rows(shown))
        tally.judge(pair.kind, first - second, expected, shown.behind(rows))


def ask_between(
    filled: Filled, shown: Shown, tally: Tally, *, count: int, rng: np.random.Generator
) -> None:
    """Pairs over two views or two metrics."""
    pairs = list(draw_between(shown, Raw.of(filled.facts), rng, count))
    found = of_pairs(filled.analyst, [(pair.first, pair.second) for pair in pairs])
    for pair, (first, second) in zip(pairs, found, strict=True):
        tally.note(pair.kind, isolates=pair.isolates(first - second))


def ask_verdicts(filled: Filled, tally: Tally, *, count: int, rng: np.random.Generator) -> None:
    """Verdicts that are shown one after the other."""
    rollouts = list(judged(rng, max(3, count // 20)))
    for one in rollouts:
        filled.writer.write({"verdict": verdict_rows(one.verdicts)})
    shown = {str(v): limits for v, *limits in filled.analyst.rows(thresholds())}
    pairs = list(draw_verdicts(rollouts, shown, count))
    found = of_pairs(filled.analyst, [(pair.first, pair.second) for pair in pairs])
    for pair, (first, second) in zip(pairs, found, strict=True):
        tally.note(pair.kind, isolates=pair.isolates(second - first, second))


def ask_over_arrivals(
    filled: Filled, fleet: Fleet, tally: Tally, *, count: int, rng: np.random.Generator
) -> None:
    """The same statements before and after a few uploads, and over the end of a log hour."""
    before = filled.truth.shown()
    for step, batch in enumerate(_ARRIVALS):
        statements = [p.first for p in draw(before, rng, count // len(_ARRIVALS))]
        asked = [*COUNTED, *(s.sql for s in statements)]
        first = list(answers(filled.analyst, asked))
        is_last = step == len(_ARRIVALS) - 1
        number = -(-filled.windows // _HOUR) * _HOUR if is_last else filled.windows
        one = np.full(batch, 1)
        model = one * int(rng.integers(MODELS))
        filled.take(fleet.of(number, model, one + step, one, rows=one + 3))
        after = filled.truth.shown()  # rows are only ever added
        changed = [
            now - old for now, old in zip(answers(filled.analyst, asked), first, strict=True)
        ]
        for change in changed[: len(COUNTED)]:
            few = bool(change) and batch < UPLOADS_MIN and number % _HOUR > 0
            tally.note(f"mass balance, arrival of {batch}", isolates=few)
        for statement, change in zip(statements, changed[len(COUNTED) :], strict=True):
            expected = statement.expected(after) - statement.expected(before)
            rows = np.setxor1d(statement.rows(after), statement.rows(before))
            tally.judge(f"arrival of {batch}", change, expected, after.behind(rows))
        before = after
        tell(f"{batch} uploads arrived")


def control(facts: Sequence[Facts], *, count: int, seed: int) -> int:
    """How many pairs would isolate somebody if views read every stored cell: it must be seen."""
    truth = Truth(VERSIONS, _ARMS, least=1, partial=1)
    for each in facts:
        truth.add(each)
    shown = truth.shown()
    found = 0
    for pair in draw(shown, np.random.default_rng(seed), count):
        rows = np.setxor1d(pair.first.rows(shown), pair.second.rows(shown))
        found += 0 < shown.behind(rows) < UPLOADS_MIN
    return found


def run(*, rows: int, pairs: int, uploads: int, seed: int) -> Report:
    """Start a store, fill it, read everything, ask everything, stop it."""
    with tempfile.TemporaryDirectory() as folder:
        credentials = Path(folder) / "credentials.json"
        process.write_credentials(
            credentials, writer_password=_PASSWORD, analyst_password=_PASSWORD
        )
        slow = ["--statement-s", str(_SLOW_S), "--overrun-s", str(_SLOW_S)]
        running = process.start(Path(folder) / "store", credentials, more=slow)
        at = StoreSettings(
            port=running.port, password=_PASSWORD, answer_timeout_s=_SLOW_S, retry_total_s=120.0
        )
        try:
            with closing(connect(at)) as writer:
                migrate(writer, now_ms=0, app_version="bench")
                with closing(connect(replace(at, user="analyst"))) as analyst:
                    filled = Filled(Writer(writer, releases=Released(writer)), analyst)
                    return Report("privacy", _results(filled, rows, pairs, uploads, seed))
        finally:
            running.stop()


def _results(filled: Filled, rows: int, pairs: int, uploads: int, seed: int) -> list[Result]:
    """Of the pairs an eighth over verdicts, a quarter each between views and over arrivals."""
    rng = np.random.default_rng(seed)
    fleet = Fleet(rng)
    fill(filled, fleet, rows=rows, uploads=uploads)
    shown = filled.truth.shown()
    results = [Result("S10", "rows stored", filled.stored, "rows", (">=", rows))]
    results += read_views(filled.analyst, shown)
    tell("views of events read")
    tally = Tally()
    ask_verdicts(filled, tally, count=pairs // 8, rng=rng)
    results += read_beside(filled.analyst, shown, filled.balance)
    tell("all views read")
    ask_between(filled, shown, tally, count=pairs // 4, rng=rng)
    ask_over_arrivals(filled, fleet, tally, count=pairs // 4, rng=rng)
    ask_between(filled, filled.truth.shown(), tally, count=pairs // 20, rng=rng)
    shown = filled.truth.shown()
    ask_pairs(filled.analyst, list(draw(shown, rng, pairs - tally.asked.total())), shown, tally)
    seen = control([Fleet(rng).window(0, min(uploads, 2_000)).facts], count=500, seed=seed)
    asked = tally.asked.total()
    return [
        *results,
        Result("S10", "pairs of statements", asked, "pairs", (">=", pairs)),
        *tally.results(),
        Result("S10", "control, of 500 pairs over all cells", seen, "pairs", (">=", 1)),
    ]


def main() -> int:
    """Arguments in, exit code out."""
    parser = argparse.ArgumentParser(prog="holdfast bench privacy", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of hf_store to fill")
    parser.add_argument("--pairs", type=int, default=10_500, help="pairs of statements to ask")
    parser.add_argument("--uploads", type=int, default=14_000, help="uploads of each window")
    parser.add_argument("--seed", type=int, default=1, help="of fleet and statements")
    parser.add_argument("--fast", action="store_true", help="a small store and few pairs")
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON")
    options = parser.parse_args()
    rows, pairs, uploads = options.rows, options.pairs, options.uploads
    if options.fast:
        rows, pairs, uploads = 30_000, 600, 800
    report = run(rows=rows, pairs=pairs, uploads=uploads, seed=options.seed)
    return report.give(as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
