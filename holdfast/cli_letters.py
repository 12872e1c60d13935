"""``holdfast dead-letters ...``: its arguments; what they do is in `dead_letters_command`."""

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli_base import Dir, Json, known_errors
from holdfast.output import give

TakeOver = Annotated[
    bool, typer.Option("--take-over", help="With Kafka: from a command that was killed.")
]

dead_letters = typer.Typer(
    help="Records that could not be read.", no_args_is_help=True, rich_markup_mode=None
)


@dead_letters.command("list")
@known_errors
def dead_letters_list(*, directory: Dir = None, as_json: Json = False) -> None:
    """Every letter: where it lay, why it is one, its size, and what became of it."""
    from holdfast import dead_letters_command as command

    with command.open_letters(directory) as letters:
        found, text = command.list_letters(letters)
    give(found, as_json=as_json, text=text)


@dead_letters.command("export")
@known_errors
def dead_letters_export(
    folder: Annotated[Path, typer.Argument(help="A file for each letter, and index.json.")],
    *,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Write the letters that wait to a folder, byte for byte."""
    from holdfast import dead_letters_command as command

    with command.open_letters(directory) as letters:
        done = command.export(letters, folder)
    give(done, as_json=as_json, text=f"{done['exported']} in {folder}")


@dead_letters.command("replay")
@known_errors
def dead_letters_replay(
    *,
    mended: Annotated[
        Path | None, typer.Option("--from", help="An export whose files were repaired.")
    ] = None,
    take_over: TakeOver = False,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Append what waits to the log again, once; what still cannot be read is refused."""
    from holdfast import dead_letters_command as command

    with command.open_letters(directory, take_over=take_over) as letters:
        done = command.replay(letters, mended)
    give(done, as_json=as_json, text=command.replay_text(done))
    raise typer.Exit(1 if done["refused"] else 0)


@dead_letters.command("discard")
@known_errors
def dead_letters_discard(
    which: Annotated[list[str], typer.Argument(help="PARTITION:OFFSET as listed, or: all")],
    *,
    reason: Annotated[str, typer.Option(help="Why they are given up; it is listed with them.")],
    take_over: TakeOver = False,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Give letters up for good: they count no more, and a partition that they stopped goes on."""
    from holdfast import dead_letters_command as command

    with command.open_letters(directory, take_over=take_over) as letters:
        done = command.discard(letters, which, reason)
    give(done, as_json=as_json, text=command.discard_text(done))
    raise typer.Exit(1 if done["left"] else 0)
