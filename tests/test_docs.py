"""What the docs say to type works: every sh and python block, in order, in one shell.

A block that cannot run here says so in a comment before it: ``<!-- not run: why -->``. The ports
are replaced by free ones, and the demo's fleet by a small one; nothing else is.
"""

import ast
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from holdfast.config import PREFIX, Settings
from tests.house import ROOT, texts

ORDER = ("README.md", "docs/sdk.md", "docs/runbook.md", "docs/configuration.md", "docs/commands.md")
"""README starts the node that the others ask."""
REPLACED = {
    "make demo": "holdfast demo --fast",
    ". .venv/bin/activate": "true",  # PATH has it already
}
SECONDS_MAX = 240
_BLOCK = re.compile(r"(<!-- not run: [^>]+-->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: where its first line stands, its language, its text."""

    path: str
    line: int
    language: str
    text: str
    runs: bool


def blocks_of(path: str, text: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start(3)) + 1
        runs = found[2] in ("sh", "python") and not found[1]
        yield Block(path, line, found[2], found[3], runs)


def all_blocks() -> list[Block]:
    return [b for path, text in texts(".md").items() for b in blocks_of(path, text)]


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(s.getsockname()[1]) for s in held]
    for listener in held:
        listener.close()
    return ports


def script_of(blocks: list[Block], ports: dict[str, int]) -> str:
    parts = ["set -euo pipefail"]
    for block in blocks:
        body = block.text
        for old, new in REPLACED.items():
            body = re.sub(rf"^{re.escape(old)}$", new, body, flags=re.MULTILINE)
        for old, port in ports.items():
            body = re.sub(rf"\b{old}\b", str(port), body)
        if block.language == "python":
            body = f"python - <<'PYTHON'\n{body}PYTHON\n"
        parts.append(f"printf '\\n### {block.path}:{block.line}\\n'\n{body}")
    return "\n".join(parts)


@pytest.fixture(scope="module")
def transcript(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Everything the blocks printed. The group ends with the shell, its node included."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("proto", "deploy"):
        shutil.copytree(ROOT / name, folder / name)
    numbers = ("8080", "8081", "8123")
    ports = dict(zip(numbers, free_ports(len(numbers)), strict=True))
    by_path = {path: [b for b in all_blocks() if b.path == path and b.runs] for path in ORDER}
    script = script_of([b for path in ORDER for b in by_path[path]], ports)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "HOLDFAST_HTTP_PORT": str(ports["8080"]),
        "HOLDFAST_GRPC_PORT": str(ports["8081"]),
        "HOLDFAST_STORE_PORT": str(ports["8123"]),
    }
    with (folder / "transcript.txt").open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = shell.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            end_group(shell.pid)
    said = (folder / "transcript.txt").read_text()
    assert code == 0, f"exit code {code} after:\n{said[-4000:]}"
    return said


def end_group(group: int) -> None:
    """Ask what the shell started to stop; what has stopped is no matter."""
    try:
        os.killpg(group, signal.SIGTERM)
    except ProcessLookupError:
        return


def part(transcript: str, path: str) -> str:
    """What the blocks of one document printed."""
    pieces = re.split(r"^### ([\w./-]+):\d+$", transcript, flags=re.MULTILINE)
    return "".join(
        said for name, said in zip(pieces[1::2], pieces[2::2], strict=True) if name == path
    )


def test_every_document_with_commands_is_run_or_says_why_not() -> None:
    forgotten = {b.path for b in all_blocks() if b.runs} - set(ORDER)

    assert forgotten == set()


def test_readme_leads_to_the_commit_the_message_the_view_and_a_receipt(transcript: str) -> None:
    said = part(transcript, "README.md")

    for words in (
        "rollback: scene-labels 3.2.0 to 3.1.0",  # what the demo prints, and the commit
        "Holdfast-Verdict: ",
        "breach: scene-labels 3.2.0 against 3.1.0",  # explain
        "reached (E = ",
        "releases/camera-scene-labels.yaml | ",  # git log --stat
        '"text": "Rolled back: scene-labels 3.2.0 to 3.1.0"',  # Slack
        '{"status":"ready"}',
        "p95_ms",  # curl on the ClickHouse port
        "'3.2.0', '3.1.0'",  # clickhouse_connect
        '"received_rows":2,"accepted_rows":1',  # the receipt
        '"code":"metric_out_of_bounds","field":"latency_ms","rows":1,"accepted":"0 to 600000 ms"',
    ):
        assert words in said, words


