"""``holdfast check-config``: the effective settings, and every mistake in the GitOps repository."""

import tempfile
from pathlib import Path

from pydantic import SecretStr

from actions.desired_files import BrokenManifestsError
from holdfast.config import PREFIX, Settings, load
from holdfast.desired_state import read_state
from holdfast.folder import Folder
from holdfast.kafka_settings import kafka_settings
from holdfast.outside import repository_of
from holdfast.policy_check import age_check
from wire.desired import Desired
from wire.errors import TransientError


def check(directory: Path | None, repository: str | None) -> tuple[dict[str, object], str, int]:
    """JSON, text and exit code: 0 all good, 1 remote away, 2 mistakes."""
    settings = load(dir=directory, gitops_url=repository)
    shown = {name: _shown(settings, name) for name in Settings.model_fields}
    result: dict[str, object] = {"settings": shown, "mistakes": [], "commit": ""}
    lines = [f"{PREFIX}{name.upper():<22} {value}" for name, value in shown.items()]
    if not settings.gitops_url:
        lines += ["", "No GitOps repository is set (HOLDFAST_GITOPS_URL): nothing can be decided."]
        return {**result, "ok": False}, "\n".join(lines), 2
    try:
        desired = _read(settings)
    except BrokenManifestsError as error:
        mistakes = [str(mistake) for mistake in error.mistakes]
        lines += ["", "The repository has mistakes; a running node keeps the last good state:"]
        lines += [f"  {mistake}" for mistake in mistakes]
        return {**result, "mistakes": mistakes, "ok": False}, "\n".join(lines), 2
    except TransientError as error:
        return {**result, "ok": False, "error": str(error)}, f"holdfast: {error}", 1
    lines += ["", f"{settings.gitops_url} at {desired.commit[:12]}: good"]
    lines += [f"  {line}" for line in _releases(desired)]
    if desired.policy.gate.dry_run:
        lines.append("  dry run: a breach is reported, nothing is committed (spec.gate.dryRun)")
    result |= {"commit": desired.commit, "releases": _releases(desired), "ok": True}
    return result, "\n".join(lines), 0


def _read(settings: Settings) -> Desired:
    with tempfile.TemporaryDirectory() as own:
        folder = Folder(Path(own))
        folder.create()
        repository = repository_of(settings, folder, "check")
        tip = repository.fetch()
        desired = read_state(repository.manifests(tip), commit=tip)
    if settings.kafka_bootstrap:
        age_check(kafka_settings(settings))(desired)
    return desired


def _shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else "(not set)"
    return str(value)


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
