"""Uploads over HTTP as a phone posts them, good and spoilt."""

import json

import httpx

from tests.fakes.ingest_world import APP, Running, clock_ms, upload
from wire.pb import telemetry_pb2

Upload = telemetry_pb2.UploadRequest
PROTOBUF = "application/x-protobuf"
CLIENT = httpx.Client(trust_env=False, verify=False, timeout=60)  # noqa: S501  # loopback


def post(
    server: Running, body: bytes | Upload, path: str = "/v1/telemetry", **headers: str
) -> httpx.Response:
    content = body.SerializeToString() if isinstance(body, Upload) else body
    base = {"authorization": f"Bearer {server.key}", "content-type": PROTOBUF}
    sent = base | {name.replace("_", "-"): value for name, value in headers.items()}
    return CLIENT.post(server.http + path, content=content, headers=sent)


def json_upload(**over: object) -> bytes:
    names = {
        "app_id": APP, "app_version": "1.0.0", "platform": "android", "os_major": 14,
        "device_tier": "mid", "region": "DE", "network": "wifi", "model_id": "next-word",
        "model_version": "1.0", "runtime": "tflite", "placement": "device", "sdk_version": "0.1.0",
    }  # fmt: skip
    body: dict[str, object] = {
        "batch_id": "ab" * 16,
        "created_ms": clock_ms() - 1_000,
        "context": names,
        "columns": {"latency_ms": [1.0, None, 3.0]},
    }
    return json.dumps(body | over).encode()


def many_columns(count: int) -> bytes:
    return upload().SerializeToString() + b"\xc2\x3e\x00" * count  # field 1000, empty


def bytes_ids(segment: object) -> list[bytes]:
    ids = segment.uploads["batch_id"].tobytes()  # type: ignore[attr-defined]
    return [ids[i : i + 16] for i in range(0, len(ids), 16)]
