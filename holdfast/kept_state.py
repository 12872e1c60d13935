"""The last good desired state on disk, so that a process that starts while Git is away has one."""

import logging
from pathlib import Path

import msgspec

from holdfast.folder import write_private
from streams.trial import misfits
from wire.desired import Desired, from_json, to_json

_log = logging.getLogger("holdfast.kept_state")


def keep(file: Path, desired: Desired) -> None:
    """Write it down; a full disk is said, and no reason to stop."""
    try:
        write_private(file, to_json(desired).decode())
    except OSError as error:
        _log.warning("state_not_kept", extra={"reason": error.strerror})


def kept(file: Path) -> Desired | None:
    """What was written down, if it can still be worked under."""
    try:
        desired = from_json(file.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    return None if misfits(desired) else desired


def newest(*states: Desired | None) -> Desired | None:
    """The one that holds from the latest moment."""
    known = [state for state in states if state is not None]
    return max(known, key=lambda state: state.effective_ms) if known else None
