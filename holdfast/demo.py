"""The road on one machine: a repository, a node, a fleet with one bad release, and what follows."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from holdfast.clock import now_ms
from holdfast.config import load
from holdfast.example_repo import RollbackCommit, make_repository, rollback_commits
from holdfast.folder import Folder, write_private
from holdfast.manifests import Clocks, Model, policy_text, repository_files
from holdfast.outside import store_settings
from holdfast.slack_receiver import SlackReceiver
from holdfast.supervise import Node
from ingest.keys import KeyFile
from sdk_stub.faults import FAULTS, FaultTarget
from sdk_stub.fleet import FleetSettings
from sdk_stub.fleet_runner import Progress, RunSettings, run_fleet
from sdk_stub.sender import SendCounts
from store import queries
from store.client import Client, connect
from wire.errors import PermanentError, TransientError

REGIONS: Final = ("US", "IN", "BR", "DE")
SETTLE_S: Final = 3.0
"""After the last upload: time for windows to close, ticks being a second apart."""


TELL_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to show. `seconds_max` ends a run that nothing ends; an A/A run always lasts so long."""

    seed: int = 1
    fault: str = "latency"
    phones: int = 5_000
    share: float = 0.4
    healthy_share: float = 0.4
    """Of the phones of the two models whose candidate is healthy."""
    regions: tuple[str, ...] = REGIONS
    adoption_ms: int = 5_000
    gap_ms: int = 20_000
    idle_gap_ms: int = 60_000
    clocks: Clocks = field(
        default_factory=lambda: Clocks(
            window_ms=1000,
            observation_ms=1500,
            cohort_ms=500,
            silence_grace_ms=2000,
            drift_window_ms=5000,
        )
    )
    seconds_max: float = 90.0
    quiet_seconds: float = 20.0
    send_times: int = 1
    grpc_share: float = 0.1


@dataclass(frozen=True, slots=True)
class DemoRollback:
    """One rollback commit on the remote."""

    release: str
    verdict: str
    metric: str
    commit: str
    seconds_fault_to_push: float
    windows_to_breach: int
    units: int


@dataclass(slots=True)
class DemoResult:
    """The contract of ``holdfast demo --json``."""

    seed: int = 0
    fault: str = ""
    events_sent: int = 0
    events_stored: int = 0
    uploads_duplicate: int = 0
    rollbacks: list[DemoRollback] = field(default_factory=list)
    false_rollbacks: int = 0
    slack_messages: int = 0
    recovered: bool = False
    recovery: str = ""
    balance_difference: int = 0
    seconds_total: float = 0.0
    window_ms: int = 0
    gitops_dir: str = ""
    store_dir: str = ""

    @property
    def is_as_expected(self) -> bool:
        """One rollback and recovery if there is a fault, none if there is not."""
        wanted = 0 if self.fault == "none" else 1
        found = len(self.rollbacks) == wanted and self.false_rollbacks == 0
        return found and (self.recovered or not wanted) and self.balance_difference == 0


def models(plan: DemoPlan) -> tuple[Model, ...]:
    """Three models of three apps, each with a candidate."""
    names = (
        ("keyboard", "next-word", "1.4.0", "1.5.0"),
        ("camera", "scene-labels", "3.1.0", "3.2.0"),
        ("assistant", "wake-word", "0.8.2", "0.9.0"),
    )
    return tuple(
        Model(*name, plan.share if i == plan.seed % len(names) else plan.healthy_share)
        for i, name in enumerate(names)
    )


