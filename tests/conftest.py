"""Two workers: one runs the tests that start whole nodes, one after the other, the other the rest.

Whole nodes side by side would fight for the cores and measure each other.
"""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=300, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

_NODES = Path(__file__).parent / "e2e"
_DOCS = Path(__file__).parent / "test_docs.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put every test that starts a node into one group."""
    for item in items:
        if _NODES in item.path.parents or item.path == _DOCS:
            item.add_marker(pytest.mark.xdist_group("nodes"))
