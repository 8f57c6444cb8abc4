"""The peers' own environments: made only when asked, from hash-locked requirements, under var/peers."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from loadtest.peers.catalogue import ENVIRONMENTS, Peer
from loadtest.peers.processes import run_command

INSTALL_SECONDS = 1800  # the largest has close to a hundred packages

_VERSIONS = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class EnvironmentMissingError(RuntimeError):
    """A peer's environment is not there, or could not be made; the text is one line."""


def is_installed(peer: Peer) -> bool:
    """Return whether the peer's environment was made from its present requirements by this Python."""
    if peer.environment is None:
        return True
    stamp = _stamp(peer)
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _fingerprint(peer)


def install(peer: Peer) -> None:
    """Make the peer's environment anew.

    Raises
    ------
    EnvironmentMissingError
        If a package cannot be had for this Python, or does not have the locked hash.
    """
    folder = peer.python.parents[1]
    shutil.rmtree(folder, ignore_errors=True)
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    pip = [str(peer.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    run_installer([sys.executable, "-m", "venv", str(folder)])
    run_installer([*pip, "install", "--require-hashes", "-r", str(peer.requirements)])
    _stamp(peer).write_text(_fingerprint(peer), encoding="utf-8")


def package_versions(peer: Peer) -> dict[str, str]:
    """Return the versions of Python and of the peer's packages, as its own environment has them."""
    answer = run_command([str(peer.python), "-c", _VERSIONS, *peer.packages], seconds=60)
    return dict(json.loads(answer.stdout)) if answer.returncode == 0 else {}


def _stamp(peer: Peer) -> Path:
    return peer.python.parents[1] / "installed"


def _fingerprint(peer: Peer) -> str:
    digest = hashlib.sha256(peer.requirements.read_bytes()).hexdigest()
    return f"{digest} {sys.version_info.major}.{sys.version_info.minor}\n"


def run_installer(command: list[str]) -> None:
    """Run one step of an installation.

    Raises
    ------
    EnvironmentMissingError
        If it fails or takes too long.
    """
    # Without .pyc files a large package would be compiled again at every start.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    try:
        done = run_command(command, seconds=INSTALL_SECONDS, variables=variables)
    except subprocess.TimeoutExpired:
        raise EnvironmentMissingError(f"installing took longer than {INSTALL_SECONDS} s") from None
    if done.returncode:
        raise EnvironmentMissingError(f"cannot be installed: {_reason(done.stderr)}")


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no reason given"])[-1][:200]
