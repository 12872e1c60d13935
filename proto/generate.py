"""Make everything that follows from the contracts in this folder.

``python proto/generate.py`` writes; ``--check`` names what is stale (or expired) and exits 1.

What goes in: ``metrics.yaml``, ``holdfast/v1/telemetry.proto`` (outside its column block),
the Avro schemas and the JSON Schemas. What comes out: the column block of ``telemetry.proto``,
``wire/pb/`` (code and package data), ``docs/metrics.md`` and ``deploy/crd/``.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from crd import CRDS, resource_definition
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

ROOT: Final = Path(__file__).resolve().parent.parent
BLOCK_START: Final = "  // columns of proto/metrics.yaml\n"
BLOCK_END: Final = "  // end of columns\n"
FIELD_MIN: Final = 20  # lower numbers belong to the hand-written part of UploadRequest
FIELD_MAX: Final = 18_999  # protobuf reserves 19000 to 19999
TYPES: Final = ("distribution", "category", "rate")
WIRES: Final = ("float", "fixed32")
SENSITIVITIES: Final = ("technical", "interaction")
REQUIRED: Final = (
    "column", "field", "wire", "type", "unit", "bounds",
    "sensitivity", "description", "question", "owner", "expires",
)  # fmt: skip
METRIC_FIELDS: Final = (
    "column", "field", "wire", "type", "unit", "low", "high",
    "sensitivity", "owner", "expires", "description", "question",
)  # fmt: skip
SCHEMAS: Final = ("model_release", "policy", "rate_card", "release_config")
AVRO: Final = ("segment.avsc", "context.avsc")

Entry = Mapping[str, Any]  # Any: a value as YAML or JSON has it, checked here


class ContractError(Exception):
    """The contracts contradict themselves; every mistake is in the message, one a line."""


# -- the registry ------------------------------------------------------------------------------


def read_metrics(text: str, *, today: date | None) -> dict[str, Entry]:
    """The registry by metric name, in file order. `today` given: an expired metric is a mistake.

    Raises
    ------
    ContractError
        With every mistake found.
    """
    try:
        metrics = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ContractError(f"metrics.yaml: {error}") from error
    if not isinstance(metrics, dict) or not metrics:
        raise ContractError("metrics.yaml: accepted is a mapping of metric names")
    mistakes = [m for name, entry in metrics.items() for m in _mistakes(name, entry, today)]
    if not mistakes:
        for key in ("column", "field"):
            mistakes += _duplicates(metrics, key)
    if mistakes:
        raise ContractError("\n".join(f"metrics.yaml: {m}" for m in mistakes))
    return metrics


def _duplicates(metrics: Mapping[str, Entry], key: str) -> Iterable[str]:
    first: dict[Any, str] = {}
    for name, entry in metrics.items():
        if entry[key] in first:
            yield f"{name}: {key} {entry[key]} is already that of {first[entry[key]]}"
        first.setdefault(entry[key], name)


def _mistakes(name: str, entry: object, today: date | None) -> Iterable[str]:
    if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", str(name)):
        yield f"{name}: a metric name is lower-case words joined by dots"
    if not isinstance(entry, dict):
        yield f"{name}: accepted is a mapping with {', '.join(REQUIRED)}"
        return
    missing = [key for key in REQUIRED if entry.get(key) in (None, "", [])]
    unknown = [str(key) for key in entry if key not in REQUIRED]
    yield from (f"{name}: {key} is missing" for key in missing)
    yield from (f"{name}: {key} is unknown" for key in unknown)
    if not missing:
        yield from _wrong_values(name, entry, today)


def _wrong_values(name: str, entry: Entry, today: date | None) -> Iterable[str]:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(entry["column"])):
        yield f"{name}: column {entry['column']!r} is not a lower-case identifier"
    if not isinstance(entry["field"], int) or not FIELD_MIN <= entry["field"] <= FIELD_MAX:
        yield f"{name}: field must be an integer from {FIELD_MIN} to {FIELD_MAX}"
    closed = (("wire", WIRES), ("type", TYPES), ("sensitivity", SENSITIVITIES))
    for key, accepted in closed:
        if entry[key] not in accepted:
            yield f"{name}: {key} {entry[key]!r} is none of {', '.join(accepted)}"
    if not _are_bounds(entry["bounds"]):
        yield f"{name}: bounds must be two numbers, 0 <= low < high"
    if not isinstance(entry["expires"], date):
        yield f"{name}: expires must be a date, YYYY-MM-DD"
    elif today is not None and entry["expires"] < today:
        yield f"{name}: expired on {entry['expires']}; remove it or let its owner renew it"


def _are_bounds(bounds: object) -> bool:
    return (
        isinstance(bounds, list)
        and len(bounds) == 2  # noqa: PLR2004 - low and high
        and all(isinstance(b, int | float) for b in bounds)
        and 0 <= bounds[0] < bounds[1]
    )


def registry_module(metrics: Mapping[str, Entry]) -> str:
    """Source of ``wire/pb/registry.py``."""
    lines = [
        '"""The metric registry as values. Made by proto/generate.py from proto/metrics.yaml."""',
        "",
        "from dataclasses import dataclass",
        "from typing import Final, Literal",
        "",
        "",
        "@dataclass(frozen=True, slots=True)",
        "class Metric:",
        '    """One registered metric; bounds in its unit, inclusive."""',
        "",
        "    name: str",
        "    column: str",
        "    field: int",
        f"    wire: Literal{_literal(WIRES)}",
        f"    type: Literal{_literal(TYPES)}",
        "    unit: str",
        "    low: float",
        "    high: float",
        f"    sensitivity: Literal{_literal(SENSITIVITIES)}",
        "    owner: str",
        "    expires: str",
        "    description: str",
        "    question: str",
        "",
        "",
        "METRICS: Final[tuple[Metric, ...]] = (",
    ]
    for name, entry in metrics.items():
        lines.append("    Metric(")
        lines.append(f"        name={_quoted(name)},")
        low, high = map(float, entry["bounds"])
        values = {**entry, "low": low, "high": high, "expires": entry["expires"].isoformat()}
        lines += [f"        {key}={_quoted(values[key])}," for key in METRIC_FIELDS]
        lines.append("    ),")
    return "\n".join([*lines, ")", ""])


def _literal(words: Iterable[str]) -> str:
    return "[" + ", ".join(_quoted(w) for w in words) + "]"


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def metrics_page(metrics: Mapping[str, Entry]) -> str:
    """The page ``docs/metrics.md``."""
    lines = [
        "# Metrics",
        "",
        "What phones may report. Made by `python proto/generate.py` from `proto/metrics.yaml`;",
        "a value outside its bounds is refused with code `metric_out_of_bounds`.",
        "",
        "| metric | column | type | unit | bounds | sensitivity | expires | owner |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, e in metrics.items():
        low, high = e["bounds"]
        cells = (
            f"`{name}`", f"`{e['column']}`", e["type"], e["unit"], f"{low} to {high}",
            e["sensitivity"], e["expires"].isoformat(), e["owner"],
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "## What each is for", ""]
    lines += [f"* `{n}`: {e['question']} {e['description']}" for n, e in metrics.items()]
    return "\n".join([*lines, ""])


# -- protobuf ----------------------------------------------------------------------------------


def with_columns(proto: str, metrics: Mapping[str, Entry]) -> str:
    """`proto` with its column block made anew from the registry."""
    if proto.count(BLOCK_START) != 1 or proto.count(BLOCK_END) != 1:
        raise ContractError("telemetry.proto: the comments around the column block are missing")
    head, rest = proto.split(BLOCK_START)
    _, tail = rest.split(BLOCK_END)
    fields = [
        f"  repeated {e['wire']} {e['column']} = {e['field']}; // {name}, unit {e['unit']}\n"
        for name, e in metrics.items()
    ]
    return head + BLOCK_START + "".join(fields) + BLOCK_END + tail


def private_proto(proto: str) -> str:
    """The same UploadRequest for the server's fast path: packed columns and messages as bytes.

    Packed fixed-width fields and nested messages have the wire type of ``bytes``, so the fields
    keep their numbers. Another package, because one process may not know a name twice.
    """
    body = re.search(r"message UploadRequest \{\n(.*?)\n\}", proto, re.DOTALL)
    if body is None:
        raise ContractError("telemetry.proto: message UploadRequest is missing")
    fields = []
    for line in body[1].splitlines():
        declared = re.match(r"\s*(repeated )?(\w+) (\w+) = (\d+);", line)
        if declared:
            fields.append(_private_field(*declared.groups()))
        elif line.strip() and not line.strip().startswith("//"):
            raise ContractError(f"telemetry.proto: cannot read {line.strip()!r}")
    return "\n".join(
        [
            "// The server's view of holdfast.v1.UploadRequest: columns as bytes, same numbers.",
            "// Made by proto/generate.py from proto/holdfast/v1/telemetry.proto. Never published.",
            'syntax = "proto3";',
            "",
            "package holdfast.private;",
            "",
            "message UploadRequest {",
            *fields,
            "}",
            "",
        ]
    )


def _private_field(repeated: str | None, kind: str, name: str, number: str) -> str:
    if repeated and kind in WIRES:
        return f"  optional bytes {name} = {number};"
    if kind[0].isupper():  # a message, left undecoded
        return f"  {repeated or ''}bytes {name} = {number};"
    return f"  {repeated or ''}{kind} {name} = {number};"


def compiled(telemetry: str, private: str) -> dict[str, bytes]:
    """Output of protoc by path; names on the wire stay ``holdfast.v1``, imports ``wire.pb``."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for sub in ("in", "out"):
            (root / sub).mkdir()
        (root / "in/telemetry.proto").write_text(telemetry)
        (root / "in/private.proto").write_text(private)
        protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-Iwire/pb={root}/in"]
        code = [f"--python_out={root}/out", f"--pyi_out={root}/out"]
        service = f"--grpc_python_out={root}/out"
        for argv in (
            [*protoc, *code, service, "wire/pb/telemetry.proto"],
            [*protoc, *code, "wire/pb/private.proto"],
        ):
            ended = subprocess.run(argv, capture_output=True, text=True, check=False)
            if ended.returncode:
                raise ContractError(ended.stderr.strip())
        made = sorted((root / "out").rglob("*.py*"))
        return {p.relative_to(root / "out").as_posix(): p.read_bytes() for p in made}


