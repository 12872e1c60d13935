"""The repository as its own tests see it: what git tracks, and the source as syntax trees."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = (
    "actions",
    "analytics",
    "bench",
    "holdfast",
    "ingest",
    "proto",
    "sdk_stub",
    "store",
    "streams",
    "wire",
)
GENERATED = "wire/pb/"
Named = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tracked() -> tuple[str, ...]:
    """Paths that a clone of this commit has, and that are here."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    return tuple(path for path in listed.split("\0") if path and (ROOT / path).is_file())


@cache
def source() -> dict[str, ast.Module]:
    """Our modules by path, tests included, generated ones not."""
    paths = [p for p in tracked() if p.endswith(".py") and not p.startswith(GENERATED)]
    return {path: ast.parse((ROOT / path).read_text(), path) for path in paths}


def product() -> dict[str, ast.Module]:
    """Our modules without tests."""
    return {path: tree for path, tree in source().items() if path.split("/")[0] in ROOMS}


def named(tree: ast.Module) -> Iterator[Named]:
    """Every class and function of a module."""
    return (node for node in ast.walk(tree) if isinstance(node, Named))


def texts(*suffixes: str) -> dict[str, str]:
    """Tracked files with these endings, by path."""
    return {p: (ROOT / p).read_text() for p in tracked() if p.endswith(suffixes)}
