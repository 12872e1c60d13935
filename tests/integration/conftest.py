"""Fixtures that integration tests share."""

from tests.integration.store_fixtures import store_endpoint

__all__ = ["store_endpoint"]
