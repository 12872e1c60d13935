"""``holdfast check-config``: the effective settings, and every mistake in the GitOps repository.

Of a checkout (``--repo FOLDER``) it is the working tree that is read: one can ask before pushing.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from actions.attempts import AttemptNote, attempt_notes
from actions.checkout import Checkout, is_checkout
from actions.desired_files import BrokenManifestsError
from actions.git_command import GitSettings
from actions.git_history import History
from actions.git_words import shown_address
from actions.repository import Repository, Seen
from holdfast.config import PREFIX, Settings, git_environment, load
from holdfast.desired_state import read_state
from holdfast.folder import Folder
from holdfast.kafka_settings import kafka_settings
from holdfast.outside import repository_of
from holdfast.policy_check import age_check
from wire.desired import Desired
from wire.errors import TransientError


@dataclass(frozen=True, slots=True)
class _Source:
    """What is checked: files, and the history behind them. `commit` is "" if there is none."""

    what: str
    commit: str
    seen: Seen
    history: History
    names: Mapping[str, bytes]


def check(directory: Path | None, repository: str | None) -> tuple[dict[str, object], str, int]:
    """JSON, text and exit code: 0 all good, 1 remote away, 2 mistakes."""
    settings = load(dir=directory, gitops_url=repository)
    shown = {name: _shown(settings, name) for name in Settings.model_fields}
    result: dict[str, object] = {"settings": shown, "mistakes": [], "warnings": [], "commit": ""}
    lines = [f"{PREFIX}{name.upper():<22} {value}" for name, value in shown.items()]
    if not settings.gitops_url:
        lines += ["", "No GitOps repository is set (HOLDFAST_GITOPS_URL): nothing can be decided."]
        return {**result, "ok": False}, "\n".join(lines), 2
    try:
        desired, notes, what = _read(settings, is_given=repository is not None)
    except BrokenManifestsError as error:
        mistakes = [str(mistake) for mistake in error.mistakes]
        lines += ["", "The repository has mistakes; a running node keeps the last good state:"]
        lines += [f"  {mistake}" for mistake in mistakes]
        return {**result, "mistakes": mistakes, "ok": False}, "\n".join(lines), 2
    except TransientError as error:
        address = shown_address(settings.gitops_url)
        said = f"holdfast: {address}: {error}"
        return {**result, "ok": False, "error": f"{address}: {error}"}, said, 1
    at = f" at {desired.commit[:12]}" if desired.commit else ""
    lines += ["", f"{what}{at}: good"]
    lines += [f"  {line}" for line in _releases(desired)]
    lines += [f"  warning: {note}" for note in notes]
    if desired.policy.gate.dry_run:
        lines.append("  dry run: a breach is reported, nothing is committed (spec.gate.dryRun)")
    result |= {"commit": desired.commit, "releases": _releases(desired), "ok": True}
    result |= {"source": what, "warnings": [str(note) for note in notes]}
    return result, "\n".join(lines), 0


def _read(settings: Settings, *, is_given: bool) -> tuple[Desired, list[AttemptNote], str]:
    with tempfile.TemporaryDirectory() as own:
        folder = Folder(Path(own))
        folder.create()
        checkout = Path(settings.gitops_url)
        if is_given and is_checkout(checkout):
            source = _of_checkout(checkout, folder)
        else:
            source = _of_remote(repository_of(settings, folder, "check", with_history=True))
        seen = source.seen
        desired = read_state(seen.contents, commit=source.commit, unread=seen.unread)
        notes = (
            attempt_notes(source.history, source.commit, desired, source.names)
            if source.commit
            else []
        )
    if settings.kafka_bootstrap:
        age_check(kafka_settings(settings))(desired)
    return desired, notes, source.what


def _of_checkout(folder: Path, own: Folder) -> _Source:
    settings = GitSettings(str(folder), "main", own.gitops, environment=git_environment())
    checkout = Checkout(folder, settings)
    what = f"the working tree of {folder} (on {checkout.where})"
    return _Source(what, checkout.tip, checkout.see(), checkout.history, checkout.names())


def _of_remote(repository: Repository) -> _Source:
    tip = repository.fetch()
    names = {file.path: file.name for file in repository.tree(tip)}
    what = f"{repository.address}, branch {repository.settings.branch},"
    return _Source(what, tip, repository.see(tip), repository.history, names)


def _shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else "(not set)"
    return shown_address(value) if name == "gitops_url" else str(value)


def _releases(desired: Desired) -> list[str]:
    lines = []
    for r in desired.releases:
        rollout = r.rollout
        tried = (
            f"{rollout.candidate.version} on {rollout.share:.0%} of phones, step {rollout.step}"
            if rollout is not None
            else "no rollout"
        )
        lines.append(f"{r.app_id}/{r.model_id}: stable {r.stable.version}; {tried}")
    return lines
