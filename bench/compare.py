"""Two trees in turn on one machine: `holdfast bench compare REV NAME ...`.

Machines differ by two and more from day to day, and a busy one from minute to minute, so a figure
means something beside the same figure of another tree, made just before or after. REV is laid out
in the cache with what its own lock file says; its own benchmark runs there, and ours here, first
the one, then the other, then the other way round. What both of them say under one name is compared,
pair by pair.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.report import Report, Result

_ROOT: Final = Path(__file__).parents[1]
_CACHES: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
_Figures = dict[tuple[str, str], tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Tree:
    """A checked-out tree and the Python that runs it."""

    root: Path
    python: Path


def laid_out(rev: str) -> Tree:
    """The tree of a commit, with its dependencies. Raises CalledProcessError."""
    commit = _said("git", "rev-parse", "--verify", f"{rev}^{{commit}}", at=_ROOT)
    root = _CACHES / "holdfast" / "trees" / commit
    python = root / ".venv" / "bin" / "python"
    if not (root / ".whole").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        _said("git", "clone", "--quiet", "--no-checkout", str(_ROOT), str(root), at=_ROOT)
        _said("git", "checkout", "--quiet", "--detach", commit, at=root)
        _said(sys.executable, "-m", "venv", str(root / ".venv"), at=root)
        uv = Path(sys.executable).with_name("uv")
        _said(str(uv), "sync", "--quiet", "--frozen", "--python", str(python), at=root)
        (root / ".whole").touch()
    return Tree(root, python)


def measured(tree: Tree, name: str, arguments: list[str]) -> _Figures:
    """What the tree's own benchmark says; its bounds are not judged here."""
    ran = subprocess.run(  # our own trees
        [tree.python, "-m", "holdfast", "bench", name, *arguments, "--json"],
        cwd=tree.root,
        env={**os.environ, "VIRTUAL_ENV": str(tree.python.parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        said = json.loads(ran.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise RuntimeError(f"bench {name} said nothing in {tree.root}") from error
    return {
        (one["id"], one["what"]): (one["value"], one["unit"])
        for one in said["results"]
        if isinstance(one["value"], int | float)
    }


def compared(pairs: list[tuple[_Figures, _Figures]]) -> list[Result]:
    """The ratio ours / theirs of each figure that all runs have: median, least and greatest."""
    shared = set.intersection(*(set(figures) for pair in pairs for figures in pair))
    results = []
    for name in pairs[0][0]:
        if name not in shared:
            continue
        ratios = [ours[name][0] / theirs[name][0] for ours, theirs in pairs if theirs[name][0]]
        if ratios and all(map(math.isfinite, ratios)):
            what = f"{name[1]} ({pairs[0][0][name][1]})"
            middle = statistics.median(ratios)
            results.append(
                Result(
                    *(name[0], what, middle, "ours / theirs"),
                    n=len(ratios),
                    low=min(ratios),
                    high=max(ratios),
                )
            )
    return results


def _said(*command: str, at: Path) -> str:
    ran = subprocess.run(  # git, venv and uv
        command, cwd=at, check=True, stdout=subprocess.PIPE, text=True
    )
    return ran.stdout.strip()


def _measured_in_turn(
    options: argparse.Namespace, arguments: list[str]
) -> list[tuple[_Figures, _Figures]]:
    print(f"laying out {options.rev}", file=sys.stderr, flush=True)
    theirs, ours = laid_out(options.rev), Tree(_ROOT, Path(sys.executable))
    pairs = list[tuple[_Figures, _Figures]]()
    for number in range(options.pairs):
        order = (theirs, ours) if number % 2 else (ours, theirs)
        print(f"pair {number + 1} of {options.pairs}", file=sys.stderr, flush=True)
        figures = {tree.root: measured(tree, options.name, arguments) for tree in order}
        pairs.append((figures[ours.root], figures[theirs.root]))
    return pairs


def main() -> int:
    """Measure both, in turn, and report."""
    parser = argparse.ArgumentParser(prog="holdfast bench compare", description=__doc__)
    parser.add_argument("rev", help="a commit of this repository")
    parser.add_argument("name", help="a benchmark that both trees have")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options, arguments = parser.parse_known_args()
    if options.pairs < 1:
        parser.error("--pairs: at least one")
    try:
        pairs = _measured_in_turn(options, arguments)
    except (subprocess.CalledProcessError, RuntimeError) as error:
        parser.error(str(error))
    title = f"{options.name}: this tree / {options.rev}"
    return Report(title, compared(pairs)).give(as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
