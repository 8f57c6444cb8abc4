"""Runs the tests of model.explain with the kernel under the address and undefined-behaviour sanitizers.

From the root of the project: ``python tests/model/asan_explain.py``. Needs gcc and its libasan.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SANITIZE = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined"


def build(into: Path) -> None:
    for name in ("model", "tests"):
        shutil.copytree(ROOT / name, into / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, into)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=into, env={**os.environ, "CFLAGS": SANITIZE}, check=True)
    if not list((into / "model").glob("_treeshap*.so")):
        sys.exit("the kernel was not built")


def run_tests(inside: Path) -> int:
    libraries = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = {
        **os.environ,
        "LD_PRELOAD": ":".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter keeps memory until it exits
        "PYTHONMALLOC": "malloc",  # its own allocator would hide overruns
        "PYTHONPATH": str(inside),
    }
    command = [sys.executable, "-m", "pytest", "-q", "--capture=sys", "tests/model/test_explain.py", *sys.argv[1:]]
    return subprocess.run(command, cwd=inside, env=environment, check=False).returncode


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        build(Path(directory))
        sys.exit(run_tests(Path(directory)))
