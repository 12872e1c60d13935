"""`holdfast bench tuf`: attacks on release metadata, and what they move phones to (S6).

Twenty phones with python-tuf's own client, and as many with the reference SDK in each form, all of
different pasts: some have never refreshed, some slept through three roots. Every attack is tried on
one phone of each population; none may be led where no honest server would lead it.
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.report import Bound, Report, Result
from bench.tuf_attacks import KINDS, Attack, Attacks
from bench.tuf_forger import Forger
from bench.tuf_phones import Past, Phone, SdkPhone, StockPhone, TrustingPhone
from bench.tuf_world import Wire, World, make_world

PHONES: Final = 20
_COUNT: Final = 10_000
_CRASHES_SHOWN: Final = 5
CONTROL: Final = "a phone that trusts"


@dataclass(slots=True)
class Tally:
    """What came of the attacks, by population; `crashed`: neither obeyed nor refused in words."""

    tried: Counter[str] = field(default_factory=Counter)
    obeyed: Counter[str] = field(default_factory=Counter)
    crashed: Counter[str] = field(default_factory=Counter)
    how: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


def populations(world: World, folder: Path) -> dict[str, list[Phone]]:
    """Phones of every past, in each population."""
    count = len(world.generations) + 1
    pasts = [i % count - 1 for i in range(PHONES)]
    makers: dict[str, Callable[[int, Past], StockPhone | SdkPhone]] = {
        "tuf.ngclient": lambda held, past: StockPhone(world, held, past),
        "reference SDK": lambda held, past: SdkPhone(world, held, past, is_tuf=True),
        "reference SDK, header": lambda held, past: SdkPhone(world, held, past, is_tuf=False),
    }
    found: dict[str, list[Phone]] = {}
    for name, make in makers.items():
        phones = [make(held, Past(folder / name / str(i))) for i, held in enumerate(pasts)]
        for phone in phones:
            phone.live()
        found[name] = [*phones]
    return found


def attack_all(world: World, folder: Path, *, count: int, seed: int) -> Tally:
    """`count` attacks, the kinds in turn."""
    rng = random.Random(seed)  # to be told again, not to be secret
    attacks, tally = Attacks(world, rng, Forger(world)), Tally()
    found = populations(world, folder)
    kinds = list(KINDS)
    for number in range(count):
        i = rng.randrange(PHONES)
        held = found["tuf.ngclient"][i].held
        attack = attacks.draw(kinds[number % len(kinds)], held)
        tally.how[f"{attack.kind}: {attack.how.split(',')[0]}"] += 1
        for name, phones in found.items():
            judge(phones[i], attack, name, tally)
        judge(TrustingPhone(world, held, Past(folder)), attack, CONTROL, tally)
    return tally


def judge(phone: Phone, attack: Attack, name: str, tally: Tally) -> None:
    """Let one phone meet it."""
    tally.tried[name] += 1
    said = f"{name}, generation {phone.held}: {attack.kind}, {attack.how}"
    try:
        if phone.obeys(attack.wire):
            tally.obeyed[name] += 1
            tally.failed += [f"obeyed: {said}"] * (name != CONTROL)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        tally.crashed[name] += 1
        tally.failed.append(f"{error!r}: {said}")
    phone.reset()


def honest(world: World, folder: Path) -> list[Result]:
    """Every phone, of whatever past, reaches the newest; and what a refresh costs."""
    newest = world.generations[-1]
    missed = slept = 0
    for phones in populations(world, folder).values():
        for phone in phones:
            wire = Wire(newest.files, newest.header)
            is_led = _reaches(phone, wire, newest.step.stable)
            missed += not is_led
            slept += is_led and phone.held <= 0
    first, again = Wire(newest.files), Wire(newest.files)
    phone = SdkPhone(world, -1, Past(folder / "cost"), is_tuf=True)
    phone.live()
    phone.obeys(first)
    phone.obeys(again)
    changed = Wire(newest.files)
    before = SdkPhone(world, len(world.generations) - 2, Past(folder / "cost2"), is_tuf=True)
    before.live()
    before.obeys(changed)
    header = len(newest.header[0])
    return [
        Result("S6", "phones that an honest server does not reach", missed, "phones", ("<=", 0)),
        Result("S6", "phones that slept through three roots and follow", slept, "phones"),
        Result("S6", "a refresh without news (bodies)", again.sent_bytes, "bytes"),
        Result("S6", "requests of it", again.asked, "requests"),
        Result("S6", "a refresh with a new config (bodies)", changed.sent_bytes, "bytes"),
        Result("S6", "a first refresh, through three roots", first.sent_bytes, "bytes"),
        Result("S6", "the header's form of that config", header, "bytes"),
    ]


def _reaches(phone: Phone, wire: Wire, stable: str) -> bool:
    if isinstance(phone, SdkPhone):
        phone.obeys(wire)
        loads = phone._start().version_to_load("scene-labels")  # noqa: SLF001
        return loads is not None and loads.version == stable
    assert isinstance(phone, StockPhone)  # noqa: S101 - there is no third
    return phone._refresh(wire) == phone.world.generations[-1].content  # noqa: SLF001


def run(options: argparse.Namespace) -> Report:
    """Honest servers first, then the attacks."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        world = make_world(folder / "world", time.time_ns() // 1_000_000)
        results += honest(world, folder / "honest")
        tally = attack_all(world, folder / "phones", count=options.count, seed=options.seed)
    for line in tally.failed[:_CRASHES_SHOWN]:
        print("  ", line)
    print(f"  {dict(tally.how.most_common())}")
    for name, tried in tally.tried.items():
        for what, counts in (("obeyed", tally.obeyed), ("crashed", tally.crashed)):
            value = counts[name]
            bound: Bound = (">=", 1) if name == CONTROL and what == "obeyed" else ("<=", 0)
            results.append(
                Result("S6", f"attacks that {name} {what}", value, "attacks", bound, tried)
            )
    results.append(Result("S6", "kinds of attack", len(KINDS), "kinds", (">=", 6)))
    return Report("tuf", results)


def main() -> int:
    """Arguments in, exit code out."""
    parser = argparse.ArgumentParser(prog="holdfast bench tuf", description=__doc__)
    parser.add_argument("--count", type=int, default=_COUNT, help="attacks, the kinds in turn")
    parser.add_argument("--seed", type=int, default=1, help="of the attacks")
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON")
    options = parser.parse_args()
    return run(options).give(as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
