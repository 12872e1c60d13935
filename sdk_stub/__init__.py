"""The reference client, and fleets that use it."""
