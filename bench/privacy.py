"""Does anything that analysts can ask rest on fewer than ten uploads? ``holdfast bench privacy``.

A real store process with millions of rows of a skewed fleet, as the stages write them. Every view
that the engine has is read and each of its cells held against the uploads behind it, counted one by
one beside the product; then pairs of statements that differ by little, through the gate as the
analyst, in one state and before and after an arrival.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.privacy_cells import read_views
from bench.privacy_fleet import MODELS, VERSIONS, Fleet, Sent
from bench.privacy_pairs import Pair, Statement, draw
from bench.privacy_truth import Facts, Shown, Truth
from bench.report import Report, Result
from store import process
from store.client import Client, StoreSettings, connect
from store.migrate import migrate
from store.released import Released
from store.writer import Writer
from streams.rows import metric_rows
from streams.shown import shown_rows
from wire.smallest_cell import UPLOADS_MIN

_PASSWORD: Final = "of-this-benchmark"  # noqa: S105  # of a store that nobody else reaches
_ARMS: Final = 3
_ARRIVALS: Final = (1, 1, 9, 10, 12, 1, 200)  # uploads of each batch; the last ends the hour
_ASKED_AT_ONCE: Final = 4  # requests of 20 did not end on a loaded machine
_HOUR: Final = 12  # windows


@dataclass(slots=True)
class Filled:
    """A store that takes windows, and what is true of it."""

    writer: Writer
    analyst: Client
    truth: Truth = field(default_factory=lambda: Truth(VERSIONS, _ARMS))
    stored: int = 0
    windows: int = 0

    def take(self, sent: Sent) -> None:
        """One window into the store and into the truth."""
        rows = {
            "metric_window": metric_rows(sent.partial),
            "metric_shown": shown_rows(sent.partial),
        }
        self.writer.write(rows)
        self.truth.add(sent.facts)
        self.stored += len(sent.partial.cells)
        self.windows += 1


@dataclass(slots=True)
class Tally:
    """What came of the pairs: `isolated` and `unexplained` are to be none."""

    asked: int = 0
    isolated: int = 0
    unexplained: int = 0
    smallest: int = 1 << 40
    kinds: Counter[str] = field(default_factory=Counter)

    def judge(self, kind: str, difference: float, expected: float, behind: int) -> None:
        """One pair: who stands behind the difference, and whether it is what we think it is."""
        self.asked += 1
        self.kinds[kind] += 1
        self.isolated += 0 < behind < UPLOADS_MIN
        self.unexplained += abs(difference - expected) > 1e-6 * max(1.0, abs(expected), 1e6)
        if behind:
            self.smallest = min(self.smallest, behind)


def fill(filled: Filled, fleet: Fleet, *, rows: int, uploads: int) -> None:
    """Windows of so many uploads, until so many rows are stored and an hour has just begun."""
    while filled.stored < rows or filled.windows % _HOUR != 1:
        filled.take(fleet.window(filled.windows, uploads))


def answers(analyst: Client, statements: Sequence[Statement]) -> list[float]:
    """Of each statement its number; several are sent as columns of one request."""
    found: list[float] = []
    for i in range(0, len(statements), _ASKED_AT_ONCE):
        asked = ", ".join(f"({s.sql})" for s in statements[i : i + _ASKED_AT_ONCE])
        row: Sequence[Any] = analyst.rows(f"SELECT {asked}")[0]
        found += [float(value or 0) for value in row]
    return found


def ask_pairs(analyst: Client, pairs: Sequence[Pair], shown: Shown) -> Tally:
    """Both statements of every pair, in one state of the store."""
    tally = Tally()
    found = answers(analyst, [s for pair in pairs for s in (pair.first, pair.second)])
    for pair, first, second in zip(pairs, found[::2], found[1::2], strict=True):
        expected = pair.first.expected(shown) - pair.second.expected(shown)
        rows = np.setxor1d(pair.first.rows(shown), pair.second.rows(shown))
        tally.judge(pair.kind, first - second, expected, shown.behind(rows))
    return tally


def ask_over_arrivals(
    filled: Filled, fleet: Fleet, tally: Tally, *, count: int, rng: np.random.Generator
) -> None:
    """The same statements before and after a few uploads, and over the end of a log hour."""
    before = filled.truth.shown()
    for step, batch in enumerate(_ARRIVALS):
        statements = [p.first for p in draw(before, rng, count // len(_ARRIVALS))]
        first = answers(filled.analyst, statements)
        is_last = step == len(_ARRIVALS) - 1
        number = -(-filled.windows // _HOUR) * _HOUR if is_last else filled.windows
        one = np.full(batch, 1)
        model = one * int(rng.integers(MODELS))
        filled.take(fleet.of(number, model, one + step, one, rows=one + 3))
        after = filled.truth.shown()  # rows are only ever added
        second = answers(filled.analyst, statements)
        for statement, old, now in zip(statements, first, second, strict=True):
            expected = statement.expected(after) - statement.expected(before)
            rows = np.setxor1d(statement.rows(after), statement.rows(before))
            tally.judge(f"arrival of {batch}", now - old, expected, after.behind(rows))
        before = after


def control(facts: Sequence[Facts], *, count: int, seed: int) -> int:
    """How many pairs would isolate somebody if views read every stored cell: it must be seen."""
    truth = Truth(VERSIONS, _ARMS, least=1)
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
        running = process.start(Path(folder) / "store", credentials)
        at = StoreSettings(port=running.port, password=_PASSWORD)
        try:
            with closing(connect(at)) as writer:
                migrate(writer, now_ms=0, app_version="bench")
                with closing(connect(replace(at, user="analyst"))) as analyst:
                    filled = Filled(Writer(writer, releases=Released(writer)), analyst)
                    return Report("privacy", _results(filled, rows, pairs, uploads, seed))
        finally:
            running.stop()


def _results(filled: Filled, rows: int, pairs: int, uploads: int, seed: int) -> list[Result]:
    rng = np.random.default_rng(seed)
    fleet = Fleet(rng)
    fill(filled, fleet, rows=rows, uploads=uploads)
    shown = filled.truth.shown()
    results = [Result("S10", "rows stored", filled.stored, "rows", (">=", rows))]
    results += read_views(filled.analyst, shown)
    tally = ask_pairs(filled.analyst, list(draw(shown, rng, pairs * 2 // 3)), shown)
    ask_over_arrivals(filled, fleet, tally, count=pairs - pairs * 2 // 3, rng=rng)
    seen = control([Fleet(rng).window(0, min(uploads, 2_000)).facts], count=500, seed=seed)
    print(f"  {dict(tally.kinds)}")
    return [
        *results,
        Result("S10", "pairs of statements", tally.asked, "pairs", (">=", pairs - len(_ARRIVALS))),
        Result("S10", "pairs that isolate somebody", tally.isolated, "pairs", ("<=", 0)),
        Result("S10", "pairs whose difference has no rows", tally.unexplained, "pairs", ("<=", 0)),
        Result("S10", "fewest uploads behind a difference", tally.smallest, "uploads", (">=", 10)),
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
        rows, pairs, uploads = 30_000, 300, 800
    report = run(rows=rows, pairs=pairs, uploads=uploads, seed=options.seed)
    return report.give(as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