def test_the_other_documents_show_what_they_say(transcript: str) -> None:
    assert '"accepted":true' in part(transcript, "docs/sdk.md")
    assert "holdfast-signature: ed25519=" in part(transcript, "docs/sdk.md")
    assert "scene-labels" in part(transcript, "docs/runbook.md")
    assert re.search(r"HOLDFAST_TICK_S +0\.5", part(transcript, "docs/configuration.md"))
    assert "camera/scenes: stable 1.0.0; 1.1.0 on 5% of phones" in part(
        transcript, "docs/commands.md"
    )
    assert "dry run" in part(transcript, "docs/commands.md")


def test_python_in_the_docs_is_python() -> None:
    for block in all_blocks():
        if block.language == "python":
            ast.parse(block.text, f"{block.path}:{block.line}")


def test_readme_begins_with_one_sentence_and_the_road() -> None:
    title, sentence, picture, *_ = (ROOT / "README.md").read_text().split("\n\n")

    assert title == "# Holdfast"
    assert sentence.count(". ") == 0
    assert sentence.endswith(".")
    assert picture.startswith("```text")
    assert not re.search(r"!\[|[\U0001F300-\U0001FAFF]", (ROOT / "README.md").read_text())


def test_the_platforms_of_the_readme_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    text = (ROOT / "README.md").read_text().partition("## Platforms")[2].partition("## ")[0]

    assert project["requires-python"] == f">={versions[0]}"
    assert [v for v in versions if v not in text] == []


def test_compose_runs_the_image_of_this_tree_with_its_state_in_a_volume() -> None:
    node = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["holdfast"]

    assert (ROOT / node["build"]["dockerfile"]).is_file()
    assert "HOLDFAST_GITOPS_URL" in node["environment"]
    assert {"127.0.0.1:8080:8080", "127.0.0.1:8081:8081", "127.0.0.1:8123:8123"} == set(
        node["ports"]
    )
    assert node["volumes"] == ["node:/data"]


def test_the_image_is_locked_unprivileged_and_tells_its_health() -> None:
    lines = (ROOT / "deploy/Dockerfile").read_text()
    user, ready = lines.index("USER holdfast"), lines.index("HEALTHCHECK")

    assert "uv sync --frozen --no-dev" in lines
    assert "/readyz" in lines[ready:]
    assert user < lines.index('CMD ["holdfast", "up"]')
    assert "HOLDFAST_DIR=/data" in lines


SCALE = ("ingest-0", "ingest-1", "summarise-0", "summarise-1", "summarise-2", "decide", "act")


@pytest.fixture(scope="module")
def compose_checker(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that judges a compose file: Docker's own, or the parser that it is built on."""
    if shutil.which("docker"):
        has = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if has.returncode == 0:
            return ["docker", "compose", "--profile", "*", "config", "--file"]
    if shutil.which("go") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("neither docker compose nor Go, to check the compose file")
        pytest.skip("neither docker compose nor Go")
    kept = Path.home() / ".cache" / "holdfast" / "compose-go-2.16.2"
    if not (kept / "cmd").exists():
        made = tmp_path_factory.mktemp("go")
        subprocess.run(
            ["go", "install", "github.com/compose-spec/compose-go/v2/cmd@v2.16.2"],
            env={**os.environ, "GOBIN": str(made)},
            capture_output=True,
            check=True,
        )
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(made / "cmd", kept / "partial")
        (kept / "partial").replace(kept / "cmd")  # whole or not at all
    return [str(kept / "cmd")]


def checked(command: list[str], file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)


def test_the_compose_file_is_what_the_specification_says(
    compose_checker: list[str], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("services: {holdfast: {imagee: x}}")

    # filled in here, since the parser's own command does not look into the environment
    filled = tmp_path / "compose.yaml"
    filled.write_text(re.sub(r"\$\{\w+:\?[^}]+\}", "secret", (ROOT / "compose.yaml").read_text()))

    good = checked(compose_checker, filled)
    unset = checked(compose_checker, ROOT / "compose.yaml")

    assert good.returncode == 0, good.stderr
    assert unset.returncode != 0
    assert "HOLDFAST_STORE_PASSWORD" in unset.stderr
    assert checked(compose_checker, wrong).returncode != 0


def test_compose_scales_every_part_with_names_that_last() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    started = {name: services[name] for name in SCALE}

    assert all(service["profiles"] == ["scale"] for service in started.values())
    assert services["holdfast"]["profiles"] == ["demo"]
    environments = [service["environment"] for service in started.values()]
    names = [e.get("HOLDFAST_WORKER_ID") or e["HOLDFAST_WRITER"] for e in environments]
    assert len(set(names)) == len(SCALE)
    assert {e["HOLDFAST_PARTITIONS"] for e in environments} == {"${HOLDFAST_PARTITIONS:-12}"}
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert {name for e in environments for name in e} <= known
