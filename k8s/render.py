"""Write the chart, rendered with its default values, as plain manifests: `python k8s/render.py`, or `--check`."""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CHART = HERE.parent / "helm"
RELEASE = "antifraud"
KUBE_VERSION = "1.33.0"
GROUPS = {  # file: kinds
    "service.yaml": ("ServiceAccount", "ConfigMap", "Deployment", "Service", "Ingress"),
    "scaling.yaml": ("HorizontalPodAutoscaler", "PodDisruptionBudget"),
    "network.yaml": ("NetworkPolicy",),
    "jobs.yaml": ("PersistentVolumeClaim", "CronJob"),
}
HEAD = "# Rendered from helm/ with default values by k8s/render.py; change the chart, not this file.\n"


class RenderError(RuntimeError):
    """The chart cannot be rendered, or holds a kind that no file takes."""


def main(arguments: list[str] | None = None) -> int:
    """Write or compare the manifests; return 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    options = parser.parse_args(arguments)
    try:
        files = manifests()
    except (RenderError, OSError) as error:
        print(f"render: {error}", file=sys.stderr)
        return 1
    if not options.check:
        for name, text in files.items():
            (HERE / name).write_text(text, encoding="utf-8")
        return 0
    stale = [name for name, text in files.items() if not _is_same(HERE / name, text)]
    stale += [path.name for path in HERE.glob("*.yaml") if path.name not in files]
    for name in stale:
        print(f"k8s/{name} is not what the chart says: run `make k8s`", file=sys.stderr)
    return 1 if stale else 0


def _is_same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def manifests() -> dict[str, str]:
    """Return every file of the folder with its text.

    Raises
    ------
    RenderError
        If Helm fails, or an object is of a kind that no file takes.
    """
    command = ["helm", "template", RELEASE, str(CHART), "--kube-version", KUBE_VERSION, "--skip-tests"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  fixed command
    if done.returncode:
        raise RenderError(done.stderr.strip())
    groups: dict[str, list[str]] = {name: [] for name in GROUPS}
    for document in done.stdout.split("\n---\n"):
        body = document.removeprefix("---\n").strip()
        if body:
            groups[_file_of(body)].append(body)
    files = {name: HEAD + "---\n" + "\n---\n".join(bodies) + "\n" for name, bodies in groups.items()}
    return {"kustomization.yaml": _kustomization(), **files}


def _file_of(body: str) -> str:
    kind = next(line.removeprefix("kind:").strip() for line in body.splitlines() if line.startswith("kind:"))
    for name, kinds in GROUPS.items():
        if kind in kinds:
            return name
    raise RenderError(f"no file of k8s/ takes objects of kind {kind}")


def _kustomization() -> str:
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "resources:"]
    return HEAD + "\n".join([*lines, *(f"  - {name}" for name in GROUPS)]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
