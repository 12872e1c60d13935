"""Calls that grpcio refuses by itself leave no line on standard error: strangers could fill it."""

import subprocess
import sys
import textwrap
from pathlib import Path

from holdfast.config import environment_of, load

_SERVES = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import grpc
    from streams.log.memory import MemoryLog
    from tests.fakes.ingest_world import running
    with running(Path(sys.argv[1]), MemoryLog(1)) as server:
        for algorithm in (grpc.Compression.Deflate, grpc.Compression.Gzip):
            with grpc.insecure_channel(server.grpc, compression=algorithm) as channel:
                for path in ("/holdfast.v1.Telemetry/Upload", "/nowhere/at.all"):
                    call = channel.unary_unary(path)
                    try:
                        call(b"x" * 2000, timeout=60)
                    except grpc.RpcError:
                        pass
    """
)


def test_refused_calls_write_nothing(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _SERVES, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=Path(__file__).parents[3],
        env=environment_of(load(dir=tmp_path)),  # as a node's service has it
    )
    lines = [line for line in ended.stderr.splitlines() if "root_key_on_node" not in line]
    assert lines == []
