"""``holdfast init``: add the manifests to an existing GitOps checkout. The dry run is on.

A second app or model joins what is there: the policy gets the app's versions, and the rollout an id
of its own.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from actions.checkout import Checkout, is_checkout
from actions.desired_files import BrokenManifestsError
from actions.git_command import GitSettings
from actions.manifest_edit import add_entry
from actions.manifest_objects import objects_of
from actions.yaml_text import plain_values
from holdfast.config import git_environment
from holdfast.desired_state import read_state
from holdfast.manifests import Clocks, Model, policy_text, release_text, repository_files
from wire.desired import Desired
from wire.errors import PermanentError

REGIONS = ("US", "IN", "BR", "DE")
APP_VERSION = "1.0.0"
_APP_VERSIONS = ("spec", "appVersions")


class Added(TypedDict):
    """What `add_manifests` did; the JSON of ``holdfast init``."""

    written: list[str]
    kept: list[str]
    changed: list[str]
    dry_run: bool


def add_manifests(
    checkout: Path, *, app_id: str, model_id: str, stable: str, candidate: str
) -> Added:
    """Write what is missing; of what is there only the policy's list of apps is added to.

    Raises PermanentError ``not_a_checkout``, or ``manifests_broken`` if the names do not fit or
    what is there has mistakes.
    """
    if not is_checkout(checkout):
        raise PermanentError(
            "not_a_checkout",
            f"{checkout} is no git checkout",
            field="REPO",
            accepted="the folder of a cloned GitOps repository",
        )
    there = _there(checkout)
    model = Model(app_id, model_id, stable, candidate, share=0.05)
    changed: dict[str, bytes] = {}
    if there is None:
        policy = policy_text(Clocks(), regions=REGIONS, apps=(app_id,), dry_run=True)
        texts = repository_files((model,), policy)
        _read({path: text.encode() for path, text in texts.items()})
    else:
        contents, desired = there
        texts = _joining(model, desired)
        if app_id not in desired.policy.app_versions:
            changed = _with_app(contents, app_id)
        _read({**contents, **{path: text.encode() for path, text in texts.items()}, **changed})
    return _written(checkout, texts, changed, repository_files((model,), ""))


def _there(checkout: Path) -> tuple[Mapping[str, bytes], Desired] | None:
    """The manifests that the checkout holds; None if it has no policy yet."""
    settings = GitSettings(str(checkout), "main", checkout, environment=git_environment())
    seen = Checkout(checkout, settings).see()
    try:
        return seen.contents, read_state(seen.contents, commit="", unread=seen.unread)
    except BrokenManifestsError as error:
        if all(m.problem == "0 Policies" for m in error.mistakes):
            return None
        raise PermanentError("manifests_broken", error.detail, field="REPO") from error


def _joining(model: Model, desired: Desired) -> dict[str, str]:
    """The one file that is missing where a policy is there; {} if the model is there too."""
    if any((r.app_id, r.model_id) == (model.app_id, model.model_id) for r in desired.releases):
        return {}
    used = {r.rollout.rollout_id for r in desired.releases if r.rollout is not None}
    if f"{model.model_id}-{model.candidate}" in used:
        model = replace(model, is_qualified=True)
    return {f"releases/{model.app_id}-{model.model_id}.yaml": release_text(model)}


def _with_app(contents: Mapping[str, bytes], app_id: str) -> dict[str, bytes]:
    """The policy's file with versions of one more app."""
    for path, content in contents.items():
        try:
            objects = list(objects_of(plain_values(content)))
        except PermanentError:  # templates are no manifests
            continue
        for placed in objects:
            if placed.value.get("kind") == "Policy" and "holdfast" in str(
                placed.value.get("apiVersion")
            ):
                where = (*placed.place, *_APP_VERSIONS)
                return {path: add_entry(content, placed.document, where, app_id, [APP_VERSION])}
    return {}


def _read(contents: Mapping[str, bytes]) -> None:
    try:
        read_state(contents, commit="")
    except BrokenManifestsError as error:
        raise PermanentError("manifests_broken", error.detail, field="names") from error


def _written(
    checkout: Path,
    texts: Mapping[str, str],
    changed: Mapping[str, bytes],
    first: Collection[str],
) -> Added:
    written: list[str] = []
    kept = [path for path in first if (checkout / path).exists()]
    for path, text in texts.items():
        target = checkout / path
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        written.append(path)
    for path, content in changed.items():
        (checkout / path).write_bytes(content)
    return {"written": written, "kept": kept, "changed": list(changed), "dry_run": True}
