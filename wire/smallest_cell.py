"""How many uploads must stand behind everything that analysts are shown."""

from typing import Final

UPLOADS_MIN: Final = 10
"""Fewer uploads than this are never shown apart from others (docs/privacy.md)."""