# -- all of it ---------------------------------------------------------------------------------


def outputs(root: Path, *, today: date | None) -> dict[str, bytes]:
    """Every generated file's path below `root` and what it must hold."""
    contracts = root / "proto"
    metrics = read_metrics((contracts / "metrics.yaml").read_text(), today=today)
    telemetry = with_columns((contracts / "holdfast/v1/telemetry.proto").read_text(), metrics)
    private = private_proto(telemetry)
    schemas = {name: (contracts / f"{name}.schema.json").read_bytes() for name in SCHEMAS}
    copies = {f"wire/pb/{name}.schema.json": body for name, body in schemas.items()}
    copies |= {f"wire/pb/{name}": (contracts / name).read_bytes() for name in AVRO}
    definitions = {
        f"deploy/crd/{CRDS[name][0]}.holdfast.dev.yaml": resource_definition(
            name, json.loads(schemas[name])
        )
        for name in CRDS
    }
    return {
        "proto/holdfast/v1/telemetry.proto": telemetry.encode(),
        "wire/pb/private.proto": private.encode(),
        "wire/pb/registry.py": registry_module(metrics).encode(),
        "docs/metrics.md": metrics_page(metrics).encode(),
        **copies,
        **definitions,
        **compiled(telemetry, private),
    }


def stale(root: Path, made: Mapping[str, bytes]) -> list[str]:
    """Paths whose content is not what it must be, sorted."""
    return sorted(
        path
        for path, content in made.items()
        if not (root / path).is_file() or (root / path).read_bytes() != content
    )


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(description="Make code and docs of the contracts.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    check: bool = parser.parse_args().check
    # The one place that reads the date: an expired metric must break the build, not the service.
    today = datetime.now(UTC).date() if check else None  # noqa: TID251
    try:
        made = outputs(ROOT, today=today)
    except ContractError as error:
        print(error, file=sys.stderr)
        return 1
    paths = stale(ROOT, made)
    for path in paths:
        print(f"stale: {path}" if check else f"wrote: {path}")
        if not check:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_bytes(made[path])
    return 1 if check and paths else 0


if __name__ == "__main__":
    raise SystemExit(main())
