"""What every benchmark says: figures with their bounds, for people and for scripts."""

import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

Bound = tuple[Literal["<=", ">="], float]


@dataclass(frozen=True, slots=True)
class Result:
    """One figure. `id` is the acceptance line that it answers; `bound` None: stated, not judged.

    `low` and `high` are the interval or range of the `n` observations behind it.
    """

    id: str
    what: str
    value: float
    unit: str
    bound: Bound | None = None
    n: int = 1
    low: float = math.nan
    high: float = math.nan

    @property
    def is_ok(self) -> bool:
        """Whether the bound holds; a figure that is no number holds none."""
        if self.bound is None:
            return True
        sign, limit = self.bound
        return self.value <= limit if sign == "<=" else self.value >= limit


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run of one benchmark."""

    bench: str
    results: Sequence[Result]

    @property
    def is_ok(self) -> bool:
        """Whether every bound holds; a run without figures proves nothing."""
        return bool(self.results) and all(r.is_ok for r in self.results)

    def as_json(self) -> str:
        """The contract that scripts depend on, one line; what is no number is null."""
        return json.dumps(
            {
                "bench": self.bench,
                "results": [_plain(r) for r in self.results],
                "machine": machine(),
            },
            allow_nan=False,
        )

    def give(self, *, as_json: bool) -> int:
        """Print it; the exit code: 0 if every bound holds, else 1."""
        Console(stderr=as_json).print(self._table())
        if as_json:
            sys.stdout.write(self.as_json() + "\n")
        return 0 if self.is_ok else 1

    def _table(self) -> Table:
        table = Table(title=self.bench, title_justify="left")
        for heading in ("id", "what", "value", "unit", "bound", "n", "low - high", ""):
            right = heading in {"value", "bound", "n"}
            table.add_column(heading, justify="right" if right else "left")
        for r in self.results:
            table.add_row(
                r.id,
                r.what,
                f"{r.value:,.4g}" if abs(r.value) < 1e5 else f"{r.value:,.0f}",
                r.unit,
                "" if r.bound is None else f"{r.bound[0]} {r.bound[1]:g}",
                str(r.n),
                "" if math.isnan(r.low) else f"{r.low:.4g} - {r.high:.4g}",
                "" if r.bound is None else ("ok" if r.is_ok else "MISSED"),
            )
        return table


def _plain(result: Result) -> dict[str, object]:
    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "id": result.id,
        "what": result.what,
        "value": number(result.value),
        "unit": result.unit,
        "bound": None if result.bound is None else f"{result.bound[0]} {result.bound[1]:g}",
        "ok": result.is_ok,
        "n": result.n,
        "low": number(result.low),
        "high": number(result.high),
    }


def machine() -> dict[str, object]:
    """What a figure was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(memory / 1e9, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _cpu_name() -> str:
    source = Path("/proc/cpuinfo")
    lines = source.read_text().splitlines() if source.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
