"""A GitOps repository to test against: real git, real manifests, a verdict that wants a commit."""

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from analytics.types import Arithmetic, Outcome, Verdict, VerdictKind
from wire.desired import Desired, Gate, Guardrail, Policy, Release, Rollout, Version

DIGEST = "sha256:" + "0" * 64
START_MS = 1_793_491_200_000  # 2026-11-01T00:00:00Z
PATH = "releases/next-word.yaml"

RELEASE = f"""\
# The keyboard's next-word model.
apiVersion: holdfast.dev/v1
kind: ModelRelease
metadata:
  name: keyboard-next-word
spec:
  appId: keyboard
  modelId: next-word
  owner: team-keyboard@example.org
  costCenter: AI-Mobile-001
  project: keyboard
  stable:
    version: 1.4.0
    digest: {DIGEST}
  knownVersions: [1.3.0]
  candidate:            # absent: no rollout
    version: 1.5.0
    digest: {DIGEST}
  rollout:
    id: next-word-1.5.0
    attempt: 1
    step: 1
    share: 0.2          # of phones, each arm
    salt: "a1b2"
    control: plain
  strata: [platform, region, device_tier]
  guardrails: []
  classGroups: 10
"""

POLICY = """\
apiVersion: holdfast.dev/v1
kind: Policy
metadata:
  name: policy
spec:
  alpha: 0.0001
  alphaMargin: 0.05
  windowMs: 60000
  acceptedAgeMs: 604800000
  observationMs: 86400000
  cohortMs: 3600000
  silenceGraceMs: 86400000
  driftWindowMs: 900000
  regions: [DE, FR]
  appVersions:
    keyboard: ["10.1"]
  sdkVersions: [1.0.0]
  guardrails:
    - {metric: inference.latency, weight: 0.5, margin: 0.05}
    - {metric: unit.silence, weight: 0.5, margin: 0.1}
  gate:
    dryRun: false
    cooldownMs: 3600000
    rollbacksPerDay: 3
    concurrentRollbacksMax: 2
    holdMs: 1209600000
    freezes:
      - {start: "2026-12-24T00:00:00Z", end: "2026-12-27T00:00:00Z"}
"""

RATE_CARD = """\
apiVersion: holdfast.dev/v1
kind: RateCard
metadata:
  name: rates
spec:
  prices:
    - effectiveFrom: 2026-06-01T00:00:00Z
      currency: USD
      cloudCallMicros: 200
      cellularGbMicros: 3000000
      egressGbMicros: 80000
      energyKwhMicros: 150000
    - effectiveFrom: 2026-01-01T00:00:00Z
      currency: USD
      cloudCallMicros: 250
      cellularGbMicros: 3000000
      egressGbMicros: 80000
      energyKwhMicros: 150000
"""

FILES = {
    PATH: RELEASE.encode(),
    "policy.yaml": POLICY.encode(),
    "rates.yaml": RATE_CARD.encode(),
    "deploy/values.yaml": b"replicas: 3\n",
}


def verdict(**changes: object) -> Verdict:
    """A breach of inference.latency by next-word 1.5.0."""
    arithmetic = Arithmetic(
        alpha=1e-4,
        log_e_equal=10.1,
        log_e_equal_sup=12.34,
        log_threshold_equal=9.21,
        log_e_margin=3.2,
        log_e_margin_sup=4.56,
        log_threshold_margin=3.0,
        margin=0.05,
        metric="inference.latency",
        bet="scale 1.25",
        units_candidate=1234,
        units_control=1198,
        windows=14,
        effect=0.201,
        effect_low=0.14,
        effect_high=0.272,
        strata={"android/DE/mid": 0.62, "ios/DE/high": 0.21},
    )
    breach = Verdict(
        verdict_id="3f0c5a9e11d2b7c4a6e8",
        incident_id="9b1d2c3e4f5a6b7c",
        kind=VerdictKind.RELEASE,
        outcome=Outcome.BREACH,
        app_id="keyboard",
        model_id="next-word",
        rollout_id="next-word-1.5.0",
        candidate_version="1.5.0",
        stable_version="1.4.0",
        window_start_ms=START_MS,
        window_ms=60_000,
        input_sha256="1" * 64,
        policy_sha256="2" * 64,
        arithmetic=arithmetic,
    )
    return replace(breach, **changes)  # type: ignore[arg-type] # any field of Verdict


def desired(**gate: object) -> Desired:
    """What `FILES` declare, with some fields of the gate changed."""
    rollout = Rollout("next-word-1.5.0", 1, Version("1.5.0", DIGEST), 1, 0.2, "a1b2")
    release = Release(
        name="keyboard-next-word",
        path=PATH,
        app_id="keyboard",
        model_id="next-word",
        owner="team-keyboard@example.org",
        cost_center="AI-Mobile-001",
        project="keyboard",
        stable=Version("1.4.0", DIGEST),
        rollout=rollout,
    )
    policy = Policy(
        alpha=1e-4,
        alpha_margin=0.05,
        window_ms=60_000,
        accepted_age_ms=604_800_000,
        observation_ms=86_400_000,
        cohort_ms=3_600_000,
        silence_grace_ms=86_400_000,
        drift_window_ms=900_000,
        regions=("DE", "FR"),
        app_versions={"keyboard": ("10.1",)},
        sdk_versions=("1.0.0",),
        guardrails=(Guardrail("inference.latency", 0.5, 0.05),),
        gate=replace(Gate(dry_run=False), **gate),  # type: ignore[arg-type] # any field of Gate
    )
    return Desired("c0ffee", (release,), policy)


@dataclass(frozen=True)
class Remote:
    """A bare repository, and a person with a clone of it."""

    folder: Path

    @property
    def url(self) -> str:
        return str(self.folder / "remote.git")

    def git(self, *argv: str) -> str:
        """Run git in the person's clone."""
        environment = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.org",
        }
        argv = ("git", "-C", str(self.folder / "person"), *argv)
        return subprocess.run(
            argv, env=environment, check=True, capture_output=True, text=True
        ).stdout.rstrip("\n")

    def commit(self, files: dict[str, bytes], *, subject: str = "change") -> str:
        """The person changes files on the branch's tip and pushes."""
        if self.git("ls-remote", "origin", "main"):
            self.git("fetch", "-q", "origin", "main")
            self.git("reset", "-q", "--hard", "FETCH_HEAD")
        for path, content in files.items():
            file = self.folder / "person" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)
        self.git("push", "-q", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def on_main(self, *argv: str) -> str:
        """Run git in the person's clone after a fetch; FETCH_HEAD is the remote's main."""
        self.git("fetch", "-q", "origin", "main")
        return self.git(*argv)

    def subjects(self) -> list[str]:
        """Subjects on main, newest first."""
        return self.on_main("log", "--format=%s", "FETCH_HEAD").splitlines()

    def file(self, path: str) -> bytes:
        """A file at main's tip, as bytes."""
        self.git("fetch", "-q", "origin", "main")
        argv = ["git", "-C", str(self.folder / "person"), "show", f"FETCH_HEAD:{path}"]
        return subprocess.run(argv, check=True, capture_output=True).stdout


def make_remote(folder: Path, files: dict[str, bytes] | None = None) -> Remote:
    """A bare remote whose main holds `files`."""
    remote = Remote(folder)
    bare = ["git", "init", "-q", "--bare", "--initial-branch=main", remote.url]
    subprocess.run(bare, check=True)
    clone = ["git", "clone", "-q", remote.url, str(folder / "person")]
    subprocess.run(clone, check=True, capture_output=True)
    remote.commit(FILES if files is None else files, subject="seed")
    return remote
