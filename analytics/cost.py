"""Physical quantities priced into integer money. No floating point anywhere.

Rounding rule, the only one: each (key, cost kind) is priced once from its exact quantity and
rounded half up to a whole micro-unit; every total is a sum of such whole numbers. `CostMeter` gives
increments as differences of cumulative costs, so the increments of a day sum to the price of its
sum exactly, however the day was cut into windows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from typing import Final

from analytics.detectors.base import Plain, State, as_int, as_list, as_mapping, as_text

_GB: Final = 1_000_000_000  # bytes, decimal, as carriers and clouds bill
_PLACEMENTS: Final = ("", "device", "edge", "cloud")  # "" is not stated
_NETWORKS: Final = ("", "offline", "cellular", "wifi")
_KWH: Final = 3_600_000_000  # millijoules


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """One dated entry of the rate card; money in micro-units of `currency`."""

    effective_from_ms: int
    currency: str
    cloud_call_micros: int
    cellular_gb_micros: int
    egress_gb_micros: int
    energy_kwh_micros: int


@dataclass(frozen=True, slots=True, order=True)
class QuantityKey:
    """Whose quantities, on which event day (UTC midnight)."""

    app_id: str
    model_id: str
    model_version: str
    event_day_ms: int


@dataclass(frozen=True, slots=True)
class Quantities:
    """What was used, each a whole number >= 0; adding is merging, in any order.

    `cloud_inferences` ran in the cloud or at the edge, `device_inferences` on the phone or at a
    place that the phone did not name. `cellular_bytes` are sent plus received over cellular,
    `received_bytes` are received over any network, `traffic_bytes` sent plus received over any.
    """

    device_inferences: int = 0
    cloud_inferences: int = 0
    received_bytes: int = 0
    cellular_bytes: int = 0
    energy_mj: int = 0
    traffic_bytes: int = 0

    def __post_init__(self) -> None:
        if any(amount < 0 for amount in self.amounts()):
            raise ValueError(f"a quantity is negative: {self}")

    def __add__(self, other: "Quantities") -> "Quantities":
        pairs = zip(self.amounts(), other.amounts(), strict=True)
        return Quantities(*(a + b for a, b in pairs))

    def amounts(self) -> tuple[int, ...]:
        """The numbers in field order."""
        return tuple(getattr(self, f.name) for f in fields(self))


@dataclass(frozen=True, slots=True)
class CostLine:
    """One amount of money and the quantity behind it. `kind` "unpriced" has no currency.

    `whole` is what the quantity is a part of: all inferences, all bytes. `price_micros` is the
    price of `price_per` units. Adding sums amounts of the same kind and currency at the price of
    the first; ValueError for others.
    """

    kind: str
    borne_by: str
    quantity: int
    unit: str
    cost_micros: int
    currency: str
    whole: int = field(default=0, compare=False)
    price_micros: int = field(default=0, compare=False)
    price_per: int = field(default=1, compare=False)

    def __add__(self, other: "CostLine") -> "CostLine":
        if (self.kind, self.currency) != (other.kind, other.currency):
            raise ValueError(
                f"{self.kind} in {self.currency!r} is not {other.kind} in {other.currency!r}"
            )
        return replace(
            self,
            quantity=self.quantity + other.quantity,
            cost_micros=self.cost_micros + other.cost_micros,
            whole=self.whole + other.whole,
        )

    @property
    def is_nothing(self) -> bool:
        """Whether nothing changes with it."""
        return not (self.quantity or self.cost_micros or self.whole)

    def __neg__(self) -> "CostLine":
        return replace(
            self, quantity=-self.quantity, cost_micros=-self.cost_micros, whole=-self.whole
        )


def quantities_of(
    *,
    placement: str,
    network: str,
    inferences: int,
    received_bytes: int = 0,
    sent_bytes: int = 0,
    energy_mj: int = 0,
) -> Quantities:
    """What one cohort used, by the words of an upload's context; ValueError for another word."""
    if placement not in _PLACEMENTS:
        raise ValueError(f"placement {placement!r} is none of {_PLACEMENTS}")
    if network not in _NETWORKS:
        raise ValueError(f"network {network!r} is none of {_NETWORKS}")
    is_remote = placement in ("edge", "cloud")
    return Quantities(
        device_inferences=0 if is_remote else inferences,
        cloud_inferences=inferences if is_remote else 0,
        received_bytes=received_bytes,
        cellular_bytes=received_bytes + sent_bytes if network == "cellular" else 0,
        traffic_bytes=received_bytes + sent_bytes,
        energy_mj=energy_mj,
    )


def price_in_force(prices: Iterable[PriceEntry], at_ms: int) -> PriceEntry | None:
    """The latest entry effective at `at_ms`; None before the first. ValueError on equal dates."""
    card = sorted(prices, key=lambda entry: entry.effective_from_ms)
    dates = [entry.effective_from_ms for entry in card]
    if len(set(dates)) < len(dates):
        raise ValueError("two entries of the rate card take effect at the same moment")
    return next((entry for entry in reversed(card) if entry.effective_from_ms <= at_ms), None)


