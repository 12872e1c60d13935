"""Anytime-valid evidence that a candidate is worse than the stable release beside it."""
