"""Repositories of manifests that satisfy their schemas, with values from their edges. Seeded.

Mostly they also make sense together, so that most are taken and something is watched under them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, TypeVar

import numpy as np
import yaml

from actions.desired_files import UNIT_METRICS
from wire.pb.registry import METRICS

_T = TypeVar("_T")
KINDS: Final = {"Policy": "policy", "ModelRelease": "model_release", "RateCard": "rate_card"}
_SENSE: Final = 0.9
"""How often a part is made to fit the others."""
_RELEASES_MAX: Final = 3
_ITEMS: Final = 3
_MANY: Final = 60
_METRICS: Final = (*(m.name for m in METRICS), *UNIT_METRICS)
_VERSIONS: Final = ("1.0.0", "1.1.0", "0", "2024.1+build_7", "x" * 64)
_NAMES: Final = ("a", "camera", "next-word", "0", "a.b_c-d", "z" * 63)
_TIMES: Final = (
    *("1970-01-01T00:00:00Z", "2026-09-21T00:00:00Z", "2026-09-22T13:14:15.123Z"),
    *("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z"),
    *(
        "2026-02-30T00:00:00Z",
        "2026-01-01T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "2024-02-29T00:00:00Z",
    ),
)
_SHA256: Final = ("sha256:" + "0" * 64, "sha256:" + "0123456789abcdef" * 4)
_PATTERNS: Final[Mapping[str, Sequence[str]]] = {
    "^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$": _NAMES,
    "^[^\\s].*$": ("team@example.org", "é", "x" * 200, "~", "null", "<!channel>", "\U0001f600"),
    "^[0-9A-Za-z][0-9A-Za-z._-]*$": ("AI-1", "0", "y" * 100, "0x1F"),
    "^[0-9A-Za-z][0-9A-Za-z.+_-]*$": _VERSIONS,
    "^sha256:[0-9a-f]{64}$": _SHA256,
    "^[0-9A-Za-z_-]+$": ("a1b2", "-", "0" * 64, "_"),
    "^[A-Za-z0-9][A-Za-z0-9-]*$": ("DE", "US", "NO", "0", "x" * 16, "on"),
    "^[0-9]+[.][0-9]+[.][0-9]+$": ("0.1.0", "999999999.0.0", "1.2.3"),
    "^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)+$": _METRICS,
    "^[A-Z]{3}$": ("EUR", "USD", "JPY", "XXX"),
}


@dataclass(frozen=True, slots=True)
class Made:
    """A repository's files, and how many manifests are in them."""

    files: dict[str, bytes]
    manifests: int


def schema_of(kind: str) -> dict[str, Any]:
    """The published schema of a kind."""
    body = (files("wire") / "pb" / f"{KINDS[kind]}.schema.json").read_bytes()
    schema: dict[str, Any] = json.loads(body)
    return schema


