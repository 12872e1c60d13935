"""The commands. Heavy imports wait inside each, so that ``--help`` answers at once."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from holdfast import garbage
from holdfast.cli_base import Dir, Json, known_errors
from holdfast.cli_letters import dead_letters
from holdfast.cli_roots import online, roots
from holdfast.folder import keep_private
from holdfast.output import give

app = typer.Typer(
    name="holdfast",
    help="Telemetry from AI models on phones: durable receipts, proven rollbacks, in Git.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # its help pages import Markdown and Pygments, half a second
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Telemetry from AI models on phones: durable receipts, proven rollbacks, in Git."""


def main() -> None:
    """Run a command; exit 0 ok, 1 failed, 2 usage or configuration."""
    keep_private()
    garbage.seldom()
    app()


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
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete an earlier demo there; never a running one.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the road: a fleet, a bad release, the rollback commit, the recovery."""
    from holdfast.demo_command import run_demo

    raise typer.Exit(
        run_demo(seed, fault, directory, fast=fast, as_json=as_json, replace_demo=replace)
    )


@app.command()
@known_errors
def up(
    *,
    directory: Dir = None,
    gitops_url: Annotated[str | None, typer.Option(help="The GitOps repository.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Uploads over HTTP.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Uploads over gRPC.")] = None,
    store_port: Annotated[int | None, typer.Option(help="ClickHouse over HTTP.")] = None,
    as_json: Json = False,
) -> None:
    """Run a node: ingest, stages, actions and the store, two processes, until stopped."""
    from holdfast.up_command import run_up

    ports = {"http_port": http_port, "grpc_port": grpc_port, "store_port": store_port}
    raise typer.Exit(run_up(directory, gitops_url, as_json=as_json, **ports))


@app.command()
@known_errors
def ingest(
    *,
    directory: Dir = None,
    gitops_url: Annotated[str | None, typer.Option(help="The GitOps repository.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Uploads over HTTP.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Uploads over gRPC.")] = None,
) -> None:
    """Take uploads into Kafka until stopped; says when it is ready, as JSON."""
    from holdfast.ingest_command import run_ingest

    options = {"gitops_url": gitops_url, "http_port": http_port, "grpc_port": grpc_port}
    raise typer.Exit(run_ingest(directory, **options))


@app.command()
@known_errors
def worker(
    *,
    stage: Annotated[str, typer.Option(help="summarise, decide or act.")],
    directory: Dir = None,
) -> None:
    """Run one stage over Kafka until stopped; says when it is ready, as JSON."""
    from holdfast.worker_command import run_worker

    run_worker(stage, directory)


@app.command()
@known_errors
def init(
    repository: Annotated[Path, typer.Argument(help="A checkout of the GitOps repository.")],
    *,
    app_id: Annotated[str, typer.Option("--app", help="The app's id.")],
    model_id: Annotated[str, typer.Option("--model", help="The model's id.")],
    stable: Annotated[str, typer.Option(help="Version that phones run now.")],
    candidate: Annotated[str, typer.Option(help="Version to try.")],
    as_json: Json = False,
) -> None:
    """Add policy, rate card and a release to a GitOps repository; the dry run is on."""
    from holdfast.init_command import add_manifests

    done = add_manifests(
        repository, app_id=app_id, model_id=model_id, stable=stable, candidate=candidate
    )
    written = [f"wrote {path}" for path in done["written"]]
    kept = [f"kept  {path} (was there)" for path in done["kept"]]
    changed = [f"added the app to {path}" for path in done["changed"]]
    follow = "Read them, commit and push; then: holdfast check-config --repo " + str(repository)
    give({**done}, as_json=as_json, text="\n".join([*written, *kept, *changed, follow]))


keys = typer.Typer(
    help="Who may write: API keys of apps.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(keys, name="keys")
keys.add_typer(roots, name="root")
keys.command("online")(known_errors(online))
app.add_typer(dead_letters, name="dead-letters")


@keys.command("create")
@known_errors
def keys_create(
    app_id: Annotated[str, typer.Option("--app", help="The app that may write with it.")],
    *,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Make a key; it is shown once and stored as a hash."""
    from holdfast import keys_command

    made = keys_command.create(directory, app_id)
    give(made, as_json=as_json, text=str(made["key"]))


