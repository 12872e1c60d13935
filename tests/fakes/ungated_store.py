"""The store's endpoint with its gate switched off: whatever anyone asks is run as it stands.

For the tests of the second wall. `python -m tests.fakes.ungated_store` takes the same options as
`python -m store.endpoint`.
"""

import sys

from store import endpoint
from store.embedded import Answer, EmbeddedStore
from store.gate import Limits, Role
from store.http_format import StatementRequest


def run(store: EmbeddedStore, role: Role, request: StatementRequest, limits: Limits) -> Answer:
    """Judge nothing, and limit nothing."""
    if request.insert:
        return store.insert(
            request.insert.head,
            input_format=request.insert.input_format,
            chunks=[request.body],
            database="",
            settings={},
        )
    return store.run(request.sql, output_format="TabSeparated", database="", settings={}, params={})


if __name__ == "__main__":
    sys.exit(endpoint.main(sys.argv[1:], run))
