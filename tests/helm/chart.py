"""Renders the chart as an operator would."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm"
RELEASE = "antifraud"
_PLACES = [os.environ.get("TOOLS", ""), str(ROOT / ".tools" / "bin"), os.environ.get("PATH", "")]

Manifest = dict[str, Any]


def program(name: str) -> str:
    """Return where a program is; without it the test is skipped, and fails in CI."""
    found = shutil.which(name, path=os.pathsep.join(place for place in _PLACES if place))
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} not found; `make tools` installs it")
    return found or pytest.skip(f"{name} not found; `make tools` installs it")


def template(*arguments: str | Path, chart: Path = CHART, release: str = RELEASE) -> "subprocess.CompletedProcess[str]":
    """Return what `helm template` with these arguments says, whether it fails or not."""
    command = [program("helm"), "template", release, str(chart), "--kube-version", "1.33.0", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def render(*arguments: str | Path, chart: Path = CHART, release: str = RELEASE) -> list[Manifest]:
    """Return every object that the chart renders."""
    done = template(*arguments, chart=chart, release=release)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def settings(**values: Any) -> list[str]:
    """Return `--set-json` arguments: `capacity__peakTps=800` sets `capacity.peakTps`."""
    return [
        part
        for name, value in values.items()
        for part in ("--set-json", f"{name.replace('__', '.')}={json.dumps(value)}")
    ]


def one(manifests: list[Manifest], kind: str, name: str = RELEASE) -> Manifest:
    """Return the one object of a kind and name."""
    found = [one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
    return found[0]


def load(path: str) -> ModuleType:
    """Return a script of `helm/` as a module."""
    script = CHART / f"{path}.py"
    spec = importlib.util.spec_from_file_location(f"helm_{Path(path).name}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(script.parent))  # where a script finds what it imports
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(script.parent))
    return module
