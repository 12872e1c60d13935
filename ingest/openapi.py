"""The upload path in the OpenAPI document; it is answered outside FastAPI."""

from typing import Any

import fastapi

_BINARY = {"schema": {"type": "string", "format": "binary", "description": "holdfast.v1"}}
_OBJECT = {"schema": {"type": "object"}}
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457, with the field that is wrong and what is accepted.",
    "required": ["type", "title", "status", "detail", "code", "field", "accepted"],
    "properties": {
        "status": {"type": "integer"},
        **{
            name: {"type": "string"}
            for name in ("type", "title", "detail", "code", "field", "accepted")
        },
    },
}
_REFUSED = {
    400: "Malformed: it cannot be decoded",
    401: "No valid key",
    403: "The key is of another app",
    408: "The body came too slowly",
    413: "Too large, before or after decompression",
    415: "Unknown Content-Type or Content-Encoding",
    422: "Decoded, but it says something that is not registered or not possible",
    429: "The quota is used up: come back after Retry-After seconds; nothing was lost",
    503: "Come back after Retry-After seconds; nothing was lost",
}


def describe_upload(app: fastapi.FastAPI, path: str) -> None:
    """Add `path` to the document that FastAPI makes of its own routes."""
    make = app.openapi

    def openapi() -> dict[str, Any]:  # FastAPI's own type
        document = make()
        document["paths"].setdefault(path, {"post": _operation()})
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).setdefault("Problem", _PROBLEM_SCHEMA)
        components.setdefault("securitySchemes", {})["key"] = {"type": "http", "scheme": "bearer"}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the documented way to extend it


def _operation() -> dict[str, object]:
    both = {"application/x-protobuf": _BINARY, "application/json": _OBJECT}
    return {
        "summary": "Upload telemetry; the receipt means that its rows are durable",
        "security": [{"key": []}],
        "parameters": [
            {
                "name": "Content-Encoding",
                "in": "header",
                "schema": {"type": "string", "enum": ["identity", "gzip", "zstd"]},
            }
        ],
        "requestBody": {"required": True, "content": both},
        "responses": {
            "200": {"description": "A receipt, in the encoding of the upload", "content": both},
            **{
                str(status): {"description": text, "content": _PROBLEM}
                for status, text in _REFUSED.items()
            },
        },
    }
