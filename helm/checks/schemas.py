"""Write schemas for kubeconform out of what a real API server says of itself.

    kubectl get --raw /openapi/v2 | python helm/checks/schemas.py VERSION

or `make schemas KUBECONFIG=...`. Only the kinds of the chart and of the examples, closed against unknown fields,
without descriptions and without what only the server writes. Those of custom resources beside them are written by hand.
"""

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "schemas"
DEFINITIONS = "definitions.json"
KINDS = {
    "io.k8s.api.core.v1": ("ConfigMap", "PersistentVolumeClaim", "Pod", "Secret", "Service", "ServiceAccount"),
    "io.k8s.api.apps.v1": ("Deployment",),
    "io.k8s.api.autoscaling.v2": ("HorizontalPodAutoscaler",),
    "io.k8s.api.batch.v1": ("CronJob", "Job"),
    "io.k8s.api.networking.v1": ("Ingress", "NetworkPolicy"),
    "io.k8s.api.policy.v1": ("PodDisruptionBudget",),
    "io.k8s.api.rbac.v1": ("Role", "RoleBinding"),
}
QUANTITY = {"type": ["string", "number"]}
INT_OR_STRING = {"type": ["string", "integer"]}


def main(arguments: list[str]) -> int:
    """Write the files."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    files = schemas(json.load(sys.stdin)["definitions"], version=arguments[0])
    for name, schema in files.items():
        (FOLDER / name).write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


def schemas(served: dict[str, Any], *, version: str) -> dict[str, Any]:
    """Return the file of each kind, and the one with the definitions they share."""
    files: dict[str, Any] = {}
    wanted: list[str] = []
    for package, kinds in KINDS.items():
        for kind in kinds:
            name = f"{package}.{kind}"
            named = served[name]["x-kubernetes-group-version-kind"][0]
            api_version = "/".join(part for part in (named["group"], named["version"]) if part)
            fixed = {"apiVersion": {"const": api_version}, "kind": {"const": kind}}
            files[file_name(kind, api_version)] = {
                "allOf": [
                    {"$ref": f"{DEFINITIONS}#/definitions/{name}"},
                    {"properties": fixed, "required": sorted(fixed)},
                ]
            }
            wanted.append(name)
    definitions: dict[str, Any] = {}
    while wanted:
        name = wanted.pop()
        if name not in definitions:
            definitions[name] = closed(served[name], wanted)
    note = f"Made by helm/checks/schemas.py from an API server of Kubernetes {version}"
    return {**files, DEFINITIONS: {"$comment": note, "definitions": definitions}}


def file_name(kind: str, api_version: str) -> str:
    """Return the name under which kubeconform asks for a kind: `deployment-apps-v1.json`."""
    group, _, version = api_version.rpartition("/")
    return "-".join(part for part in (kind.lower(), group.split(".")[0], version) if part) + ".json"


def closed(node: Any, wanted: list[str]) -> Any:
    """Return a definition that refuses unknown fields; note what it refers to in `wanted`."""
    if isinstance(node, list):
        return [closed(item, wanted) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("$ref"), str):
        name = node["$ref"].rsplit("/", 1)[-1]
        if name.endswith(".resource.Quantity"):
            return QUANTITY
        wanted.append(name)
        return {"$ref": f"#/definitions/{name}"}
    if node.get("format") == "int-or-string":
        return INT_OR_STRING
    result = {
        key: closed(value, wanted)
        for key, value in node.items()
        if key not in {"description", "default"} and not key.startswith("x-kubernetes") and key != "properties"
    }
    if "properties" in node:
        # An object's own status is the server's; a condition within it may have one, too.
        theirs = {"status"} if "x-kubernetes-group-version-kind" in node else {"managedFields"}
        result["properties"] = {
            key: closed(value, wanted) for key, value in node["properties"].items() if key not in theirs
        }
        result["additionalProperties"] = False
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
