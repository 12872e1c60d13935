"""The repository's manifests -> the desired state, tried with everything that will work under it.

Whatever the stages or ingest would refuse is a mistake while manifests are read: both make the same
objects of it.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from actions.desired_files import read_desired
from ingest.grants import ACCEPTED_AGE_MIN_MS
from ingest.releases import models_of
from ingest.vocabulary import Vocabulary
from streams.trial import misfits
from wire.desired import Desired, Misfit

_REFUSED: Final = (ValueError, ArithmeticError, LookupError, TypeError)


def read_state(
    contents: Mapping[str, bytes],
    *,
    commit: str,
    last: Desired | None = None,
    unread: Collection[str] = (),
) -> Desired:
    """The desired state of a commit's files; `last` and `unread` as `read_desired` has them.

    Raises BrokenManifestsError with every mistake found.
    """
    return read_desired(contents, commit=commit, last=last, unread=unread, trial=_tried)


def _tried(desired: Desired) -> Iterator[Misfit]:
    yield from misfits(desired)
    age_ms = desired.policy.accepted_age_ms
    if desired.policy.proof == "grant" and age_ms < ACCEPTED_AGE_MIN_MS:
        yield Misfit(
            "Policy",
            "",
            "spec.acceptedAgeMs",
            f"{age_ms} ms: a grant would be good for longer than its use is remembered",
            f"{ACCEPTED_AGE_MIN_MS} or more with units.proof: grant",
        )
    try:
        Vocabulary(desired)
        for app_id in dict.fromkeys(release.app_id for release in desired.releases):
            models_of(app_id, desired, desired.effective_ms)
    except _REFUSED as error:
        yield Misfit("Policy", "", "spec", str(error), "values that uploads can be checked by")
