"""A breach becomes one commit on the GitOps branch. The repository is the ledger.

Doing it twice does it once: the incident's trailer is looked for on the remote before every try,
and the same verdict on the same tip gives the same commit id.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from actions.desired_files import time_ms
from actions.evidence_text import one_line, statistic_lines, window_end_ms
from actions.git_history import INCIDENT_TRAILER
from actions.git_tree import TreeFile
from actions.manifest_edit import Offer, find_offer, rfc3339, withdraw
from actions.manifest_signs import could_hold, is_named_so
from actions.repository import Repository
from actions.results import ActionResult, State
from actions.yaml_text import ALIASES_MAX, plain_values
from analytics.types import Verdict
from wire.errors import PermanentError, TransientError

_log = logging.getLogger("holdfast.rollback")
TRIES_MAX: Final = 30
PAUSE_S_MAX: Final = 0.005
"""Between tries after a lost race. Growing pauses lose the race on a busy branch: measured with
four foreign pushers, 64 rollbacks landed within 0.5 to 6 s with near-zero pauses, and took up to
more than 25 s with growing ones."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A model's manifest at a tip."""

    file: TreeFile
    content: bytes
    offer: Offer


@dataclass(frozen=True, slots=True)
class Rollback:
    """How rollbacks are committed. `hold_ms`: how long the candidate stays withdrawn."""

    repository: Repository
    rng: np.random.Generator
    sleep: Callable[[float], None] = time.sleep
    tries_max: int = TRIES_MAX

    def perform(self, verdict: Verdict, *, path: str, hold_ms: int) -> ActionResult:
        """Withdraw the candidate in the manifest at `path` (or wherever it has moved).

        Raises
        ------
        TransientError
            The remote cannot be reached, or every try lost the race. It may have arrived.
        """
        try:
            return self._perform(verdict, path, hold_ms)
        except PermanentError as error:
            return ActionResult(State.REFUSED, path=path, detail=str(error))

    def _perform(self, verdict: Verdict, path: str, hold_ms: int) -> ActionResult:
        for _ in range(self.tries_max):
            tip = self._fetched()
            known, doubted = self._ledger(tip, verdict, path)
            if known:
                return ActionResult(State.DONE, known, path, "the remote holds this rollback")
            found = self._find(tip, verdict, path)
            if found is None:
                return self._without_manifest(tip, path)
            moved = superseded(found.offer, verdict)
            if moved:
                return ActionResult(State.SUPERSEDED, path=found.file.path, detail=moved)
            commit = self._commit(tip, found, verdict, hold_ms)
            if self.repository.push(commit):
                return ActionResult(State.DONE, commit, found.file.path, doubted)
            self.sleep(PAUSE_S_MAX * float(self.rng.random()))
        raise TransientError("git_race_lost", f"{self.tries_max} pushes came second")

    def _fetched(self) -> str:
        """The tip; a branch that is gone for now, or a limit that can be raised, makes us wait."""
        try:
            return self.repository.fetch()
        except PermanentError as error:
            raise TransientError(error.code, error.detail, retry_after_s=60) from error

    def _without_manifest(self, tip: str, path: str) -> ActionResult:
        """Gone is gone; what is there and cannot be read may be mended."""
        here = [file for file in self.repository.tree(tip) if file.path == path]
        for content in self.repository.read(here).values():
            try:
                plain_values(content, aliases_max=ALIASES_MAX)
            except PermanentError as error:
                raise TransientError("manifest_unreadable", f"{path}: {error.detail}") from error
        return ActionResult(State.SUPERSEDED, path=path, detail="the manifest is gone")

    def _ledger(self, tip: str, verdict: Verdict, path: str) -> tuple[str, str]:
        """The commit that is this rollback, or ""; and what was not believed.

        Anybody's commit can carry a trailer: a merged branch brings its messages along. A rollback
        is a commit of ours whose tree has the candidate withdrawn.
        """
        doubted = ""
        history = self.repository.history
        found = history.with_trailer(tip, INCIDENT_TRAILER, verdict.incident_id)
        for trailer in found:
            if trailer.is_ours and self._withdraws(trailer.commit, verdict, path):
                return trailer.commit, ""
            doubted = doubted or f"{trailer.commit} says that it is this rollback, and is not"
            said = {"commit": trailer.commit, "incident_id": verdict.incident_id}
            _log.error("rollback_trailer_forged", extra={**said, "is_ours": trailer.is_ours})
        return "", doubted

    def _withdraws(self, commit: str, verdict: Verdict, path: str) -> bool:
        found = self._find(commit, verdict, path)
        if found is None:
            return False
        offer = found.offer
        judged = (offer.rollout_id, offer.candidate)
        is_same = judged == (verdict.rollout_id, verdict.candidate_version)
        return is_same and (offer.share == 0 or _hold_ms(offer) >= window_end_ms(verdict))

    def _find(self, tip: str, verdict: Verdict, path: str) -> _Found | None:
        """The model's manifest: at its known path, else anywhere among the manifests."""
        files = self.repository.tree(tip)
        known = [f for f in files if f.path == path]
        others = [f for f in files if f.path != path and is_named_so(f.path)]
        for candidates in (known, others):
            contents = self.repository.read(candidates)
            for file in candidates:
                content = contents[file.path]
                offer = _offer(content, verdict)
                if offer is not None:
                    return _Found(file, content, offer)
        return None

    def _commit(self, tip: str, found: _Found, verdict: Verdict, hold_ms: int) -> str:
        offer = found.offer
        hold_until_ms = max(window_end_ms(verdict) + hold_ms, _hold_ms(offer))
        edited = withdraw(
            found.content, offer.document, hold_until_ms=hold_until_ms, place=offer.place
        )
        return self.repository.commit_file(
            tip,
            found.file,
            edited,
            message=message(verdict, stable=offer.stable, hold_until_ms=hold_until_ms),
            when_s=window_end_ms(verdict) // 1000,
        )


