"""What a worker says of itself, in Prometheus' text format."""

import re
import urllib.request
from typing import get_args

from prometheus_client import generate_latest

from bench.broker import free_ports
from holdfast.worker_metrics import Metrics
from streams.ports import Measured
from tests.house import ROOT


def test_every_measure_has_a_metric() -> None:
    metrics = Metrics()
    named = {*metrics._counters, *metrics._gauges, *metrics._durations}

    assert named == set(get_args(Measured))


def test_the_runbook_knows_every_metric_and_no_other() -> None:
    said = {metric.name for metric in Metrics().registry.collect()}
    section = (ROOT / "docs/runbook.md").read_text().partition("\n## Workers\n")[2]
    table = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    named = set(re.findall(r"holdfast_[a-z_]+", "".join(table)))

    assert {name.removesuffix("_total") for name in named} == said


def test_measures_are_told_by_partition() -> None:
    metrics = Metrics()

    metrics.count("segments_taken", 3, "1")
    metrics.count("segments_taken", partition="1")
    metrics.gauge("segments_waiting", 7, "0")
    metrics.observe("flush_seconds", 0.2)

    said = generate_latest(metrics.registry).decode()
    assert 'holdfast_segments_taken_total{partition="1"} 4.0' in said
    assert 'holdfast_segments_waiting{partition="0"} 7.0' in said
    assert "holdfast_flush_seconds_count 1.0" in said


def test_levels_of_a_partition_that_another_worker_has_are_told_no_more() -> None:
    metrics = Metrics()
    for partition in ("0", "1"):
        metrics.count("segments_taken", partition=partition)
        metrics.gauge("segments_waiting", 7, partition)

    metrics.forget("1")
    metrics.forget("2")

    said = generate_latest(metrics.registry).decode()
    assert 'holdfast_segments_waiting{partition="0"} 7.0' in said
    assert 'holdfast_segments_waiting{partition="1"}' not in said
    assert 'holdfast_segments_taken_total{partition="1"} 1.0' in said


def test_metrics_are_served() -> None:
    metrics = Metrics()
    (port,) = free_ports(1)
    metrics.count("windows_decided", 2)

    metrics.serve("127.0.0.1", port)

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert b"holdfast_windows_decided_total" in answer.read()
