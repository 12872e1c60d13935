"""What analysts are told of an alert: its numbers in two digits.

An alert judges all that was used or seen in an hour or window, where views show what ten uploads
stand behind: exact, it would tell what the difference is. The message that was sent has the whole.
"""

import re
from dataclasses import replace
from typing import Final

from analytics.types import Arithmetic

_DIGITS: Final = 2
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


def told_of_alert(judged: Arithmetic) -> Arithmetic:
    """The same alert, every number of it rounded to two significant digits."""
    return replace(
        judged,
        units_candidate=int(_short(judged.units_candidate)),
        units_control=int(_short(judged.units_control)),
        effect=_short(judged.effect),
        effect_low=_short(judged.effect_low),
        effect_high=_short(judged.effect_high),
        metrics={name: _short(value) for name, value in judged.metrics.items()},
        reason=_NUMBER.sub(lambda found: f"{_short(float(found[0])):.15g}", judged.reason),
    )


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
