"""``holdfast accept-log``: which topics are not those of our positions, and a person's way on."""

import asyncio
from dataclasses import asdict
from pathlib import Path

from holdfast.clock import now_ms
from holdfast.config import load
from holdfast.kafka_settings import kafka_settings
from holdfast.output import give
from streams.kafka.acceptance import Comparison, accept, look


def run_accept_log(topics: list[str], directory: Path | None, *, as_json: bool) -> int:
    """Show what differs, or accept it; 1 if something differs that was not accepted."""
    kafka = kafka_settings(load(dir=directory))
    if topics:
        before = asyncio.run(accept(kafka, topics, now_s=now_ms() // 1000))
    else:
        before = asyncio.run(look(kafka))
    accepted = sorted(set(topics))
    left = [name for name in before.differing if name not in accepted]
    give(
        {**asdict(before), "differing": before.differing, "accepted": accepted},
        as_json=as_json,
        text=_text(before, accepted),
    )
    return 1 if left else 0


def _text(before: Comparison, accepted: list[str]) -> str:
    lines = []
    if before.pinned_cluster != before.standing_cluster:
        lines.append(f"cluster: {before.standing_cluster}, pinned: {before.pinned_cluster or '-'}")
    for topic in before.topics:
        state = "another one" if topic.standing_id else "not there"
        said = state if topic.differs else "ours"
        lines.append(f"{topic.topic:<14}{said}")
    if accepted:
        lines.append(f"accepted: {', '.join(accepted)}; start the workers and doors again")
    elif before.differing:
        lines.append(f"to go on with what stands: holdfast accept-log {' '.join(before.differing)}")
    return "\n".join(lines)
