"""House rules that a machine can hold. A failure names the touch that is missing."""

import ast
import re
import subprocess
import sys

import pytest
import typer
import yaml

from analytics.detectors import DETECTORS
from holdfast.cli import app
from holdfast.config import PREFIX, Settings
from tests.error_codes import UnreadableError, codes_of
from tests.house import ROOT, named, product, source, texts, tracked
from wire.pb.registry import METRICS

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
FILE_BYTES_MAX = 200_000
LARGE_ALLOWED = {"uv.lock"}
BANNED = {"data", "info", "manager", "handler", "helper", "helpers", "util", "utils", "common"} | {
    "misc",
    "engine",
    "smart",
}
# what the environment, the wire contract and Python's own protocols call so
NAMES_FORCED = {
    "data_received",  # asyncio.Protocol
    "data_folder",  # HOLDFAST_DATA, the folder of data sets
    "retry_info_s",  # google.rpc.RetryInfo
    "timeout_keep_alive_handler",  # uvicorn
}
MACHINE_WORDS = re.compile(
    r"/work/|/root/|/tmp/bash|\bclaude\b|\banthropic\b|\bsubagent\b", re.IGNORECASE
)


def test_every_module_says_first_what_it_is() -> None:
    without = [p for p, tree in source().items() if tree.body and not ast.get_docstring(tree)]

    assert without == []


def test_no_module_is_too_long_to_be_read_at_once() -> None:
    lines = {p: len((ROOT / p).read_text().splitlines()) for p in source()}

    assert {p: n for p, n in lines.items() if n > MODULE_LINES_MAX} == {}


def test_no_function_is_too_long_to_be_read_at_once() -> None:
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in source().items()
        for node in named(tree)
        if not isinstance(node, ast.ClassDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]

    assert long == []


def words_of(name: str) -> set[str]:
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_").split("_"))


def test_modules_classes_and_functions_have_names_of_the_field() -> None:
    names = {path: path.removesuffix(".py").split("/")[-1] for path in product()}
    found = [path for path, name in names.items() if words_of(name) & BANNED]
    found += [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in product().items()
        for node in named(tree)
        if words_of(node.name) & BANNED and node.name not in NAMES_FORCED
    ]

    assert found == []


def test_packages_have_a_docstring_and_nothing_else() -> None:
    found = {
        path: len(tree.body)
        for path, tree in product().items()
        if path.endswith("__init__.py") and path != "analytics/detectors/__init__.py"
    }

    assert {path: n for path, n in found.items() if n > 1} == {}


@pytest.mark.parametrize("make", DETECTORS, ids=lambda make: make.__name__)
def test_every_detector_has_a_card_and_stands_in_the_contract(make: type) -> None:
    module = make.__module__.rsplit(".", 1)[-1]

    assert (ROOT / f"docs/detectors/{module}.md").is_file()
    assert f"Case({make.__name__}," in (ROOT / "tests/contract/test_detectors.py").read_text()


def test_every_detector_module_is_registered() -> None:
    modules = {make.__module__.rsplit(".", 1)[-1] for make in DETECTORS}
    files = {p.stem for p in (ROOT / "analytics/detectors").glob("*.py")}

    assert files - {"__init__", "base"} == modules


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    rows = dict(re.findall(r"^\| `(HOLDFAST_[A-Z_]+)` \| (.+?) \|", text, re.MULTILINE))

    assert list(rows) == [PREFIX + name.upper() for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        default = getattr(field.default, "get_secret_value", lambda d=field.default: d)()
        shown = "(none)" if str(default) == "" else f"`{default}`"
        assert rows[PREFIX + name.upper()] == shown, name


def commands() -> set[str]:
    def walk(group: typer.Typer, prefix: str) -> set[str]:
        found = set()
        for command in group.registered_commands:
            assert command.callback is not None
            found.add(prefix + (command.name or command.callback.__name__.replace("_", "-")))
        for inner in group.registered_groups:
            assert inner.typer_instance is not None
            name = inner.name or inner.typer_instance.info.name
            found |= walk(inner.typer_instance, f"{prefix}{name} ")
        return found

    return walk(app, "")


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    text = (ROOT / "docs/commands.md").read_text()
    rows = re.findall(r"^\| `holdfast ([a-z -]+?)(?: [A-Z_]+)?` \|", text, re.MULTILINE)

    assert set(rows) == commands()


def documented_codes() -> list[str]:
    text = (ROOT / "docs/errors.md").read_text()
    return re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.MULTILINE)