def price(quantities: Quantities, prices: Iterable[PriceEntry], at_ms: int) -> list[CostLine]:
    """The lines of the entry in force at `at_ms` (the start of the event day); [] if nothing used.

    Without an entry in force there is one line of kind "unpriced" that counts the inferences: the
    use is shown as not priced, never as free.
    """
    if not any(quantities.amounts()):
        return []
    entry = price_in_force(prices, at_ms)
    inferences = quantities.device_inferences + quantities.cloud_inferences
    if entry is None:
        return [CostLine("unpriced", "nobody", inferences, "{inference}", 0, "", inferences)]
    q = quantities
    calls, egress = entry.cloud_call_micros, entry.egress_gb_micros
    cellular, energy = entry.cellular_gb_micros, entry.energy_kwh_micros
    priced = (
        ("cloud_calls", "provider", q.cloud_inferences, inferences, "{call}", calls, 1),
        ("egress", "provider", q.received_bytes, q.received_bytes, "By", egress, _GB),
        ("cellular", "user", q.cellular_bytes, q.traffic_bytes, "By", cellular, _GB),
        ("energy", "user", q.energy_mj, q.energy_mj, "mJ", energy, _KWH),
    )
    return [
        CostLine(
            kind, payer, n, unit, _half_up(n * per_block, block), entry.currency,
            whole, per_block, block,
        )
        for kind, payer, n, whole, unit, per_block, block in priced
    ]  # fmt: skip


def _half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def merge(
    parts: Iterable[Mapping[QuantityKey, Quantities]],
) -> dict[QuantityKey, Quantities]:
    """Sum of accumulators, keys sorted; the order of `parts` does not matter."""
    merged: dict[QuantityKey, Quantities] = {}
    for part in parts:
        for key, quantities in part.items():
            merged[key] = merged.get(key, Quantities()) + quantities
    return dict(sorted(merged.items()))


@dataclass(slots=True)
class CostMeter:
    """Cumulative quantities per key, and what was billed of them: `add` gives only the difference.

    A day that is priced anew takes its old lines back in the currency in which they were billed:
    quantities and costs of such lines are negative. `forget_before` bounds the memory: days older
    than the accepted age can get no more rows, and stay as they were billed.
    """

    _used: dict[QuantityKey, Quantities] = field(default_factory=dict)
    _billed: dict[QuantityKey, dict[tuple[str, str], CostLine]] = field(default_factory=dict)

    def add(
        self, key: QuantityKey, quantities: Quantities, prices: Iterable[PriceEntry]
    ) -> list[CostLine]:
        """Lines of this increment; their sums over all calls equal `price` of the day's sum."""
        self._used[key] = self._used.get(key, Quantities()) + quantities
        return self._settle(key, prices)

    def reprice(self, prices: Iterable[PriceEntry]) -> list[tuple[QuantityKey, CostLine]]:
        """What a changed rate card corrects of all days that are remembered."""
        card = list(prices)
        return [(key, line) for key in sorted(self._used) for line in self._settle(key, card)]

    def _settle(self, key: QuantityKey, prices: Iterable[PriceEntry]) -> list[CostLine]:
        """The difference between what is due and what was billed, kind by kind and currency."""
        billed = self._billed.get(key, {})
        due = {
            (line.kind, line.currency): line
            for line in price(self._used[key], prices, key.event_day_ms)
        }
        self._billed[key] = due
        taken_back = [-line for k, line in billed.items() if k not in due]
        steps = [
            line + -billed[k] if k in billed else line for k, line in due.items() if line.quantity
        ]
        return [line for line in (*taken_back, *steps) if not line.is_nothing]

    def used(self, key: QuantityKey) -> Quantities:
        """Everything counted for `key` so far."""
        return self._used.get(key, Quantities())

    def forget_before(self, event_day_ms: int) -> int:
        """Drop closed days; the number of keys dropped."""
        closed = [key for key in self._used if key.event_day_ms < event_day_ms]
        for key in closed:
            del self._used[key], self._billed[key]
        return len(closed)

    def state(self) -> State:
        return {
            "keys": [
                {
                    "app_id": key.app_id,
                    "model_id": key.model_id,
                    "model_version": key.model_version,
                    "event_day_ms": key.event_day_ms,
                    "used": list(used.amounts()),
                    "billed": [list(astuple(line)) for line in self._billed[key].values()],
                }
                for key, used in sorted(self._used.items())
            ]
        }

    def restore(self, state: Mapping[str, Plain]) -> None:
        self._used.clear()
        self._billed.clear()
        for item in map(as_mapping, as_list(state["keys"])):
            key = QuantityKey(
                as_text(item["app_id"]),
                as_text(item["model_id"]),
                as_text(item["model_version"]),
                as_int(item["event_day_ms"]),
            )
            self._used[key] = Quantities(*map(as_int, as_list(item["used"])))
            lines = [_line_restored(as_list(line)) for line in as_list(item["billed"])]
            self._billed[key] = {(line.kind, line.currency): line for line in lines}


def _line_restored(state: Sequence[Plain]) -> CostLine:
    kind, borne_by, quantity, unit, cost_micros, currency, *rest = state  # earlier: no rest
    return CostLine(
        as_text(kind),
        as_text(borne_by),
        as_int(quantity),
        as_text(unit),
        as_int(cost_micros),
        as_text(currency),
        *map(as_int, rest),
    )