@dataclass(slots=True)
class Maker:
    """Draws repositories from one generator."""

    rng: np.random.Generator

    def repository(self) -> Made:
        """One policy, up to three releases, at most one rate card, each in a file of its own."""
        policy = self.value(schema_of("Policy"))
        releases = [
            self.value(schema_of("ModelRelease"))
            for _ in range(0 if self._is(0.05) else 1 + self._int(_RELEASES_MAX))
        ]
        cards = [self.value(schema_of("RateCard")) for _ in range(self._int(2))]
        if self._is(_SENSE):
            self._agree(policy, releases, cards)
        manifests = [policy, *releases, *cards]
        return Made(dict(map(self._written, range(len(manifests)), manifests)), len(manifests))

    def value(self, schema: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever the schema says
        """A value that satisfies the schema."""
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._one(schema["enum"])
        make: Callable[[Mapping[str, Any]], object] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda _: self._is(0.5),
        }[schema["type"]]
        return make(schema)

    def _object(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        needed = set(schema.get("required", ()))
        chosen = {k for k in schema.get("properties", {}) if k in needed or self._is(0.6)}
        for key, others in schema.get("dependentRequired", {}).items():
            chosen |= set(others) if key in chosen else set()
        made = {k: self.value(s) for k, s in schema.get("properties", {}).items() if k in chosen}
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            made |= {self._one(_NAMES): self.value(extra) for _ in range(self._int(_ITEMS))}
        return made

    def _array(self, schema: Mapping[str, Any]) -> list[Any]:
        least, most = schema.get("minItems", 0), schema.get("maxItems", _ITEMS)
        size = _MANY if self._is(0.02) else self._int(_ITEMS + 1)
        return [self.value(schema["items"]) for _ in range(max(least, min(size, most)))]

    def _string(self, schema: Mapping[str, Any]) -> str:
        pattern = schema.get("pattern", "")
        if "T[0-9]{2}" in pattern:
            empty = pattern.startswith("^$") and self._is(0.5)
            return "" if empty else self._one(_TIMES)
        if not pattern:
            return self._one(("", "x", "é", "yes"))
        fitting = [s for s in _PATTERNS[pattern] if len(s) <= schema.get("maxLength", 1 << 20)]
        return self._one(fitting)

    def _integer(self, schema: Mapping[str, Any]) -> int:
        low, high = int(schema["minimum"]), int(schema["maximum"])
        middle = int(np.exp(self.rng.uniform(np.log(low + 1), np.log(high + 1))))
        usual = (low, low + 1, high, high - 1, middle, middle, middle, middle)
        return min(max(int(self._one(usual)), low), high)

    def _number(self, schema: Mapping[str, Any]) -> float:
        open_low = schema.get("exclusiveMinimum")
        low = float(schema.get("minimum", open_low))
        high = float(schema["maximum"])
        least = float(np.nextafter(low, high)) if open_low is not None else low
        middle = float(np.exp(self.rng.uniform(np.log(1e-6), np.log(high))))
        edges = (least, 1e-300, 1e-12, high, float(np.nextafter(high, low)))
        return min(max(float(self._one(edges) if self._is(0.08) else middle), least), high)

    def _agree(
        self,
        policy: dict[str, Any],
        releases: Sequence[dict[str, Any]],
        cards: Sequence[dict[str, Any]],
    ) -> None:
        """Make what no schema can say true: names that meet, weights that add up, times."""
        spec = policy["spec"]
        guardrails = {g["metric"]: g for g in spec["guardrails"]}
        spec["guardrails"] = list(guardrails.values())
        for guardrail in spec["guardrails"]:
            guardrail["margin"] = max(guardrail["margin"], 1e-6)
            guardrail["weight"] = max(guardrail["weight"], 1e-6)
        total = sum(g["weight"] for g in spec["guardrails"])
        for guardrail in spec["guardrails"]:
            guardrail["weight"] /= max(total, 1.0)
        for i, freeze in enumerate(spec["gate"].get("freezes", ())):
            freeze |= {"start": f"20{i + 10}-01-01T00:00:00Z", "end": f"20{i + 10}-06-01T00:00:00Z"}
        for i, release in enumerate(releases):
            self._settle(i, release, guardrails)
            spec["appVersions"].setdefault(release["spec"]["appId"], ["1.0.0"])
        for card in cards:
            for i, price in enumerate(card["spec"]["prices"]):
                price["effectiveFrom"] = f"{2026 + i}-09-2{self._int(9)}T00:00:00Z"

    def _settle(self, number: int, release: dict[str, Any], guarded: Mapping[str, Any]) -> None:
        spec = release["spec"]
        release["metadata"]["name"] = f"r{number}"
        spec["modelId"] = f"m{number}"
        spec["guardrails"] = [m for m in spec.get("guardrails", ()) if m in guarded]
        if "rollout" in spec:
            spec["rollout"] |= {"id": f"r{number}", "holdUntil": ""}
        if "candidate" in spec:
            spec["candidate"]["version"] = spec["stable"]["version"][:60] + "-c"

    def _written(self, number: int, manifest: dict[str, Any]) -> tuple[str, bytes]:
        name = f"{self._one(('', 'deep/er/', 'é '))}{number}"
        match self._int(4):
            case 0:
                return f"{name}.json", json.dumps(manifest, indent=self._int(3)).encode()
            case 1:
                return f"{name}.yml", yaml.safe_dump(manifest, default_flow_style=True).encode()
            case 2:
                listed = {"apiVersion": "v1", "kind": "List", "items": [manifest]}
                return f"{name}.yaml", yaml.safe_dump(listed, sort_keys=False).encode()
            case _:
                text = yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False, width=10**6)
                return f"{name}.yaml", text.encode()

    def _one(self, among: Sequence[_T]) -> _T:
        return among[self._int(len(among))]

    def _int(self, end: int) -> int:
        return int(self.rng.integers(0, end))

    def _is(self, share: float) -> bool:
        return bool(self.rng.random() < share)
