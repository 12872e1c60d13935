"""Composition root: settings, wiring, commands."""
