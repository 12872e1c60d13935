"""What all commands share: two options, and how they fail."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

_T = TypeVar("_T")

Json = Annotated[bool, typer.Option("--json", help="One JSON object on the last line of stdout.")]
Dir = Annotated[Path | None, typer.Option("--dir", help="The node's folder.")]


def known_errors(command: Callable[..., _T]) -> Callable[..., _T]:
    """Say what is wrong and what to do, without a traceback."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> _T:  # noqa: ANN401  # typer's own arguments
        from wire.errors import PermanentError, TransientError

        try:
            return command(*args, **kwargs)
        except PermanentError as error:
            accepted = f"\n  accepted: {error.accepted}" if error.accepted else ""
            sys.stderr.write(f"holdfast: {error}{accepted}\n")
            raise typer.Exit(2) from error
        except TransientError as error:
            sys.stderr.write(f"holdfast: {error}; try again\n")
            raise typer.Exit(1) from error

    return wrapped
