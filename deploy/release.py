"""What a release is made of: wheel, sdist, SBOM and provenance in dist/, from the commit alone.

The tree of HEAD is taken out of Git into an empty folder and built there, so what lies uncommitted
beside it does not matter; every time in the files is the commit's. Two runs on one commit with one
version of uv give the same bytes. The statement is not signed: whoever publishes signs it.
"""

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD_TYPE = "https://holdfast.dev/release/v1"
"""Names the recipe of this file, for who compares statements; nothing is fetched from it."""


def run(*command: str, cwd: Path = ROOT, **variables: str) -> bytes:
    """Output of a command that must succeed; its own words go to stderr."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, check=True
    ).stdout


def digest(content: bytes) -> str:
    """SHA-256, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def canonical(document: dict[str, Any]) -> bytes:
    """JSON that is the same bytes for the same document."""
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def bill_of(tree: Path, uv: str, epoch: int) -> bytes:
    """Every locked package that an installation may get, as CycloneDX, with hashes of its files.

    uv writes the time of the run and a random serial number; here both come from the commit.
    """
    command = ["export", "--frozen", "--no-dev", "--quiet", "--format", "cyclonedx1.5"]
    bill = json.loads(run(uv, *command, "--preview-features", "sbom-export", cwd=tree))
    bill["metadata"]["timestamp"] = datetime.fromtimestamp(epoch, UTC).isoformat()
    del bill["serialNumber"]
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, canonical(bill).decode()).urn
    return canonical(bill)


def statement(files: dict[str, bytes], commit: str, epoch: int, lock: bytes, uv: str) -> bytes:
    """An in-toto statement with the SLSA provenance predicate over the files of the release."""
    source = {"name": "source", "digest": {"gitCommit": commit}}
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {"source": source, "command": "make release"},
        "internalParameters": {"SOURCE_DATE_EPOCH": epoch},
        "resolvedDependencies": [source, {"name": "uv.lock", "digest": {"sha256": digest(lock)}}],
    }
    builder = {
        "id": f"{BUILD_TYPE}#make-release",
        "version": {"uv": uv, "python": platform.python_version()},
    }
    subjects = [{"name": n, "digest": {"sha256": digest(files[n])}} for n in sorted(files)]
    return canonical(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subjects,
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {"buildDefinition": definition, "runDetails": {"builder": builder}},
        }
    )


def release(out: Path, uv: str) -> dict[str, bytes]:
    """Build HEAD into `out`, which is made; files of other versions that lie there are left."""
    commit = run("git", "rev-parse", "HEAD").decode().strip()
    epoch = int(run("git", "log", "-1", "--format=%ct", commit))
    with tempfile.TemporaryDirectory(prefix="holdfast-release-") as folder:
        tree, made = Path(folder) / "tree", Path(folder) / "made"
        with tarfile.open(fileobj=io.BytesIO(run("git", "archive", commit))) as archive:
            archive.extractall(tree, filter="data")
        run(uv, "build", "--quiet", "--out-dir", str(made), cwd=tree, SOURCE_DATE_EPOCH=str(epoch))
        files = {p.name: p.read_bytes() for p in made.iterdir() if p.suffix in {".whl", ".gz"}}
        wheel = next(name for name in files if name.endswith(".whl"))
        stem = "-".join(wheel.split("-")[:2])
        files[f"{stem}.cdx.json"] = bill_of(tree, uv, epoch)
        version = run(uv, "--version").decode().split()[1]
        lock = (tree / "uv.lock").read_bytes()
        files[f"{stem}.intoto.json"] = statement(files, commit, epoch, lock, version)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / name).write_bytes(content)
    return files


if __name__ == "__main__":
    # the whole path, since the build runs in another folder
    builder_uv = Path(shutil.which(sys.argv[2]) or sys.exit(f"no program {sys.argv[2]}")).absolute()
    for name, content in sorted(release(Path(sys.argv[1]), str(builder_uv)).items()):
        print(f"{digest(content)}  {name}")
