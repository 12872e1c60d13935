"""Three workers: one runs the tests that start whole nodes, one by one, the others the rest.

Whole nodes side by side would fight for the cores and measure each other. The others mostly wait
for brokers and stores, so two cores are enough for three.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from xdist.remote import Producer  # type: ignore[import-untyped]  # ships no types
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # nor here

from tests.kafka_fixtures import kafka, kafka_prefix, module_kafka, own_kafka

__all__ = ["kafka", "kafka_prefix", "module_kafka", "own_kafka"]

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=300, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that is run in this process logs to where it was run, and that ends with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


_NODES = ("tests/e2e/", "tests/test_docs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole nodes come first: no other group takes as long."""
    items.sort(key=lambda item: not item.nodeid.startswith(_NODES))


class NodesTogether(LoadScopeScheduling):  # type: ignore[misc]  # for the same reason
    """Files go to whichever worker is free, those that start whole nodes all to one.

    (xdist's own ``loadgroup`` writes its groups where pytest 9.2 no longer reads them.)
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "nodes" if path.startswith(_NODES) else path


@pytest.hookimpl(optionalhook=True)  # without xdist there is nothing to schedule
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> NodesTogether:
    return NodesTogether(config, log)
