"""One rollout attempt under watch: its evidence, its silent cohorts, and its recovery."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from analytics.buckets import COUNT, quantile
from analytics.cells import pooled
from analytics.evidence.admission import Admission
from analytics.evidence.rollout import RolloutEvidence
from analytics.types import Arithmetic, Outcome, Verdict, VerdictKind
from streams.enrolment_burst import EnrolmentBurst
from streams.partial import Cohort, WindowPartial
from streams.rollout_specs import specs_of, tree_of
from streams.series import METRIC_NAMES
from streams.told_units import ToldUnits, told_of_breach
from streams.unit_counts import Counts, add_silence, enrolled_counts, window_counts
from wire.desired import Policy, Release, Rollout

RECOVERED_WINDOWS: Final = 3
"""Windows in a row that must look recovered."""
RECOVERED_SHARE: Final = 0.1
"""Of the candidate's share of events at the breach: below it, the fleet has left the candidate."""
_LATENCY: Final = METRIC_NAMES.index("inference.latency")


@dataclass(slots=True)
class Level:
    """How a model's events stand in one window: the candidate's share, and the fleet's p50."""

    candidate: int = 0
    events: int = 0
    latency_p50_ms: float = float("nan")

    @property
    def share(self) -> float:
        """Candidate's share of the model's events, in [0, 1]; 0 without events."""
        return self.candidate / self.events if self.events else 0.0


