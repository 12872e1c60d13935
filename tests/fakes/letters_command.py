"""``holdfast dead-letters`` as a process of its own."""

import json
import subprocess
import sys

from holdfast.folder import Folder


def dead_letters(folder: Folder, *arguments: str, code: int = 0) -> dict[str, object]:
    """What ``holdfast dead-letters`` answers; nothing if it said only what is wrong."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "holdfast", "dead-letters", *arguments),
            *("--json", "--dir", str(folder.root)),
        ],
        capture_output=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    return found
