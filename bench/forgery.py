"""What a forged verdict costs: `python -m bench.forgery [--json] [--fast]` (S3).

Each way of forging (`bench.forgery_ways`) is tried with more and more uploads a window, and the
cheapest that reaches its aim is the price; none within the largest try is infinity. Where units
need grants, the price is in the networks that a forger must send from.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence

from bench.forgery_grants import PREFIXES, WEEKS, grant_rows
from bench.forgery_ways import (
    BOUNDED,
    PHONES,
    SIZES,
    WAYS,
    WINDOWS,
    breach_window,
    price,
    worlds,
)
from bench.report import Bound, Report, Result


def rows(honest: dict[str, list[list[bytes]]], sizes: Sequence[int]) -> Iterator[Result]:
    """All prices at `none`; an address prefix more costs nothing at `none`, so one is enough."""
    nothing: list[list[bytes]] = [[] for _ in range(WINDOWS)]
    plain = {aim: breach_window(world, nothing) for aim, world in honest.items()}
    sound = plain["rollback"] == math.inf and plain["masking"] < math.inf
    yield Result("S3", "without a forger both worlds are judged rightly", sound, "", (">=", 1))
    for number, way in enumerate(WAYS):
        found = price(way, honest[way.aim], sizes)
        bound: Bound | None = (">=", math.inf) if number < BOUNDED else None
        name = f"none, {way.aim}: {way.what}"
        yield Result("S3", name, found.uploads, "uploads", bound, PHONES)
        if found.uploads < math.inf:
            yield Result("S3", name, found.wire_bytes, "By", None, PHONES)
            yield Result("S3", name, found.windows, "windows", None, PHONES)


def main() -> int:
    """Print the table, and with ``--json`` one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--fast", action="store_true", help="two sizes alone")
    arguments = parser.parse_args()
    honest = worlds()
    at_none = rows(honest, SIZES[-1:] if arguments.fast else SIZES)
    fast = arguments.fast
    at_grant = grant_rows(honest, PREFIXES[:1] if fast else PREFIXES, WEEKS[:1] if fast else WEEKS)
    return Report("forgery", [*at_none, *at_grant]).give(as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
