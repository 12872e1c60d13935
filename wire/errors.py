"""Two families of errors, told apart by what the caller does next."""

from typing import TypeVar


class PermanentError(Exception):
    """The same input will always fail: refuse it (4xx) or dead-letter it. Never retry.

    `code` is a stable snake_case word: a metric label, a dead-letter column, a problem type.
    `field` names the offending field; `accepted` says what would have been taken. `detail` is for
    people and must not hold payload bytes or device ids.
    """

    def __init__(self, code: str, detail: str, *, field: str = "", accepted: str = "") -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.field = field
        self.accepted = accepted


class TransientError(Exception):
    """Nothing was lost and the offset is kept; the client is told to come back."""

    def __init__(self, code: str, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s


_Error = TypeVar("_Error", PermanentError, TransientError)


def as_value(error: _Error) -> _Error:
    """The same, to be kept. One that was raised holds the frames that it passed through, and they
    hold the whole group; a frame that keeps it is a cycle, which lives until somebody collects.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error