def test_every_error_code_is_documented_and_no_other() -> None:
    try:
        found = codes_of({p: t for p, t in product().items() if p.split("/")[0] != "proto"})
    except UnreadableError as error:
        pytest.fail(str(error))

    documented = set(documented_codes())
    assert {c: where for c, where in found.items() if c not in documented} == {}
    assert documented - set(found) == set()


def test_an_error_code_is_snake_case_and_documented_once() -> None:
    codes = documented_codes()

    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", code) for code in codes)


def test_every_markdown_file_has_one_title_and_it_comes_first() -> None:
    wrong = {}
    for path, text in texts(".md").items():
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        titles = re.findall(r"^# .+$", prose, re.MULTILINE)
        if len(titles) != 1 or not text.startswith("# "):
            wrong[path] = titles

    assert wrong == {}


def test_links_between_documents_lead_somewhere() -> None:
    dead = []
    for path, text in texts(".md").items():
        links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", text)
        dead += [f"{path}: {x}" for x in links if not ((ROOT / path).parent / x).exists()]

    assert dead == []


def test_links_to_headings_lead_to_a_heading() -> None:
    def anchors(text: str) -> set[str]:
        heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}

    dead = []
    for path, text in texts(".md").items():
        for link, heading in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]*)\)", text):
            target = (ROOT / path).parent / link if link else ROOT / path
            if heading not in anchors(target.read_text()):
                dead.append(f"{path}: {link}#{heading}")

    assert dead == []


def test_a_decision_has_its_five_parts() -> None:
    parts = ["Situation", "Decision", "Why not the others", "Consequences"]
    parts.append("How we would notice that it was wrong")
    decisions = sorted((ROOT / "docs/decisions").glob("*.md"))

    assert [int(d.name[:4]) for d in decisions] == list(range(1, len(decisions) + 1))
    for decision in decisions:
        assert re.findall(r"^## (.+)$", decision.read_text(), re.MULTILINE) == parts, decision.name


def test_no_file_is_larger_than_a_reader_can_bear() -> None:
    sizes = {p: (ROOT / p).stat().st_size for p in tracked() if p not in LARGE_ALLOWED}

    assert {p: size for p, size in sizes.items() if size > FILE_BYTES_MAX} == {}


def test_what_is_generated_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "proto/generate.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_file_speaks_of_the_machine_that_it_was_written_on() -> None:
    found = []
    for path in tracked():
        if path in {"tests/test_tidy.py", "uv.lock"}:
            continue
        text = (ROOT / path).read_bytes().decode("utf-8", "replace")
        found += [f"{path}: {m[0]}" for m in MACHINE_WORDS.finditer(text)]

    assert found == []


def test_there_are_no_reports_and_no_plans_in_the_tree() -> None:
    top = {p for p in tracked() if "/" not in p and p.endswith((".md", ".txt", ".rst"))}

    assert top == {"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
    assert not (ROOT / "docs/plans").exists()


def test_the_changelog_has_a_place_for_what_comes() -> None:
    assert re.search(r"^## \[Unreleased\]$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_every_metric_is_explained_to_people() -> None:
    text = (ROOT / "docs/metrics.md").read_text()

    assert [m.name for m in METRICS if f"* `{m.name}`:" not in text] == []


def test_hooks_run_the_versions_of_the_lock() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]

    assert [repo["repo"] for repo in hooks] == ["local"]
    assert all(h["entry"].startswith(".venv/bin/") for h in hooks[0]["hooks"])
