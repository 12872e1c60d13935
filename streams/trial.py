"""Whether the stages can work under a desired state: everything that they would make of it is made.

The reading of manifests and the decide stage both ask here, so what one takes the other takes.
"""

from collections.abc import Callable, Iterator
from typing import Final

from streams.monitors import Monitors
from streams.partial import CostDay, DayUse, WindowPartial
from streams.rollout_watch import start_watch
from streams.series import CostSeries
from wire.desired import Desired, Misfit, Release, from_json, to_json
from wire.errors import PermanentError
from wire.times import DAY_MS

_ATTEMPT_MAX: Final = 1000
"""The schema's. The last attempt has the smallest error budget, so that one must work too."""
_USED: Final = DayUse(10**9, 10**12, 10**12, 10**12, *[10**6] * 4)
"""More than a fleet's window."""
_REFUSED: Final = (ValueError, ArithmeticError, LookupError, TypeError)


def misfits(desired: Desired) -> list[Misfit]:
    """Why the stages could not work under it; empty if they can. Equal input, equal answer."""
    tried = [
        *_tried("Policy", "", "spec", lambda: _travel(desired)),
        *_tried("Policy", "", "spec.driftWindowMs", lambda: _monitor(desired)),
    ]
    for release in desired.releases:
        if release.rollout is not None:
            tried += _tried("ModelRelease", release.path, "spec", _watching(release, desired))
    return tried


def _tried(kind: str, path: str, field: str, make: Callable[[], object]) -> Iterator[Misfit]:
    try:
        make()
    except PermanentError as error:
        accepted = error.accepted or "what the schema describes"
        yield Misfit(kind, path, error.field or field, error.detail, accepted)
    except _REFUSED as error:
        yield Misfit(kind, path, field, str(error), "values that the stages can work with")


def _travel(desired: Desired) -> None:
    """It must come out of the log as it went in."""
    if from_json(to_json(desired)) != desired:
        raise ValueError("it would not come out of the log as it went in")


def _monitor(desired: Desired) -> None:
    """Spend on the day of each price and on the day before, and always-on drift."""
    days = sorted(
        {
            max(price.effective_from_ms // DAY_MS + shift, 0) * DAY_MS
            for price in desired.prices
            for shift in (-1, 0, 1)
        }
    )
    window = _empty(desired)
    for release in desired.releases:
        version = release.stable.version
        series = CostSeries(release.app_id, release.model_id, version, "cellular", "cloud")
        window.costs.update({CostDay(series, day_ms): _USED for day_ms in days})
    Monitors().step(window, desired)


def _watching(release: Release, desired: Desired) -> Callable[[], object]:
    def watch() -> None:
        for attempt in (1, _ATTEMPT_MAX):
            started = start_watch(release, desired.policy, "", attempt=attempt)
            started.judge(_empty(desired))

    return watch


def _empty(desired: Desired) -> WindowPartial:
    width_ms = desired.policy.window_ms
    return WindowPartial(desired.effective_ms // width_ms * width_ms, width_ms)
