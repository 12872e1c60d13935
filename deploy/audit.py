"""Advisories against the locked versions; where no database answers, the versions by age.

uv asks the advisory database for every version of uv.lock. Without a network nothing is known of
advisories, and the last lines say so: old versions are then flagged, since a fix cannot be in them.
"""

import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OLD = timedelta(days=730)
FOUND = 1
"""Exit status of `uv audit` for advisories; an unanswered question is another one."""


def released(package: dict[str, Any]) -> datetime | None:
    """When the first file of this version was uploaded; None for this project itself."""
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    times = [datetime.fromisoformat(f["upload-time"]) for f in files if "upload-time" in f]
    return min(times, default=None)


def ages(lock: str, now: datetime) -> list[tuple[timedelta, str, str]]:
    """Age, name and version of every locked package, oldest first."""
    packages = tomllib.loads(lock)["package"]
    dated = [(released(p), p["name"], p["version"]) for p in packages]
    return sorted(((now - t, name, v) for t, name, v in dated if t is not None), reverse=True)


def listing(lock: str, now: datetime) -> str:
    """Every version by age, the old ones flagged, and what was not checked."""
    rows = ages(lock, now)
    lines = [
        f"{'OLD' if age > OLD else '   '} {age.days:5d} days  {name} {version}"
        for age, name, version in rows
    ]
    old = sum(age > OLD for age, _, _ in rows)
    undated = len(tomllib.loads(lock)["package"]) - len(rows)
    return "\n".join(
        [
            *lines,
            f"{len(rows)} locked versions by age, {old} older than {OLD.days} days; "
            f"{undated} without a date (this project).",
            "NOT checked against advisories: no advisory database answered. "
            "Run `make audit` again where one can be reached.",
        ]
    )


def main(uv: str) -> int:
    """Exit status: 0 nothing found, or nothing could be asked and the ages are listed; 1 found."""
    asked = subprocess.run(
        [uv, "audit", "--frozen", "--preview-features", "audit-command"], cwd=ROOT, check=False
    )
    if asked.returncode in {0, FOUND}:
        verdict = "advisories found" if asked.returncode else "no advisory found"
        print(f"Checked against advisories: every version of uv.lock, {verdict}.")
        return asked.returncode
    print(listing((ROOT / "uv.lock").read_text(), datetime.now(UTC)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
