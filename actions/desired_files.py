"""The repository's manifests -> the desired state, or all the mistakes that stand in its way.

There is no half-read state: a broken manifest keeps the last good desired state in force, and the
caller says so. There is no default for a threshold.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final, TypeVar

import msgspec

from actions.manifest_documents import (
    API_VERSION,
    MISTAKES_MAX,
    Document,
    Mistake,
    read_documents,
)
from actions.manifest_forms import (
    Form,
    PolicyForm,
    PricesForm,
    RateCardForm,
    ReleaseForm,
    RolloutForm,
    VersionForm,
)
from analytics.evidence.spec import BreachRules
from wire.desired import (
    Desired,
    Gate,
    Guardrail,
    Misfit,
    Policy,
    Prices,
    Release,
    Rollout,
    Version,
    guardrails_of,
)
from wire.errors import PermanentError
from wire.known import vanished
from wire.pb.registry import METRICS

UNIT_METRICS: Final = (
    "unit.error",
    "unit.crash",
    "unit.silence",
    "unit.energy",
    "unit.data",
    "label.incorrect",
)
"""Guardrail metrics that are taken once per installation, beside the registered ones."""
_WEIGHT_SLACK: Final = 1e-9  # decimal weights that add up to 1 may miss it in binary
_ALPHA_MIN: Final = 1e-12
_WEIGHT_MIN: Final = 1e-9
_MARGIN_MIN: Final = 1e-6
_TIME_MS_MAX: Final = 253_402_300_799_000
_NAMED_MAX: Final = 20
"""Names that a mistake lists: a policy may have ten thousand, and a repository as many mistakes."""
_AnyForm = TypeVar("_AnyForm", bound=Form)
Trial = Callable[[Desired], Iterable[Misfit]]


class BrokenManifestsError(PermanentError):
    """The repository does not say one clear thing. `mistakes` holds all of them."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("broken_manifests", "; ".join(map(str, mistakes)))
        self.mistakes = tuple(mistakes)


def read_desired(
    contents: Mapping[str, bytes],
    *,
    commit: str,
    effective_ms: int = 0,
    last: Desired | None = None,
    unread: Collection[str] = (),
    trial: Trial = lambda _: (),
) -> Desired:
    """The desired state that `contents` (path -> bytes) of `commit` declare.

    `last` is the state before: what held its releases, and cannot be read now, is a mistake.
    `unread` are names of the commit that are no small regular files. `trial` says who could not
    work under a state that is whole in itself.

    Raises
    ------
    BrokenManifestsError
        With every mistake found, in all files.
    """
    known = {release.path for release in last.releases} if last is not None else set()
    documents, mistakes = read_documents(contents, known=known)
    reading = _Reading(mistakes)
    releases = tuple(reading.releases(documents))
    policy = reading.policy(documents)
    prices = tuple(reading.prices(documents))
    if policy is not None:
        mistakes.extend(islice(_across(releases, policy), MISTAKES_MAX))
    if mistakes or policy is None:
        raise BrokenManifestsError(mistakes)
    desired = Desired(commit, releases, policy, prices, effective_ms)
    files = {d.kind: d.file for d in documents}
    refused = _lost(last, desired, {*contents, *unread} - {d.file for d in documents})
    refused += [
        Mistake(r.path or files.get(r.kind, r.kind), r.field, r.problem, r.accepted)
        for r in trial(desired)
    ]
    if refused:
        raise BrokenManifestsError(list(dict.fromkeys(refused)))
    return desired


