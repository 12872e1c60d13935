"""Names that Git declared once and does not any more: their phones are still out there.

A release that vanishes, or a version that was replaced, must not make phones throw their data away:
the next state carries the names on. They are accepted and counted, never judged.
"""

from collections.abc import Iterable
from typing import Final

from wire.desired import Desired, Known, Release

MODELS_MAX: Final = 1000
VERSIONS_MAX: Final = 200
"""Of one model or app; the longest gone is forgotten first."""


def versions_of(release: Release) -> tuple[str, ...]:
    """Every version name that a manifest says."""
    candidate = [release.rollout.candidate.version] if release.rollout else []
    return (release.stable.version, *candidate, *release.known_versions)


def carried_on(before: Desired, now: Desired) -> tuple[Known, ...]:
    """What `before` knew, itself or carried on, and `now` does not declare; the newest first."""
    releases = {(r.app_id, r.model_id): r for r in now.releases}
    kept: list[Known] = []
    seen = set()
    declared = [
        Known(r.app_id, r.model_id, versions_of(r), before.policy.app_versions.get(r.app_id, ()))
        for r in before.releases
    ]
    for known in [*declared, *before.known]:
        model = (known.app_id, known.model_id)
        if model in seen:
            continue
        seen.add(model)
        alike = [k for k in [*declared, *before.known] if (k.app_id, k.model_id) == model]
        versions = _left(
            (v for k in alike for v in k.versions),
            versions_of(releases[model]) if model in releases else (),
        )
        app_versions = _left(
            (v for k in alike for v in k.app_versions),
            now.policy.app_versions.get(known.app_id, ()),
        )
        if versions or app_versions or model not in releases:
            kept.append(Known(*model, versions, app_versions))
    return tuple(kept[:MODELS_MAX])


def vanished(before: Desired, now: Desired) -> list[Release]:
    """Releases that `now` has not any more, of the same app and model."""
    there = {(r.app_id, r.model_id) for r in now.releases}
    return [r for r in before.releases if (r.app_id, r.model_id) not in there]


def _left(names: Iterable[str], declared: Iterable[str]) -> tuple[str, ...]:
    gone = dict.fromkeys(names)
    for name in declared:
        gone.pop(name, None)
    return tuple(gone)[:VERSIONS_MAX]