@dataclass(slots=True)
class RolloutWatch:
    """From the first window of a rollout to its recovery. Pure: windows in, verdicts out."""

    release: Release
    rollout: Rollout
    policy: Policy
    policy_sha256: str
    attempt: int
    evidence: RolloutEvidence
    enrolled: Counter[Cohort] = field(default_factory=Counter)
    bets: Counter[Cohort] = field(default_factory=Counter)
    admission: Admission = field(default_factory=Admission)
    burst: EnrolmentBurst = field(default_factory=EnrolmentBurst)
    input_sha256: str = ""
    breach: Verdict | None = None
    at_breach: Level = field(default_factory=Level)
    recovering_windows: int = 0
    recovered: bool = False
    told: ToldUnits = field(default_factory=ToldUnits)
    last_told: Arithmetic = field(default_factory=Arithmetic)

    def judge(self, window: WindowPartial) -> Verdict:
        """Take a closed window's units in and look at the evidence."""
        specs = [betting.spec for betting in self.evidence.bettings]
        strata = self.release.strata
        came = window_counts(window, self.rollout.rollout_id, specs, strata)
        enrolled = enrolled_counts(window.enrolled, self.rollout.rollout_id, strata)
        self.admission.enrol(enrolled)
        cells = {(spec.metric, spec.day): spec.cells for spec in specs}
        counts = self.admission.admit(came, cells, window.start_ms)
        self._count_cohorts(window)
        add_silence(counts, self._due_cohorts(window), strata)
        self._chain(window.start_ms, counts, enrolled)
        self.evidence.step(counts, enrolled=enrolled)
        outcome, arithmetic = self.evidence.evaluate()
        arithmetic = replace(arithmetic, attempt=self.attempt)
        verdict = self._verdict(window, VerdictKind.RELEASE, outcome, arithmetic)
        self.told.judge(counts, enrolled)
        may_tell = self.told.tell()
        if outcome is Outcome.BREACH:
            told = None if may_tell else told_of_breach(arithmetic, self.last_told)
            verdict = self.breach = replace(verdict, told=told)
            self.at_breach = self.level(window)
        elif may_tell:
            self.last_told = arithmetic
        else:
            verdict = replace(verdict, is_withheld=True)
        return verdict

    def watch_enrolments(self, window: WindowPartial) -> Verdict | None:
        """An alert if many more enrol in this window than did lately; once per step."""
        enrolled = sum(
            count
            for cohort, count in window.enrolled.items()
            if cohort.series.rollout_id == self.rollout.rollout_id
        )
        reason = self.burst.look(enrolled, self.rollout.step)
        if reason is None:
            return None
        arithmetic = Arithmetic(metric="enrolments", windows=self.burst.windows, reason=reason)
        return self._verdict(window, VerdictKind.ENROLMENT, Outcome.BREACH, arithmetic)

    def watch_recovery(self, window: WindowPartial) -> Verdict | None:
        """After the rollback: the verdict that the fleet has left the candidate, once."""
        now = self.level(window)
        if not now.events or self.recovered or self.breach is None:
            return None
        left = now.share <= RECOVERED_SHARE * max(self.at_breach.share, 0.01)
        self.recovering_windows = self.recovering_windows + 1 if left else 0
        if self.recovering_windows < RECOVERED_WINDOWS:
            return None
        self.recovered = True
        reason = (
            f"candidate's share of events {self.at_breach.share:.1%} -> {now.share:.1%}; "
            f"latency p50 {self.at_breach.latency_p50_ms:.1f} -> {now.latency_p50_ms:.1f} ms"
        )
        arithmetic = Arithmetic(metric=self.breach.arithmetic.metric, reason=reason)
        return self._verdict(window, VerdictKind.RECOVERY, Outcome.PASS, arithmetic)

    def level(self, window: WindowPartial) -> Level:
        """The model's events in a window, by what the window's rows say."""
        mine = (self.release.app_id, self.release.model_id)
        bad = self.rollout.candidate.version
        group = [
            int(s.model_version == bad) if (s.app_id, s.model_id) == mine else -1
            for s in window.series
        ]
        stable, candidate = pooled(
            window.cells, _LATENCY, np.array(group, np.int64), groups=2, buckets=COUNT
        )
        return Level(
            candidate=int(candidate.sum()),
            events=int((stable + candidate).sum()),
            latency_p50_ms=quantile(stable + candidate, 0.5),
        )

    def _patience_ms(self) -> int:
        """From an enrolment cohort's start to the moment when who has not bet is silent."""
        return self.policy.cohort_ms + self.policy.observation_ms + self.policy.silence_grace_ms

    def _count_cohorts(self, window: WindowPartial) -> None:
        too_late_ms = window.start_ms - self._patience_ms()  # that cohort was judged; never again
        for counter, more in ((self.enrolled, window.enrolled), (self.bets, window.bets)):
            for cohort, count in more.items():
                mine = cohort.series.rollout_id == self.rollout.rollout_id and cohort.series.arm
                if mine and cohort.enrolled_ms > too_late_ms:
                    counter[cohort] += count

    def _due_cohorts(self, window: WindowPartial) -> dict[Cohort, tuple[int, int]]:
        """Cohorts old enough that whoever has not bet by now counts as silent; each only once."""
        due_ms = window.start_ms + window.width_ms - self._patience_ms()
        due = [c for c in self.enrolled if c.enrolled_ms <= due_ms]
        taken = {cohort: (self.enrolled.pop(cohort), self.bets.pop(cohort, 0)) for cohort in due}
        for cohort in [c for c in self.bets if c.enrolled_ms <= due_ms]:
            del self.bets[cohort]  # its enrolment was not seen
        return taken

    def _chain(
        self, start_ms: int, counts: Counts, enrolled: dict[tuple[str, ...], tuple[int, int]]
    ) -> None:
        """Hash chain over the integers that were judged: equal inputs, equal verdict ids."""
        digest = hashlib.sha256(
            f"{self.input_sha256}|{start_ms}|{sorted(enrolled.items())}".encode()
        )
        for name, strata in sorted(counts.items()):
            for stratum, arms in sorted(strata.items()):
                digest.update(f"|{name}|{stratum}|".encode())
                digest.update(arms.candidate.astype("<i8").tobytes())
                digest.update(arms.control.astype("<i8").tobytes())
        self.input_sha256 = digest.hexdigest()

    def _verdict(
        self, window: WindowPartial, kind: VerdictKind, outcome: Outcome, arithmetic: Arithmetic
    ) -> Verdict:
        rollout_id = self.rollout.rollout_id
        what = f"{kind}|{rollout_id}|{window.start_ms}|{self.input_sha256}|{self.policy_sha256}"
        incident = f"{self.release.app_id}|{self.release.model_id}|{rollout_id}|{self.attempt}"
        if kind is VerdictKind.ENROLMENT:  # told once per step, and apart from a rollback
            incident += f"|{kind}|{self.rollout.step}"
        return Verdict(
            verdict_id=hashlib.sha256(what.encode()).hexdigest()[:20],
            incident_id=hashlib.sha256(incident.encode()).hexdigest()[:16],
            kind=kind,
            outcome=outcome,
            app_id=self.release.app_id,
            model_id=self.release.model_id,
            rollout_id=rollout_id,
            candidate_version=self.rollout.candidate.version,
            stable_version=self.release.stable.version,
            window_start_ms=window.start_ms,
            window_ms=window.width_ms,
            input_sha256=self.input_sha256,
            policy_sha256=self.policy_sha256,
            arithmetic=arithmetic,
        )


def attempt_alpha(alpha: float, attempt: int) -> float:
    """Alpha of attempt a of one model: 6 alpha / (pi^2 a^2), which sums to alpha over attempts."""
    return 6.0 * alpha / (np.pi**2 * attempt**2)


def start_watch(
    release: Release, policy: Policy, policy_sha256: str, *, attempt: int
) -> RolloutWatch:
    """Begin to watch a release's rollout. `attempt` counts from 1 per model."""
    assert release.rollout is not None, "only a release with a rollout is watched"  # noqa: S101
    evidence = RolloutEvidence(
        specs_of(release, policy),
        tree_of(release, policy),
        alpha=attempt_alpha(policy.alpha, attempt),
        alpha_margin=policy.alpha_margin,
        rules=policy.evidence,
    )
    return RolloutWatch(release, release.rollout, policy, policy_sha256, attempt, evidence)
