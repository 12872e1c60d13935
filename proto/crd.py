"""JSON Schemas as Kubernetes CustomResourceDefinitions; a part of generate.py."""
# ruff: noqa: INP001 - this folder holds contracts and must not be importable as a package

import io
from collections.abc import Mapping
from typing import Any, Final

from ruamel.yaml import YAML

CRDS: Final[Mapping[str, tuple[str, list[tuple[str, str, str]]]]] = {
    "model_release": (
        "modelreleases",
        [
            ("App", "string", ".spec.appId"),
            ("Model", "string", ".spec.modelId"),
            ("Stable", "string", ".spec.stable.version"),
            ("Candidate", "string", ".spec.candidate.version"),
            ("Share", "number", ".spec.rollout.share"),
            ("Hold until", "string", ".spec.rollout.holdUntil"),
        ],
    ),
    "policy": (
        "policies",
        [("Alpha", "number", ".spec.alpha"), ("Dry run", "boolean", ".spec.gate.dryRun")],
    ),
    "rate_card": ("ratecards", []),
}


def resource_definition(name: str, schema: Mapping[str, Any]) -> bytes:
    """The CustomResourceDefinition of one kind, so that Argo CD and Flux accept its manifests."""
    plural, columns = CRDS[name]
    kind = schema["title"]
    served = {
        "type": "object",
        "description": schema["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(schema["properties"]["spec"]),
        },
    }
    printed = [{"name": n, "type": t, "jsonPath": path} for n, t, path in columns]
    printed.append({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.holdfast.dev"},
        "spec": {
            "group": "holdfast.dev",
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": printed,
                    "schema": {"openAPIV3Schema": served},
                }
            ],
        },
    }
    out = io.BytesIO()
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 10_000  # never fold
    yaml.representer.ignore_aliases = lambda _: True
    out.write(f"# Made by proto/generate.py from proto/{name}.schema.json.\n".encode())
    yaml.dump(definition, out)
    return out.getvalue()


def structural(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` as Kubernetes wants it: no closed objects, no number-valued exclusive bounds.

    The API server prunes unknown fields by itself, and says "required if present" in CEL.
    """
    kept = {k: v for k, v in schema.items() if k not in ("dependentRequired", "properties")}
    if kept.get("additionalProperties") is False:
        del kept["additionalProperties"]
    elif "additionalProperties" in kept:
        kept["additionalProperties"] = structural(kept["additionalProperties"])
    if "exclusiveMinimum" in kept:
        kept |= {"minimum": kept["exclusiveMinimum"], "exclusiveMinimum": True}
    if "items" in kept:
        kept["items"] = structural(kept["items"])
    if "properties" in schema:
        kept["properties"] = {k: structural(v) for k, v in schema["properties"].items()}
    rules = [
        {"rule": f"!has(self.{a}) || has(self.{b})", "message": f"{a} needs {b}"}
        for a, others in schema.get("dependentRequired", {}).items()
        for b in others
    ]
    return kept | ({"x-kubernetes-validations": rules} if rules else {})
