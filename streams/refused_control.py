"""What is said of a control record that the stages cannot work under: ignored, never fatal.

An older version may have written it. It stays in the log, so every replay meets it again, and says
the same again.
"""

import hashlib
from typing import Final

from analytics.types import Arithmetic, Outcome, Verdict, VerdictKind
from streams.partial import WindowPartial

CONTROL: Final = "control_record"
"""The metric of such a verdict."""


def refused_verdict(record: bytes, commit: str, reason: str, window: WindowPartial) -> Verdict:
    """An error about no release; one incident per record."""
    digest = hashlib.sha256(b"control|" + record).hexdigest()
    said = f"the desired state of commit {commit[:12] or '(unknown)'} is ignored: {reason}"
    return Verdict(
        verdict_id=digest[:20],
        incident_id=digest[20:36],
        kind=VerdictKind.RELEASE,
        outcome=Outcome.ERROR,
        app_id="",
        model_id="",
        rollout_id="",
        candidate_version="",
        stable_version="",
        window_start_ms=window.start_ms,
        window_ms=window.width_ms,
        input_sha256=digest,
        policy_sha256="",
        arithmetic=Arithmetic(metric=CONTROL, reason=said),
    )
