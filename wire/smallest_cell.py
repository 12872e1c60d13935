"""How many uploads must stand behind everything that analysts are shown."""

from typing import Final

UPLOADS_MIN: Final = 10
"""Fewer uploads than this are never shown apart from others (docs/privacy.md)."""
PARTIAL_MIN: Final = 3 * UPLOADS_MIN
"""From so many uploads on a place is shown without a metric that too few of them have; one of fewer
uploads waits for the rest of its hour."""
