"""The commands. Heavy imports wait inside each, so that ``--help`` answers at once."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

app = typer.Typer(
    name="holdfast",
    help="Telemetry from AI models on phones: durable receipts, proven rollbacks, in Git.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_T = TypeVar("_T")

Json = Annotated[bool, typer.Option("--json", help="One JSON object on the last line of stdout.")]
Dir = Annotated[Path | None, typer.Option("--dir", help="The node's folder.")]


@app.callback()
def root() -> None:
    """Telemetry from AI models on phones: durable receipts, proven rollbacks, in Git."""


def main() -> None:
    """Run a command; exit 0 ok, 1 failed, 2 usage or configuration."""
    app()


def tell(line: str) -> None:
    """Progress is for people: it goes to standard error."""
    sys.stderr.write(line + "\n")


def give(result: dict[str, Any], *, as_json: bool, text: str) -> None:
    """The result: one JSON line for machines, text for people."""
    sys.stdout.write((json.dumps(result) if as_json else text) + "\n")


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


@app.command()
@known_errors
def demo(
    *,
    seed: Annotated[int, typer.Option(help="Equal seeds, equal fleets.")] = 1,
    fault: Annotated[str, typer.Option(help="The injected fault; none = A/A.")] = "latency",
    directory: Annotated[
        Path, typer.Option("--dir", help="A new folder; everything stays inspectable there.")
    ] = Path("holdfast-demo"),
    fast: Annotated[bool, typer.Option(help="Fewer phones, for CI.")] = False,
    as_json: Json = False,
) -> None:
    """Show the road: a fleet, a bad release, the rollback commit, the recovery."""
    from holdfast.demo_command import run_demo

    raise typer.Exit(run_demo(seed, fault, directory, fast=fast, as_json=as_json))
