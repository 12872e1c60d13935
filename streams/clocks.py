"""The clocks of a log's life: said once, the same for every runner and every start.

Two widths of window in one store replace each other's rows, and ids that are remembered for less
long than uploads are accepted let a late retry count twice. So the first clocks stay.
"""

from dataclasses import dataclass

from wire.errors import PermanentError


@dataclass(frozen=True, slots=True)
class Clocks:
    """`window_ms` is fixed for life; `horizon_ms` is how long an upload's id is remembered."""

    window_ms: int
    horizon_ms: int


def check_clocks(stands: Clocks, wanted: Clocks) -> Clocks:
    """The clocks to go on with: those that stand.

    An accepted age that is shorter than what is remembered needs nothing. Raises PermanentError
    ``state_of_other_clocks``.
    """
    check_window(stands.window_ms, wanted.window_ms)
    if wanted.horizon_ms > stands.horizon_ms:
        raise other_clocks(
            f"batch ids are remembered for {stands.horizon_ms} ms, and uploads shall be accepted"
            f" for {wanted.horizon_ms} ms: a late retry would be counted twice",
            f"at most {stands.horizon_ms}",
        )
    return stands


def check_window(stands_ms: int, wanted_ms: int) -> None:
    """Raises PermanentError ``state_of_other_clocks``."""
    if stands_ms != wanted_ms:
        raise other_clocks(
            f"the windows that are stored are {stands_ms} ms wide, not {wanted_ms}", str(stands_ms)
        )


def other_clocks(detail: str, accepted: str) -> PermanentError:
    """The error of going on with other clocks."""
    return PermanentError(
        "state_of_other_clocks",
        detail,
        accepted=f"{accepted}; changing it is a migration (runbook: to change the clocks)",
    )