@dataclass(slots=True)
class Demo:
    """One run in a folder of its own. `tell` is called with each line of progress."""

    plan: DemoPlan
    root: Path
    tell: Callable[[str], None]
    bad: Model = field(init=False)
    counts: SendCounts = field(default_factory=SendCounts)
    _began_s: float = 0.0
    _seen_s: dict[str, float] = field(default_factory=dict)
    _progress: Progress | None = None
    _told_s: float = 0.0

    def __post_init__(self) -> None:
        if self.plan.fault not in FAULTS:
            raise PermanentError(
                "fault_unknown",
                f"there is no fault {self.plan.fault!r}",
                field="fault",
                accepted=", ".join(FAULTS),
            )
        self.bad = models(self.plan)[self.plan.seed % 3]

    @property
    def gitops(self) -> Path:
        """The bare repository that the demo makes: the remote."""
        return self.root / "gitops.git"

    def run(self) -> DemoResult:
        """Everything, from an empty folder to the result."""
        start_s = time.monotonic()
        self._prepare()
        with SlackReceiver(self.root / "slack.jsonl") as slack:
            write_private(
                Folder(self.root).settings,
                msgspec.json.encode({"gitops_url": str(self.gitops)}).decode(),
            )
            settings = load(
                dir=self.root,
                http_port=0,
                grpc_port=0,
                store_port=0,
                gitops_url=str(self.gitops),
                gitops_poll_s=0.5,
                slack_webhook_url=slack.url,
                tick_s=0.25,
            )
            with (self.root / "service.log").open("ab") as errors:
                node = Node(settings, errors=errors)
                try:
                    said = node.start()
                    self.tell(f"node ready: uploads on port {said['http_port']}")
                    store = connect(store_settings(node.settings, Folder(self.root)))
                    self._live(said, store, node)
                    result = self._result(store, slack)
                finally:
                    node.stop()
        result.seconds_total = round(time.monotonic() - start_s, 1)
        return result

    def _prepare(self) -> None:
        folder = Folder(self.root)
        if self.gitops.exists() or folder.log.exists():
            raise PermanentError(
                "folder_in_use",
                f"{self.root} holds an earlier run",
                field="--dir",
                accepted="an empty or new folder",
            )
        folder.create()
        policy = policy_text(
            self.plan.clocks,
            regions=self.plan.regions,
            apps=tuple(m.app_id for m in models(self.plan)),
            dry_run=False,
        )
        make_repository(self.gitops, repository_files(models(self.plan), policy))

    def _live(self, said: dict[str, object], store: Client, node: Node) -> None:
        """Let the fleet live until the story is over, and watch it."""
        keys = KeyFile(Folder(self.root).keys, now_ms=now_ms)
        over = threading.Event()
        settings = RunSettings(
            base_url=f"http://127.0.0.1:{said['http_port']}",
            keys={m.app_id: keys.create(m.app_id) for m in models(self.plan)},
            root=Path(str(said["release_root"])).read_bytes(),
            seed=self.plan.seed,
            fault=self.plan.fault,
            target=FaultTarget(self.bad.model_id, self.bad.candidate),
            fleet=FleetSettings(
                phones=self.plan.phones,
                regions=self.plan.regions,
                adoption_ms=self.plan.adoption_ms,
                gap_ms=self.plan.gap_ms,
                idle_gap_ms=self.plan.idle_gap_ms,
            ),
            grpc_target=f"127.0.0.1:{said['grpc_port']}",
            grpc_share=self.plan.grpc_share,
            send_times=self.plan.send_times,
            poll_ms=250,
            gzip=False,  # sender and server share this machine's cores
        )
        self._began_s = time.monotonic()
        fleet = threading.Thread(target=self._run_fleet, args=(settings, over), daemon=True)
        fleet.start()
        self.tell(f"{3 * self.plan.phones} phones, fault: {self.plan.fault}")
        while not self._is_over(store) and fleet.is_alive():
            node.look()
            time.sleep(0.5)
        over.set()
        fleet.join(30.0)
        time.sleep(SETTLE_S)

    def _run_fleet(self, settings: RunSettings, over: threading.Event) -> None:
        self.counts = run_fleet(
            settings,
            now_ms=now_ms,
            sleep=time.sleep,
            stop=over.is_set,
            on_progress=self._take_progress,
        )

    def _take_progress(self, progress: Progress) -> None:
        self._progress = progress

    def _is_over(self, store: Client) -> bool:
        passed_s = time.monotonic() - self._began_s
        for found in rollback_commits(self.gitops):
            if found.commit not in self._seen_s:
                self._seen_s[found.commit] = passed_s
                self.tell(f"{passed_s:5.1f} s  {found.subject}")
        if self._progress is not None and passed_s >= self._told_s + TELL_S:
            self._told_s = passed_s
            self._tell_progress(passed_s)
        if self.plan.fault == "none":
            return passed_s >= self.plan.quiet_seconds
        if passed_s >= self.plan.seconds_max:
            return True
        return bool(self._seen_s) and bool(recovery_of(store))

    def _tell_progress(self, passed_s: float) -> None:
        assert self._progress is not None, "checked by the caller"  # noqa: S101
        share = self._progress.version_share(self.bad.app_id, self.bad.model_id, self.bad.candidate)
        counts = self._progress.counts
        self.tell(
            f"{passed_s:5.1f} s  {counts.rows_acknowledged:>9,} events acknowledged; "
            f"{share:.1%} of the phones run {self.bad.model_id} {self.bad.candidate}"
        )

    def _result(self, store: Client, slack: SlackReceiver) -> DemoResult:
        balance = queries.mass_balance(store)
        recovery = recovery_of(store)
        found = [self._rollback(store, commit) for commit in rollback_commits(self.gitops)]
        bad = f"{self.bad.model_id} {self.bad.candidate}"
        false = [r for r in found if r.release != bad or self.plan.fault == "none"]
        return DemoResult(
            seed=self.plan.seed,
            fault=self.plan.fault,
            events_sent=self.counts.rows_sent,
            events_stored=queries.events_stored(store),
            uploads_duplicate=self.counts.duplicates,
            rollbacks=found,
            false_rollbacks=len(false),
            slack_messages=len(slack.messages),
            recovered=bool(recovery),
            recovery=recovery,
            balance_difference=balance["difference"],
            window_ms=self.plan.clocks.window_ms,
            gitops_dir=str(self.gitops),
            store_dir=str(Folder(self.root).store),
        )

    def _rollback(self, store: Client, commit: RollbackCommit) -> DemoRollback:
        passed_s = time.monotonic() - self._began_s
        row = queries.verdict(store, commit.verdict_id)
        arithmetic = queries.judged(store, commit.verdict_id)
        return DemoRollback(
            release=f"{row['model_id']} {row['candidate_version']}",
            verdict=commit.verdict_id,
            metric=str(row["metric"]),
            commit=commit.commit,
            # one that came after the last look came at the latest now
            seconds_fault_to_push=round(self._seen_s.get(commit.commit, passed_s), 1),
            windows_to_breach=arithmetic["windows"],
            units=arithmetic["units_candidate"] + arithmetic["units_control"],
        )


def recovery_of(store: Client) -> str:
    """What the recovery verdict says; "" until there is one."""
    try:
        rows = store.rows(
            "SELECT arithmetic FROM hf_store.verdict FINAL WHERE kind = 'recovery' LIMIT 1"
        )
    except (TransientError, PermanentError):
        return ""  # the tables come with the first migration
    return str(msgspec.json.decode(str(rows[0][0]))["reason"]) if rows else ""
