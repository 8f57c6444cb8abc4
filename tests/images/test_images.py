"""What both images are like, asked of the images themselves; they run as a careful cluster runs them."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

IMAGES = os.environ.get("TEST_IMAGES", "")  # prefix:tag
RUN = shlex.split(os.environ.get("TEST_IMAGE_RUN", "docker run"))
TOOL = os.environ.get("TEST_IMAGE_TOOL", "docker")
CAREFULLY = ("--rm", "--read-only", "--user", "10001:10001", "--cap-drop", "ALL", "--network", "none")
WRITABLE = ("--tmpfs", "/tmp:mode=1777", "--volume", "/cache")  # noqa: S108  in the container
SIZES = Path(__file__).parents[2] / ".ci" / "image_sizes.py"
LARGEST_SERVICE_MB = 700  # requirement
PYTHON = "/opt/antifraud/bin/python"

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(not IMAGES, reason="no image: make images test-images"),
]
both = pytest.mark.parametrize("target", ["service", "retrain"])


def named(target: str) -> str:
    prefix, _, tag = IMAGES.rpartition(":")
    return f"{prefix}-{target}:{tag}"


def run(target: str, *command: str, options: tuple[str, ...] = (), given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program of the image in place of its own."""
    program, *arguments = command
    words = [*RUN, *CAREFULLY, *WRITABLE, *options, "--entrypoint", program, named(target), *arguments]
    return subprocess.run(words, input=given, capture_output=True, text=True, timeout=120, check=False)


def said(target: str, code: str, *options: str) -> str:
    """Return what some lines of Python print inside the image."""
    done = run(target, PYTHON, "-c", code, options=options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def configuration(target: str) -> dict[str, Any]:
    done = subprocess.run(
        [TOOL, "image", "inspect", named(target)], capture_output=True, text=True, timeout=60, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)[0]["Config"]
    return found


@both
def test_it_has_no_compiler_and_no_pip(target: str) -> None:
    names = ["gcc", "cc", "g++", "clang", "make", "ld", "as", "pip", "pip3", "uv", "easy_install"]
    assert said(target, f"import shutil; print([n for n in {names} if shutil.which(n)])").strip() == "[]"
    for python in (PYTHON, "python3", "/usr/bin/env python3"):
        done = run(target, *python.split(), "-m", "pip", "--version")
        assert done.returncode != 0, python
        assert "No module named pip" in done.stderr
    assert run(target, PYTHON, "-c", "import ensurepip; ensurepip.bootstrap(root='/tmp/x')").returncode != 0


@both
def test_it_runs_as_10001_and_writes_nowhere_but_in_two_places(target: str) -> None:
    code = """
import os, pathlib
print(os.getuid(), os.getgid())
for place in ("/", "/opt/antifraud", "/usr", "/etc", "/var/lib", "/cache", "/tmp"):
    try:
        (pathlib.Path(place) / "x").write_text("x")
        print("writable", place)
    except OSError:
        pass
"""
    assert said(target, code).splitlines() == ["10001 10001", "writable /cache", "writable /tmp"]


@both
def test_its_labels_and_user_are_set_and_kubernetes_does_the_probing(target: str) -> None:
    found = configuration(target)
    assert found["User"] == "10001:10001"
    assert not found.get("Healthcheck")
    for name in ("title", "description", "licenses", "version", "revision"):
        assert found["Labels"][f"org.opencontainers.image.{name}"], name


def test_the_service_explains_with_the_compiled_kernel_and_knows_no_training() -> None:
    code = """
import importlib.util, service.app, model._treeshap
print([n for n in ("pandas", "duckdb", "mlflow", "sklearn", "matplotlib", "shap") if importlib.util.find_spec(n)])
"""
    assert said("service", code).strip() == "[]"


def test_the_service_says_in_one_line_what_it_misses() -> None:
    done = run("service", "/opt/antifraud/bin/antifraud", "serve")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "antifraud: FRAUD_ID_KEY_FILE or FRAUD_ID_KEY must be set: a secret of 16 to 64 bytes"
    )


def test_retrain_makes_a_bank_a_champion_and_new_statistics_on_its_own() -> None:
    code = """
import subprocess, sys
antifraud = "/opt/antifraud/bin/antifraud"
size = ["--days", "50", "--customers", "400", "--terminals", "800"]
history = "/cache/history"
for verb in (["simulate", "--out", history, *size], ["retrain", "--history", history, "--trees", "30"],
             ["simulate", "--out", history, *size, "--days", "51"], ["refresh", "--history", history]):
    done = subprocess.run([antifraud, *verb], stdout=subprocess.PIPE, text=True)
    print(done.returncode, done.stdout)
"""
    out = said("retrain", code, "--env", "FRAUD_ID_KEY=a key of this test only")
    assert "PROMOTED: fraud-model version 1" in out
    assert "PUBLISHED: fraud-statistics version 2" in out


def test_the_service_image_is_small() -> None:
    options = ("--interactive", "--user", "0", "--cap-add", "DAC_OVERRIDE")
    done = run("service", "python3", "-", options=options, given=SIZES.read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stderr
    found = re.search(r"\*\*(\d+)\*\* \| \*\*all\*\*", done.stdout)
    assert found, done.stdout
    assert int(found[1]) <= LARGEST_SERVICE_MB, done.stdout