@keys.command("rotate")
@known_errors
def keys_rotate(
    key_id: Annotated[str, typer.Argument(help="The 8 hex digits after hfk_.")],
    *,
    overlap_hours: Annotated[float, typer.Option(help="How long the old key works on.")] = 168.0,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Make a successor; both work during the overlap."""
    from holdfast import keys_command

    made = keys_command.rotate(directory, key_id, overlap_hours)
    give(made, as_json=as_json, text=str(made["key"]))


@keys.command("revoke")
@known_errors
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="The 8 hex digits after hfk_.")],
    *,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Stop a key within seconds."""
    from holdfast import keys_command

    give(keys_command.revoke(directory, key_id), as_json=as_json, text=f"revoked {key_id}")


@keys.command("list")
@known_errors
def keys_list(*, directory: Dir = None, as_json: Json = False) -> None:
    """Every key's id and app; never a secret."""
    from holdfast import keys_command

    found = keys_command.listed(directory)
    text = "\n".join(f"{key['id']}  {key['app']}" for key in found)
    give({"keys": found}, as_json=as_json, text=text)


@app.command("check-config")
@known_errors
def check_config(
    *,
    directory: Dir = None,
    repository: Annotated[str | None, typer.Option("--repo", help="Check this one.")] = None,
    as_json: Json = False,
) -> None:
    """Show the effective settings and every mistake in the GitOps repository."""
    from holdfast.check_command import check

    result, text, code = check(directory, repository)
    give(result, as_json=as_json, text=text)
    raise typer.Exit(code)


@app.command("accept-log")
@known_errors
def accept_log(
    topics: Annotated[list[str] | None, typer.Argument(help="None: show what differs.")] = None,
    *,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Go on with Kafka topics that are not those of our positions, from their first record."""
    from holdfast.accept_log_command import run_accept_log

    raise typer.Exit(run_accept_log(topics or [], directory, as_json=as_json))


@app.command()
@known_errors
def explain(
    verdict: Annotated[str, typer.Argument(help="A verdict's id, or its beginning.")],
    *,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Print the arithmetic of a verdict."""
    from holdfast.explain_command import explanation
    from holdfast.node_store import opened_store
    from store import queries

    with opened_store(directory) as store:
        row = queries.verdict(store, verdict)
    plain = {k: v if isinstance(v, dict | int | float | str) else str(v) for k, v in row.items()}
    give(plain, as_json=as_json, text=explanation(row))


@app.command()
@known_errors
def sql(
    query: Annotated[str, typer.Argument(help="One read-only statement on the database hf.")],
    *,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Ask the store, as an analyst would."""
    from holdfast.sql_command import ask

    result, text = ask(directory, query)
    give(result, as_json=as_json, text=text)


@app.command()
@known_errors
def replay(
    *,
    data: Annotated[Path | None, typer.Option(help="Folder of the two Parquet files.")] = None,
    scenario: Annotated[str, typer.Option(help="same-model, upgrade or mixed-vendors.")],
    seed: Annotated[int, typer.Option(help="Of the random halves.")] = 1,
    strata: Annotated[bool, typer.Option(help="Compare within vendors.")] = True,
    device: Annotated[str | None, typer.Option(help="Whose run; by default a known one.")] = None,
    as_json: Json = False,
) -> None:
    """Run the road over recorded runs of real phones."""
    from holdfast.config import data_folder
    from holdfast.replay_command import run_replay

    folder = data or data_folder() / "mlperf_mobile"
    raise typer.Exit(
        run_replay(folder, scenario, seed=seed, stratified=strata, device=device, as_json=as_json)
    )


# `--help` goes to the benchmark too: it knows its own options
_PASSED_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
_BENCHES = (
    *("e2e", "demo-matrix", "detectors", "scale", "dedup", "outage"),
    *("manifests", "gate", "bodies", "fuzz", "forgery", "tuf", "privacy", "doors", "compare"),
)


@app.command(context_settings=_PASSED_ON)
@known_errors
def bench(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(_BENCHES)}.")] = "",
) -> None:
    """Run a benchmark: ``holdfast bench e2e --json``."""
    from wire.errors import PermanentError

    if name not in _BENCHES:
        raise PermanentError(
            "bench_unknown", f"there is no benchmark {name!r}", accepted=", ".join(_BENCHES)
        )
    raise typer.Exit(_module(f"bench.{name.replace('-', '_')}", context.args))


@app.command(context_settings=_PASSED_ON)
def chaos(context: typer.Context) -> None:
    """Kill a node's processes under load and check every promise; see ``--help``."""
    raise typer.Exit(_module("bench.chaos", context.args))


def _module(name: str, arguments: list[str]) -> int:
    """Benchmarks drive the product from outside, as a process of their own."""
    import subprocess

    return subprocess.run([sys.executable, "-m", name, *arguments], check=False).returncode
