"""The signing key is made once, whoever comes first."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ingest.signing import load_or_make


def test_processes_that_start_together_sign_with_one_key(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"

    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda _: load_or_make(path).public_key, range(16)))

    assert set(made) == {load_or_make(path).public_key}
    assert [p.name for p in tmp_path.iterdir()] == ["key.pem"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
