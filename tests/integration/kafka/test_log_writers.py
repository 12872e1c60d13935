"""Several processes append to one log in Kafka, and any of them may be killed."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from streams.kafka.broker import RECORD_BYTES_MAX, KafkaSettings
from streams.log.base import Append
from streams.log.kafka import KafkaLog

WRITER = """
import sys
from streams.kafka.broker import KafkaSettings
from streams.log.base import Append
from streams.log.kafka import KafkaLog

log = KafkaLog(KafkaSettings(sys.argv[1], prefix=sys.argv[2], partitions=2), client_id="writer")
n = int(sys.argv[3])
while True:
    log.append([Append(p, b"%d" % n * 500, n) for p in (0, 1)])
    print(n, flush=True)
    n += 1
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(settings: KafkaSettings) -> None:
    acknowledged: list[int] = []
    for life, reads in enumerate((1, 30)):
        command = [sys.executable, "-c", WRITER, settings.bootstrap, settings.prefix]
        writer = subprocess.Popen([*command, str(life * 1_000)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged += [int(writer.stdout.readline()) for _ in range(reads)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().splitlines()]
        writer.wait()
        writer.stdout.close()

    log = KafkaLog(settings, client_id="reader")
    for partition in (0, 1):
        found = [record.payload for record in log.read(partition, 0, bytes_max=1 << 30)]
        assert {b"%d" % n * 500 for n in acknowledged} <= set(found)
        assert len(found) == len(set(found))  # a retry of the client's own is not written twice
        assert len(found) <= len(acknowledged) + 2  # each life may have had one on its way
    log.close()


def test_threads_that_append_together_get_offsets_of_their_own(settings: KafkaSettings) -> None:
    log = KafkaLog(settings, client_id="threads")

    with ThreadPoolExecutor(8) as threads:
        offsets = list(threads.map(lambda n: log.append([Append(0, b"%d" % n, 1)])[0], range(200)))

    found = log.read(0, 0, bytes_max=1 << 30)
    assert sorted(offsets) == list(range(200))
    assert [found[offset].payload for offset in offsets] == [b"%d" % n for n in range(200)]
    log.close()


def test_a_group_larger_than_a_batch_arrives_whole_and_in_order(settings: KafkaSettings) -> None:
    log = KafkaLog(settings, client_id="large")
    sizes = [RECORD_BYTES_MAX - 1_000, 3 << 20, 10, 2 << 20, 700_000, 700_000, 700_000]

    offsets = log.append([Append(0, bytes([i]) * size, 1) for i, size in enumerate(sizes)])

    found = log.read(0, 0, bytes_max=1 << 30)
    assert offsets == list(range(len(sizes)))
    assert [(r.payload[0], len(r.payload)) for r in found] == list(enumerate(sizes))
    log.close()
