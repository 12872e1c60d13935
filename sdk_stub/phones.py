"""The state of one model's phones, as arrays: what each obeys, which arm, when it acts next."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sdk_stub.arm import SEED_BYTES, Arm, arms_of, draw_bet_positions, fractions
from sdk_stub.population import Phones, draw_phones
from sdk_stub.releases import OfferedModel, OfferedRollout

NEVER: Final = 1 << 62
NO_ROLLOUT: Final = -1

Index = NDArray[np.int64]
Times = NDArray[np.int64]


def exponential_ms(mean_ms: float, count: int, rng: np.random.Generator) -> Times:
    """Delays without memory, whole milliseconds."""
    return (rng.standard_exponential(count) * mean_ms).astype(np.int64)


@dataclass(slots=True)
class Fleetmates:
    """All phones of one model; every array has shape ``(phones,)``.

    Times are when the phone next acts: obeys a config, enrols, sends its inferences, or its day.
    """

    kind: Phones
    seeds: NDArray[np.uint8]
    obey_ms: Times
    enrol_ms: Times
    send_ms: Times
    day_ms: Times
    cohort_start_ms: Times
    version: NDArray[np.int16]
    rollout: NDArray[np.int16]
    step: NDArray[np.int16]
    arm: NDArray[np.int8]
    active: NDArray[np.bool_]
    gone: NDArray[np.bool_]
    bet_done: NDArray[np.bool_]
    bet_position: NDArray[np.int32]
    counted: NDArray[np.int32]
    errored: NDArray[np.bool_]
    energy_mj: NDArray[np.float64]
    data_bytes: NDArray[np.float64]
    versions: list[str] = field(default_factory=list)
    rollouts: list[str] = field(default_factory=list)
    places: list[NDArray[np.float64]] = field(default_factory=list)

    def version_index(self, version: str) -> int:
        """A small number for a version name."""
        if version not in self.versions:
            self.versions.append(version)
        return self.versions.index(version)

    def rollout_index(self, rollout: OfferedRollout) -> int:
        """A small number for a rollout; every phone's place in it is computed once."""
        if rollout.rollout_id not in self.rollouts:
            self.rollouts.append(rollout.rollout_id)
            self.places.append(fractions(rollout.salt, self.seeds))
        return self.rollouts.index(rollout.rollout_id)

    def obey(
        self,
        who: Index,
        model: OfferedModel,
        *,
        now_ms: int,
        download_ms: int,
        rng: np.random.Generator,
    ) -> None:
        """These phones read the config: some leave a rollout, some will enrol when they can."""
        self.obey_ms[who] = NEVER
        stable = self.version_index(model.stable.version)
        if model.rollout is None:
            self._leave(who, stable)
            return
        rollout = self.rollout_index(model.rollout)
        strangers = who[self.rollout[who] != rollout]
        self._leave(strangers, stable)
        self.rollout[strangers] = rollout
        self.arm[strangers] = Arm.NONE
        arm = arms_of(self.places[rollout][who], model.rollout.share)
        self._leave(who[(self.arm[who] != Arm.NONE) & (self.arm[who] != arm)], stable)
        self.version[who[~self.active[who]]] = stable
        falls_in = (self.arm[who] == Arm.NONE) & (arm != Arm.NONE)
        joins = who[falls_in]
        self.arm[joins] = arm[falls_in]
        self.step[joins] = model.rollout.step
        # Both arms wait for a network and a charger that would allow the download.
        self.enrol_ms[joins] = now_ms + exponential_ms(download_ms, len(joins), rng)

    def _leave(self, who: Index, stable: int) -> None:
        self.active[who] = False
        self.version[who] = stable
        self.enrol_ms[who] = NEVER
        self.day_ms[who] = NEVER

    def enrol(
        self, who: Index, rollout: OfferedRollout, *, now_ms: int, rng: np.random.Generator
    ) -> None:
        """These phones load their arm's version and start counting."""
        self.enrol_ms[who] = NEVER
        self.active[who] = True
        self.cohort_start_ms[who] = now_ms - now_ms % rollout.cohort_ms
        self.bet_done[who] = False
        self.bet_position[who] = draw_bet_positions(rng, len(who))
        self.counted[who] = 0
        self.errored[who] = False
        self.energy_mj[who] = 0.0
        self.data_bytes[who] = 0.0
        loads = who[self.arm[who] == Arm.CANDIDATE]
        self.version[loads] = self.version_index(rollout.candidate.version)
        observation_ms = rollout.observation_ms
        self.send_ms[who] = now_ms + (observation_ms * rng.uniform(0.2, 0.8, len(who))).astype("i8")
        self.day_ms[who] = (
            now_ms + observation_ms + exponential_ms(observation_ms / 10, len(who), rng)
        )

    def silence(self, who: Index) -> None:
        """These phones never send again."""
        self.gone[who] = True
        for times in (self.obey_ms, self.enrol_ms, self.send_ms, self.day_ms):
            times[who] = NEVER


def make_fleetmates(
    count: int, *, regions: int, first_send_ms: Times, rng: np.random.Generator
) -> Fleetmates:
    """Phones that run what they have and know of no rollout."""

    def never() -> Times:
        return np.full(count, NEVER, np.int64)

    return Fleetmates(
        kind=draw_phones(count, regions, rng),
        seeds=rng.integers(0, 256, (count, SEED_BYTES), dtype=np.uint8),
        obey_ms=never(),
        enrol_ms=never(),
        send_ms=first_send_ms,
        day_ms=never(),
        cohort_start_ms=np.zeros(count, np.int64),
        version=np.zeros(count, np.int16),
        rollout=np.full(count, NO_ROLLOUT, np.int16),
        step=np.zeros(count, np.int16),
        arm=np.zeros(count, np.int8),
        active=np.zeros(count, np.bool_),
        gone=np.zeros(count, np.bool_),
        bet_done=np.zeros(count, np.bool_),
        bet_position=np.zeros(count, np.int32),
        counted=np.zeros(count, np.int32),
        errored=np.zeros(count, np.bool_),
        energy_mj=np.zeros(count, np.float64),
        data_bytes=np.zeros(count, np.float64),
    )
