"""Which names an upload's context may say, by the current desired state.

An app ships a version, or a phone travels, before anybody has registered it. Such an upload is
taken: what is not registered becomes `OTHER`, so that nothing unregistered is stored, and its rows
count outside of a rollout, so that they are in no verdict of a release. An app, a model or a
model's version cannot be folded: rows of a model that nobody knows mean nothing.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from wire.context import (
    ARMS,
    DEVICE_TIERS,
    NETWORKS,
    PLACEMENTS,
    PLATFORMS,
    RUNTIMES,
    Context,
)
from wire.desired import Desired, Known
from wire.errors import PermanentError, as_value
from wire.known import versions_of

OS_MAJOR_MAX: Final = 999
EPSILONS: Final = (0.0, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""What a phone may say it randomised with; any number at all could say who it is."""

_OS_RANGES: Final = {"android": range(5, 25), "ios": range(9, 40)}
_FLOAT32_ERROR: Final = 1e-5
_CACHED_MAX: Final = 16_384
_ENUMS: Final = (
    ("platform", PLATFORMS),
    ("device_tier", DEVICE_TIERS),
    ("network", NETWORKS),
    ("runtime", RUNTIMES),
    ("placement", PLACEMENTS),
)
_NAMES_SHOWN: Final = 20
OTHER: Final = "other"
_UNKNOWN: Final = Known("", "", (), ())


@dataclass(frozen=True, slots=True)
class Admitted:
    """A context of registered names alone.

    `in_rollout`: it names a rollout that stands. `blanked`: it named one that does not (a phone
    may be late after a rollback), so its rows count as outside a rollout. `folded`: the fields
    whose names were not registered.
    """

    context: Context
    in_rollout: bool
    blanked: bool
    class_groups: int
    folded: tuple[str, ...] = ()


class Vocabulary:
    """The names of one desired state. `check` is cached, because contexts repeat."""

    def __init__(self, desired: Desired) -> None:
        self.policy = desired.policy
        self._releases = {(r.app_id, r.model_id): r for r in desired.releases}
        self._known = {(k.app_id, k.model_id): k for k in desired.known}
        self._models = sorted({*self._releases, *self._known})
        self._apps = sorted({app for app, _ in self._models})
        self._cache: dict[Context, Admitted | PermanentError] = {}

    def check(self, context: Context) -> Admitted | PermanentError:
        """The context rebuilt from registered names, or why it is refused."""
        found = self._cache.get(context)
        if found is None:
            try:
                found = self._admit(context)
            except PermanentError as error:
                found = as_value(error)
            if len(self._cache) >= _CACHED_MAX:  # strangers must not fill the memory
                self._cache.clear()
            self._cache[context] = found
        return found

    def _admit(self, c: Context) -> Admitted:
        policy = self.policy
        _registered("app_id", c.app_id, self._apps, code="unknown_app")
        models = [model for app, model in self._models if app == c.app_id]
        _registered("model_id", c.model_id, models, code="unknown_model")
        release = self._releases.get((c.app_id, c.model_id))
        known = self._known.get((c.app_id, c.model_id), _UNKNOWN)
        versions = (*policy.app_versions.get(c.app_id, ()), *known.app_versions)
        open_ended = (
            ("app_version", c.app_version, versions),
            ("sdk_version", c.sdk_version, policy.sdk_versions),
            ("region", c.region, policy.regions),
        )
        folded = tuple(name for name, value, names in open_ended if value not in names)
        declared = versions_of(release) if release is not None else ()
        versions = (*declared, *known.versions)
        _registered("model_version", c.model_version, versions, "unknown_model_version")
        for name, members in _ENUMS:
            _registered(name, getattr(c, name), members[1:], code=f"unknown_{name}")
        _within("os_major", c.os_major, OS_MAJOR_MAX)
        epsilon = _listed_epsilon(c.epsilon)
        c = replace(c, os_major=_coarse_os(c.platform, c.os_major))
        rollout = release.rollout if release is not None else None
        classes = release.class_groups if release is not None else 0
        is_strange = rollout is None or c.rollout_id != rollout.rollout_id
        if not c.rollout_id or is_strange or folded:
            outside = replace(
                c,
                app_version=OTHER if "app_version" in folded else c.app_version,
                sdk_version=OTHER if "sdk_version" in folded else c.sdk_version,
                region=OTHER if "region" in folded else c.region,
                rollout_id="",
                step=0,
                arm="",
                epsilon=epsilon,
            )
            blanked = bool(c.rollout_id) and is_strange
            return Admitted(outside, False, blanked, classes, folded)
        assert rollout is not None, "is_strange otherwise"  # noqa: S101
        _registered("arm", c.arm, ARMS[1:], code="unknown_arm")
        _within("step", c.step, rollout.step)
        return Admitted(replace(c, epsilon=epsilon), True, False, classes)


def _registered(name: str, value: str, names: list[str] | tuple[str, ...], code: str) -> None:
    if value not in names:
        shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
        raise PermanentError(
            code, f"{name} is not a registered name", field=f"context.{name}", accepted=shown
        )


def _within(name: str, value: float, most: float) -> None:
    if not (math.isfinite(value) and 0 <= value <= most):
        raise PermanentError(
            f"{name}_out_of_bounds",
            f"{name} is out of bounds",
            field=f"context.{name}",
            accepted=f"0 to {most:g}",
        )


def _listed_epsilon(epsilon: float) -> float:
    """The listed epsilon that this is, up to the rounding of a float32."""
    rounded = round(float(epsilon), 2) if math.isfinite(epsilon) else -1.0
    if rounded not in EPSILONS or abs(rounded - epsilon) > _FLOAT32_ERROR:
        raise PermanentError(
            "epsilon_out_of_bounds",
            "context.epsilon is none of the listed values",
            field="context.epsilon",
            accepted=", ".join(f"{e:g}" for e in EPSILONS),
        )
    return rounded


def _coarse_os(platform: str, os_major: int) -> int:
    """A version that phones of the platform have, else 0: rare numbers would tell them apart."""
    return os_major if os_major in _OS_RANGES.get(platform, ()) else 0
