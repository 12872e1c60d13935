"""``holdfast keys root`` and ``holdfast keys online``: the ceremony of release metadata."""

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli_base import Dir, Json, known_errors
from holdfast.output import give

roots = typer.Typer(
    help="Who may say which versions phones run: the root of release metadata.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Ceremony = Annotated[Path, typer.Argument(help="The ceremony's folder, kept away from nodes.")]
Online = Annotated[Path, typer.Option("--online", help="PEM of the node's public online key.")]
Years = Annotated[float, typer.Option(help="How long the root is good.")]
Others = Annotated[
    list[str] | None, typer.Option("--key", help="PUBLIC.pem=URI of a key that lies elsewhere.")
]


def online(
    *,
    new: Annotated[bool, typer.Option("--new", help="Make another one.")] = False,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Print the node's next public online key, for the root ceremony."""
    from holdfast import root_command

    made = root_command.online(directory, new=new)
    give(made, as_json=as_json, text=str(made["public_key"]))


@roots.command("init")
@known_errors
def root_init(
    folder: Ceremony,
    *,
    online_pem: Online,
    keys: Annotated[int, typer.Option(help="Root keys that are made in the folder.")] = 1,
    others: Others = None,
    threshold: Annotated[int, typer.Option(help="Signatures that a root needs.")] = 1,
    years: Years = 2.0,
    as_json: Json = False,
) -> None:
    """Make the first root of a fleet, on a machine that is no node."""
    from holdfast import root_command

    made = root_command.init(
        folder, online_pem, keys=keys, others=others or [], threshold=threshold, years=years
    )
    give(made, as_json=as_json, text=_text(made))


@roots.command("rotate-online")
@known_errors
def root_rotate_online(
    folder: Ceremony, *, online_pem: Online, years: Years = 2.0, as_json: Json = False
) -> None:
    """Make the next root, with another online key (or the same one, to renew the root)."""
    from holdfast import root_command

    made = root_command.rotate_online(folder, online_pem, years=years)
    give(made, as_json=as_json, text=_text(made))


@roots.command("rotate-root")
@known_errors
def root_rotate_root(
    folder: Ceremony, *, others: Others = None, years: Years = 2.0, as_json: Json = False
) -> None:
    """Make the next root, with new root keys; own old ones are deleted."""
    from holdfast import root_command

    made = root_command.rotate_root(folder, others=others or [], years=years)
    give(made, as_json=as_json, text=_text(made))


@roots.command("sign")
@known_errors
def root_sign(
    root_file: Annotated[Path, typer.Argument(help="A root that others have made.")],
    *,
    key: Annotated[str, typer.Option(help="PUBLIC.pem=URI of the key to sign with.")],
    as_json: Json = False,
) -> None:
    """Add a signature to a root, where several holders must sign."""
    from holdfast import root_command

    made = root_command.sign(root_file, key)
    give(made, as_json=as_json, text=f"signed {root_file}")


@roots.command("install")
@known_errors
def root_install(
    root_file: Annotated[Path, typer.Argument(help="The next root.")],
    *,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Put a root in force on a node; phones follow it from then on."""
    from holdfast import root_command

    made = root_command.install(directory, root_file)
    give(made, as_json=as_json, text=f"root {made['version']} is in force")


def _text(made: dict[str, object]) -> str:
    return (
        f"wrote {made['root']}: {made['signatures']} signatures of {made['threshold']} needed,"
        f" good until {made['expires']}\nthen, on the node: holdfast keys root install FILE"
    )
