"""``holdfast init``: add the manifests to an existing GitOps checkout. The dry run is on."""

from pathlib import Path
from typing import TypedDict

from actions.desired_files import BrokenManifestsError
from holdfast.desired_state import read_state
from holdfast.manifests import Clocks, Model, policy_text, repository_files
from wire.errors import PermanentError

REGIONS = ("US", "IN", "BR", "DE")


class Added(TypedDict):
    """What `add_manifests` did; the JSON of ``holdfast init``."""

    written: list[str]
    kept: list[str]
    dry_run: bool


def add_manifests(
    checkout: Path, *, app_id: str, model_id: str, stable: str, candidate: str
) -> Added:
    """Write what is missing, never what is there; the files written.

    Raises PermanentError ``not_a_checkout``, or ``manifests_broken`` if the names do not fit.
    """
    if not (checkout / ".git").exists():
        raise PermanentError(
            "not_a_checkout",
            f"{checkout} is no git checkout",
            field="REPO",
            accepted="the folder of a cloned GitOps repository",
        )
    model = Model(app_id, model_id, stable, candidate, share=0.05)
    policy = policy_text(Clocks(), regions=REGIONS, apps=(app_id,), dry_run=True)
    files = repository_files((model,), policy)
    try:
        read_state({path: text.encode() for path, text in files.items()}, commit="")
    except BrokenManifestsError as error:
        raise PermanentError("manifests_broken", error.detail, field="names") from error
    written: list[str] = []
    kept: list[str] = []
    for path, text in files.items():
        target = checkout / path
        if target.exists():
            kept.append(path)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        written.append(path)
    return {"written": written, "kept": kept, "dry_run": True}
