"""Bytes to typed columns and back; errors."""