def _offer(content: bytes, verdict: Verdict) -> Offer | None:
    """The model's manifest in a file, if it can be read and holds it."""
    if not could_hold(content):
        return None
    try:
        return find_offer(content, app_id=verdict.app_id, model_id=verdict.model_id)
    except PermanentError:
        return None


def superseded(offer: Offer, verdict: Verdict) -> str:
    """Why there is nothing left to roll back; "" while the manifest offers the judged candidate."""
    if offer.stable == verdict.candidate_version:
        return "the candidate has become the stable version"
    if (offer.rollout_id, offer.candidate) != (verdict.rollout_id, verdict.candidate_version):
        return "the manifest offers another candidate"
    if offer.share == 0:
        return "the candidate is withdrawn already"
    return ""


def _hold_ms(offer: Offer) -> int:
    try:
        return time_ms(offer.hold_until) if offer.hold_until else 0
    except ValueError:
        return 0


def message(verdict: Verdict, *, stable: str, hold_until_ms: int) -> str:
    """The commit message; the same verdict gives the same bytes."""
    model, candidate = one_line(verdict.model_id), one_line(verdict.candidate_version)
    metric, rollout = one_line(verdict.arithmetic.metric), one_line(verdict.rollout_id)
    width = max(len(label) for label, _ in statistic_lines(verdict)) + 2
    lines = [
        f"rollback: {model} {candidate} to {one_line(stable)}",
        "",
        f"{metric} got worse in rollout {rollout} of app {one_line(verdict.app_id)}.",
        "",
        *(f"{label:<{width}}{value}" for label, value in statistic_lines(verdict)),
        "",
        f"The candidate is withdrawn until {rfc3339(hold_until_ms)}. To undo this, revert the",
        "commit; Holdfast will not roll back the same attempt twice.",
        "",
        f"Holdfast-Verdict: {one_line(verdict.verdict_id)}",
        f"{INCIDENT_TRAILER}: {one_line(verdict.incident_id)}",
        f"Holdfast-Policy: {one_line(verdict.policy_sha256)}",
        "",
    ]
    return "\n".join(lines)
