"""A seeded fleet that obeys the release config: every app, every model, paced by the caller.

Equal seeds, configs and moments give equal bytes. It reads no clock and sends nothing itself.
"""

import numpy as np

from sdk_stub.faults import HEALTHY, Fault, FaultTarget
from sdk_stub.fleet import FleetSettings, ModelFleet, Outgoing
from sdk_stub.releases import ReleaseConfig


class Fleet:
    """Phones of any number of apps. A model's phones appear with its first config."""

    def __init__(
        self,
        settings: FleetSettings,
        *,
        rng: np.random.Generator,
        fault: Fault = HEALTHY,
        target: FaultTarget | None = None,
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._fault = fault
        self._target = target
        self._models: dict[tuple[str, str], ModelFleet] = {}

    def obey(self, config: ReleaseConfig, now_ms: int) -> None:
        """A config is published: phones take it up one by one."""
        for model in config.models:
            key = (config.app_id, model.model_id)
            if key in self._models:
                self._models[key].offer(model, now_ms)
                continue
            self._models[key] = ModelFleet(
                self._settings,
                config.app_id,
                model,
                now_ms=now_ms,
                rng=self._rng.spawn(1)[0],
                fault=self._fault,
                target=self._target,
            )

    def tick(self, now_ms: int) -> list[Outgoing]:
        """All that is sent up to this moment, the models' uploads in turn."""
        return [upload for model in self._models.values() for upload in model.tick(now_ms)]

    def version_share(self, app_id: str, model_id: str, version: str) -> float:
        """Share of this model's phones that carry a version; 0 for a model without phones."""
        model = self._models.get((app_id, model_id))
        return 0.0 if model is None else model.version_share(version)
