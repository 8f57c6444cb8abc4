"""Environments of their own under var/peers, made only when asked, from hash-locked requirements."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from loadtest.peers.catalogue import ENVIRONMENTS
from loadtest.peers.environments import run_installer


@dataclass(frozen=True, slots=True)
class Environment:
    """Packages that are kept apart from the project's own."""

    name: str
    requirements: Path

    @property
    def folder(self) -> Path:
        """Where it is, whether it exists or not."""
        return ENVIRONMENTS / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def is_installed(self) -> bool:
        """Return whether it was made from its present requirements."""
        stamp = self.folder / "installed"
        return stamp.is_file() and stamp.read_text(encoding="utf-8") == self._fingerprint()

    def install(self, python: Path) -> None:
        """Make it anew with an interpreter.

        Raises
        ------
        EnvironmentMissingError
            If a package cannot be had for this Python, or does not have the locked hash.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
        run_installer([str(python), "-m", "venv", str(self.folder)])
        run_installer([*pip, "install", "--require-hashes", "-r", str(self.requirements)])
        (self.folder / "installed").write_text(self._fingerprint(), encoding="utf-8")

    def _fingerprint(self) -> str:
        return hashlib.sha256(self.requirements.read_bytes()).hexdigest()
