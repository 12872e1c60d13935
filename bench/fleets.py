"""The fleets of a chaos run: one that is well all the time, and bad releases in turn."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.oracle import Account, Oracle
from holdfast.manifests import Clocks, Model, policy_text, repository_files
from sdk_stub.faults import FaultTarget
from sdk_stub.fleet import FleetSettings

REGIONS: Final = ("US", "IN")
GOOD: Final = Model("keyboard", "next-word", "1.4.0", "1.5.0", 0.4)
CLOCKS: Final = Clocks(
    window_ms=1000,
    observation_ms=4000,
    cohort_ms=1000,
    silence_grace_ms=60_000,  # restarts are no silence
    drift_window_ms=10_000,
)
_COME_BACK: Final = 503
_ADOPTION_MS: Final = 20_000
_IDLE_GAP_MS: Final = 120_000
_GOOD_GAP_MS: Final = 60_000  # so that an hour of chaos is some millions of events
_GATE: Final = (  # many incidents, one after the other
    ("cooldownMs: 3600000", "cooldownMs: 1000"),
    ("rollbacksPerDay: 3", "rollbacksPerDay: 1000"),
    ("concurrentRollbacksMax: 2", "concurrentRollbacksMax: 1000"),
)


def bad_models(count: int) -> tuple[Model, ...]:
    """Models whose candidate hurts, each of an app of its own."""
    return tuple(
        Model(f"camera-{i}", f"scene-labels-{i}", "3.1.0", "3.2.0", 0.4) for i in range(count)
    )


def files_of(bad: tuple[Model, ...]) -> dict[str, str]:
    """The GitOps repository: all models from the beginning, a gate that lets all incidents pass."""
    models = (GOOD, *bad)
    policy = policy_text(
        CLOCKS, regions=REGIONS, apps=tuple(m.app_id for m in models), dry_run=False
    )
    for usual, wanted in _GATE:
        if usual not in policy:
            raise ValueError(f"the policy has no {usual!r}")
        policy = policy.replace(usual, wanted)
    return repository_files(models, policy)


@dataclass(slots=True)
class Fleets:
    """Phones of every model; each sends to any of the doors."""

    ports: tuple[int, ...]
    bad: tuple[Model, ...]
    phones: int
    fault: str
    seed: int
    keys: Mapping[str, str]  # by app; made before, since a server looks for new ones once a second
    oracles: list[Oracle] = field(default_factory=list)

    def start_good(self) -> None:
        """The fleet without a fault."""
        self._start(GOOD, _GOOD_GAP_MS)

    def start_next_bad(self) -> None:
        """The next bad release meets its phones."""
        self._start(self.bad[len(self.oracles) - 1], 20_000)

    @property
    def bad_started(self) -> int:
        """How many bad releases have met phones."""
        return max(len(self.oracles) - 1, 0)

    def rest(self, rolled_back: Collection[str]) -> None:
        """The phones of these models may rest, and their threads end once all is acknowledged."""
        for oracle in self.oracles:
            if oracle.target.model_id in rolled_back:
                oracle.quiet()
                if oracle.is_done:
                    oracle.stop()

    def quiet(self) -> None:
        """Nothing new from now on; what is under way is still sent."""
        for oracle in self.oracles:
            oracle.quiet()

    @property
    def is_done(self) -> bool:
        """Whether all that was made has been acknowledged or refused; or a fleet has failed."""
        return all(oracle.is_done or oracle.errors for oracle in self.oracles)

    @property
    def unacknowledged(self) -> dict[str, int]:
        """Uploads that still wait, by model, of fleets that have any."""
        return {o.target.model_id: o.unacknowledged for o in self.oracles if o.unacknowledged}

    @property
    def full(self) -> int:
        """Answers 503 so far."""
        return sum(oracle.account.answers[_COME_BACK] for oracle in self.oracles)

    def stop(self) -> Account:
        """End; the account of all fleets."""
        whole = Account()
        for oracle in self.oracles:
            whole.add(oracle.stop())
        return whole

    def _start(self, model: Model, gap_ms: int) -> None:
        number = len(self.oracles)
        oracle = Oracle(
            ports=self.ports,
            keys={model.app_id: self.keys[model.app_id]},
            fleet=FleetSettings(
                phones=self.phones,
                regions=REGIONS,
                adoption_ms=_ADOPTION_MS,
                gap_ms=gap_ms,
                idle_gap_ms=_IDLE_GAP_MS,
            ),
            target=FaultTarget(model.model_id, model.candidate),
            seed=self.seed + number,
            fault=self.fault if number else "none",
        )
        oracle.start()
        self.oracles.append(oracle)
