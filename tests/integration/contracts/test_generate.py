"""`proto/generate.py`: up to date here, and it refuses a registry that contradicts itself."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.fakes.gitops import POLICY, RATE_CARD, RELEASE
from wire.pb import private_pb2, telemetry_pb2
from wire.pb.registry import METRICS

ROOT = Path(__file__).parents[3]


def generate(root: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "proto/generate.py"), *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    return tmp_path


def change(root: Path, old: str, new: str) -> None:
    registry = root / "proto/metrics.yaml"
    text = registry.read_text()
    assert old in text
    registry.write_text(text.replace(old, new, 1))


def test_what_is_committed_is_what_the_contracts_say() -> None:
    checked = generate(ROOT, "--check")

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_new_metric_needs_no_hand_written_python_and_stale_files_are_named(copy: Path) -> None:
    assert generate(copy).returncode == 0
    assert generate(copy, "--check").returncode == 0
    entry = (copy / "proto/metrics.yaml").read_text().split("inference.energy:")[1]
    body = entry.split("network.sent:")[0].replace("energy_mj", "cpu_ms").replace("21", "28")
    with (copy / "proto/metrics.yaml").open("a") as registry:
        registry.write("inference.cpu:" + body)

    checked = generate(copy, "--check")

    assert checked.returncode == 1
    named = checked.stdout.split()
    for path in ("wire/pb/registry.py", "wire/pb/private_pb2.py", "docs/metrics.md"):
        assert path in named
    assert generate(copy).returncode == 0
    assert "float cpu_ms = 28;" in (copy / "proto/holdfast/v1/telemetry.proto").read_text()
    assert "optional bytes cpu_ms = 28;" in (copy / "wire/pb/private.proto").read_text()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("network.sent:", "inference.energy:", "duplicate key"),
        ("column: energy_mj", "column: latency_ms", "column latency_ms is already"),
        ("field: 21", "field: 20", "field 20 is already"),
        ("field: 21", "field: 4", "from 20"),
        ("  unit: ms\n", "", "unit is missing"),
        ("  bounds: [0, 600000]\n", "", "bounds is missing"),
        ("bounds: [0, 600000]", "bounds: [9, 3]", "0 <= low < high"),
        ("  sensitivity: technical\n", "", "sensitivity is missing"),
        ("  sensitivity: technical\n", "  sensitivity: personal\n", "none of technical"),
        ("  owner: on-device-ml@holdfast.example\n", "", "owner is missing"),
        ("  expires: 2028-06-30\n", "", "expires is missing"),
    ],
)
def test_a_contradiction_is_refused_and_nothing_is_written(
    copy: Path, old: str, new: str, named: str
) -> None:
    change(copy, old, new)

    refused = generate(copy)

    assert refused.returncode == 1
    assert named in refused.stderr
    assert not (copy / "wire").exists()


def test_an_expired_metric_breaks_the_check_and_not_the_generation(copy: Path) -> None:
    change(copy, "expires: 2028-06-30", "expires: 2020-06-30")

    assert generate(copy).returncode == 0
    checked = generate(copy, "--check")

    assert checked.returncode == 1
    assert "inference.latency: expired on 2020-06-30" in checked.stderr


def test_the_private_message_sees_the_bytes_of_the_public_one() -> None:
    public = telemetry_pb2.UploadRequest(n=2, latency_ms=[1.5, 2.5], unit_days=[{"day": 3}])

    private = private_pb2.UploadRequest.FromString(public.SerializeToString())

    assert private.latency_ms == b"\x00\x00\xc0\x3f\x00\x00\x20\x40"
    assert not private.HasField("energy_mj")
    assert len(private.unit_days) == 1
    columns = telemetry_pb2.UploadRequest.DESCRIPTOR.fields_by_name
    assert all(columns[m.column].number == m.field for m in METRICS)


# -- Kubernetes -----------------------------------------------------------------------------------

CRDS = sorted((ROOT / "deploy/crd").glob("*.yaml"))
FORBIDDEN = {
    *("$schema", "$id", "$ref", "const", "definitions", "dependencies", "dependentRequired"),
    *("patternProperties", "unevaluatedProperties", "uniqueItems", "examples", "id"),
}


def nodes(schema: Mapping[str, object], path: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    yield path, schema
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    inner = {**properties, "[]": schema.get("items"), "{}": schema.get("additionalProperties")}
    for name, child in inner.items():
        if isinstance(child, dict):
            yield from nodes(child, f"{path}.{name}")


def openapi(path: Path) -> dict[str, object]:
    (version,) = yaml.safe_load(path.read_text())["spec"]["versions"]
    schema: dict[str, object] = version["schema"]["openAPIV3Schema"]
    return schema


@pytest.mark.parametrize("path", CRDS, ids=lambda p: p.stem)
def test_a_definition_is_structural_as_kubernetes_demands(path: Path) -> None:
    for where, node in nodes(openapi(path), "schema"):
        assert isinstance(node.get("type"), str), where
        assert not FORBIDDEN & node.keys(), where
        assert node.get("additionalProperties") is not False, where
        assert not ("properties" in node and "additionalProperties" in node), where
        assert isinstance(node.get("exclusiveMinimum", True), bool), where


@pytest.mark.parametrize("text", [RELEASE, POLICY, RATE_CARD], ids=["release", "policy", "rates"])
def test_a_manifest_that_holdfast_reads_is_one_that_the_cluster_takes(text: str) -> None:
    manifest = json.loads(json.dumps(yaml.safe_load(text), default=lambda t: f"{t:%FT%TZ}"))
    (definition,) = [d for d in CRDS if manifest["kind"] in d.read_text()]
    schema = openapi(definition)

    jsonschema.Draft4Validator(schema).validate(manifest)

    names = yaml.safe_load(definition.read_text())["spec"]["names"]
    assert names["kind"] == manifest["kind"]
    assert definition.name == f"{names['plural']}.holdfast.dev.yaml"
