"""Counts that ride in the log, so that everything received is accounted for.

``uploads:received``         uploads that reached the decoder, or were refused before it
``uploads:rejected:<code>``  of them: refused whole, by reason
``uploads:partly_rejected``  uploads that were accepted without some of their observations
``rows:received``            observations of uploads that could be decoded
``rows:rejected:<code>``     of them: refused, alone or with their upload, by reason
``units:received``, ``units:rejected:<code>``      unit days, likewise
``feedback:received``, ``feedback:rejected:<code>`` outcome reports, likewise
``fields:unknown_field``     fields that no schema names: discarded
``fields:unknown_rollout``   uploads whose rollout does not stand (any more): blanked there
``fields:ungranted``         uploads of a rollout whose unit does not count, for want of a grant
``fields:unregistered_<field>`` uploads whose name there is not registered: ``other`` instead

So ``uploads:received`` = uploads in segments + the sum of ``uploads:rejected:*``, and the same for
rows. An accepted upload is counted in the very record that holds its rows; what was refused whole
rides in the next record written. An answer of "come back" (503) is not received: it comes again.
Duplicates are received each time, and taken out behind the log.
"""

from collections.abc import Mapping

Tallies = dict[str, int]


def add(tallies: Tallies, name: str, count: int = 1) -> None:
    """Count up."""
    if count:
        tallies[name] = tallies.get(name, 0) + count


def merge(into: Tallies, other: Mapping[str, int]) -> None:
    """Count all of `other` too."""
    for name, count in other.items():
        add(into, name, count)