def time_ms(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time in UTC; ValueError if there is no such.

    From 1970 to the last whole second of 9999: what is rounded up must still have a name.
    """
    at_ms = round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)
    if not 0 <= at_ms <= _TIME_MS_MAX:
        raise ValueError("not between 1970 and 9999")
    return at_ms


@dataclass(slots=True)
class _Reading:
    """Turns documents into domain values; what cannot be turned lands in `mistakes`."""

    mistakes: list[Mistake]

    def releases(self, documents: Iterable[Document]) -> Iterator[Release]:
        for document in documents:
            if document.kind == "ModelRelease":
                form = self._form(document, ReleaseForm)
                if form is not None:
                    yield self._release(document, form)

    def _release(self, document: Document, form: ReleaseForm) -> Release:
        rollout = None
        if form.candidate is not None and form.rollout is not None:
            rollout = self._rollout(document.file, form.rollout, form.candidate)
        return Release(
            name=document.name,
            path=document.file,
            app_id=form.app_id,
            model_id=form.model_id,
            owner=form.owner,
            cost_center=form.cost_center,
            project=form.project,
            stable=Version(form.stable.version, form.stable.digest),
            rollout=rollout,
            known_versions=form.known_versions,
            strata=form.strata,
            class_groups=form.class_groups,
            guardrails=form.guardrails,
        )

    def _rollout(self, file: str, form: RolloutForm, candidate: VersionForm) -> Rollout:
        hold = form.hold_until
        return Rollout(
            rollout_id=form.id,
            attempt=form.attempt,
            candidate=Version(candidate.version, candidate.digest),
            step=form.step,
            share=form.share,
            salt=form.salt,
            control=form.control,
            hold_until_ms=self._time(file, "spec.rollout.holdUntil", hold) if hold else 0,
        )

    def policy(self, documents: Sequence[Document]) -> Policy | None:
        found = [d for d in documents if d.kind == "Policy"]
        if len(found) > 1 or not (found or self.mistakes):  # a broken one has been named
            files = ", ".join(d.file for d in found) or "no file"
            self.mistakes.append(
                Mistake(files, "kind", f"{len(found)} Policies", f"one Policy of {API_VERSION}")
            )
        form = self._form(found[0], PolicyForm) if found else None
        return self._policy(found[0].file, form) if form is not None else None

    def _policy(self, file: str, form: PolicyForm) -> Policy:
        gate = form.gate
        freezes = tuple(
            (
                self._time(file, f"spec.gate.freezes[{i}].start", freeze.start),
                self._time(file, f"spec.gate.freezes[{i}].end", freeze.end),
            )
            for i, freeze in enumerate(gate.freezes)
        )
        self.mistakes.extend(
            Mistake(file, f"spec.gate.freezes[{i}].end", "not after its start", "a later time")
            for i, (start, end) in enumerate(freezes)
            if end <= start
        )
        self.mistakes.extend(_too_small(file, form))
        self.mistakes.extend(_guardrail_mistakes(file, form))
        return Policy(
            alpha=form.alpha,
            alpha_margin=form.alpha_margin,
            window_ms=form.window_ms,
            accepted_age_ms=form.accepted_age_ms,
            observation_ms=form.observation_ms,
            cohort_ms=form.cohort_ms,
            silence_grace_ms=form.silence_grace_ms,
            drift_window_ms=form.drift_window_ms,
            regions=form.regions,
            app_versions=form.app_versions,
            sdk_versions=form.sdk_versions,
            guardrails=tuple(Guardrail(g.metric, g.weight, g.margin) for g in form.guardrails),
            gate=Gate(
                dry_run=gate.dry_run,
                cooldown_ms=gate.cooldown_ms,
                rollbacks_per_day=gate.rollbacks_per_day,
                concurrent_rollbacks_max=gate.concurrent_rollbacks_max,
                hold_ms=gate.hold_ms,
                freezes=freezes,
            ),
            evidence=BreachRules(
                form.evidence.breach_units_min,
                form.evidence.breach_windows_min,
                form.evidence.factor_max,
                form.evidence.rare_share,
            ),
            proof=form.units.proof,
        )

    def prices(self, documents: Sequence[Document]) -> list[Prices]:
        cards = [d for d in documents if d.kind == "RateCard"]
        if len(cards) > 1:
            files = ", ".join(d.file for d in cards)
            self.mistakes.append(Mistake(files, "kind", "several RateCards", "at most one"))
        form = self._form(cards[0], RateCardForm) if cards else None
        if form is None:
            return []
        prices = [self._price(cards[0].file, i, p) for i, p in enumerate(form.prices)]
        for i, price in enumerate(prices):
            if any(price.effective_from_ms == p.effective_from_ms for p in prices[:i]):
                path = f"spec.prices[{i}].effectiveFrom"
                self.mistakes.append(Mistake(cards[0].file, path, "given twice", "one entry"))
        return sorted(prices, key=lambda p: p.effective_from_ms)

    def _price(self, file: str, i: int, form: PricesForm) -> Prices:
        return Prices(
            self._time(file, f"spec.prices[{i}].effectiveFrom", form.effective_from),
            form.currency,
            form.cloud_call_micros,
            form.cellular_gb_micros,
            form.egress_gb_micros,
            form.energy_kwh_micros,
        )

    def _form(self, document: Document, form: type[_AnyForm]) -> _AnyForm | None:
        try:
            return msgspec.convert(document.spec, form)
        except msgspec.ValidationError as error:  # schema and forms disagree: say so, do not guess
            self.mistakes.append(Mistake(document.file, "spec", str(error), document.kind))
            return None

    def _time(self, file: str, path: str, text: str) -> int:
        try:
            return time_ms(text)
        except ValueError:
            self.mistakes.append(
                Mistake(file, path, "no such time", "RFC 3339, UTC, from 1970 to 9999")
            )
            return 0


def _lost(last: Desired | None, now: Desired, without: Collection[str]) -> list[Mistake]:
    """Releases that are gone although their files are there, `without` any manifest."""
    return [
        Mistake(
            release.path,
            "",
            f"held the ModelRelease {release.name} and holds no manifest now",
            "a manifest in a regular file, or no file of this name",
        )
        for release in (vanished(last, now) if last is not None else [])
        if release.path in without
    ]


def _too_small(file: str, form: PolicyForm) -> Iterator[Mistake]:
    """Above 0, and so small that the arithmetic of the evidence would lose it."""
    found = {
        "spec.alpha": (form.alpha, _ALPHA_MIN),
        "spec.alphaMargin": (form.alpha_margin, _ALPHA_MIN),
    }
    for i, guardrail in enumerate(form.guardrails):
        found[f"spec.guardrails[{i}].weight"] = (guardrail.weight, _WEIGHT_MIN)
        found[f"spec.guardrails[{i}].margin"] = (guardrail.margin, _MARGIN_MIN)
    for path, (value, least) in found.items():
        if value < least:
            yield Mistake(file, path, "too small", f"at least {least}")


def _guardrail_mistakes(file: str, form: PolicyForm) -> Iterator[Mistake]:
    known = [m.name for m in METRICS] + list(UNIT_METRICS)
    names = [g.metric for g in form.guardrails]
    for i, name in enumerate(names):
        path = f"spec.guardrails[{i}].metric"
        if name not in known:
            yield Mistake(file, path, "unknown metric", "one of " + ", ".join(known))
        if name in names[:i]:
            yield Mistake(file, path, "a second guardrail for this metric", "one per metric")
    if sum(g.weight for g in form.guardrails) > 1 + _WEIGHT_SLACK:
        yield Mistake(
            file, "spec.guardrails", "weights add up to more than 1", "a sum of at most 1"
        )


def _across(releases: Sequence[Release], policy: Policy) -> Iterator[Mistake]:
    """Mistakes that no manifest has by itself."""
    guarded = [g.metric for g in policy.guardrails]
    seen: dict[tuple[str, ...], str] = {}
    for release in releases:
        keys = {
            "metadata.name": ("name", release.name),
            "spec.modelId": ("model", release.app_id, release.model_id),
        }
        if release.rollout is not None:
            keys["spec.rollout.id"] = ("rollout", release.rollout.rollout_id)
        for path, key in keys.items():
            if key in seen:
                yield Mistake(release.path, path, f"also in {seen[key]}", "a unique one")
            seen.setdefault(key, release.path)
        if release.app_id not in policy.app_versions:
            yield Mistake(
                release.path,
                "spec.appId",
                "the policy names no versions of this app",
                _one_of(policy.app_versions),
            )
        if release.rollout is not None and not guardrails_of(release, policy):
            yield Mistake(
                release.path,
                "spec.guardrails",
                "no guardrail of the policy applies to this release",
                "at least one that applies; prediction.class needs classGroups above 0",
            )
        for i, metric in enumerate(release.guardrails):
            if metric not in guarded:
                yield Mistake(
                    release.path,
                    f"spec.guardrails[{i}]",
                    "the policy has no guardrail for this metric",
                    _one_of(guarded),
                )
        if release.rollout and release.rollout.candidate.version == release.stable.version:
            yield Mistake(
                release.path,
                "spec.candidate.version",
                "is the stable version's name",
                "another version name; the digest may be the same",
            )


def _one_of(names: Collection[str]) -> str:
    shown = ", ".join(islice(names, _NAMED_MAX))
    more = len(names) - _NAMED_MAX
    return f"one of {shown}" + (f" and {more} more" if more > 0 else "")
