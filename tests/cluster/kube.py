"""A cluster as its operator meets it: `kubectl` and `helm`, nothing else."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

COMMAND_S = 180.0  # longest time of one command that does not say its own


class CommandError(AssertionError):
    """A command failed; what it said is the message."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def warnings(self) -> list[str]:
        """The lines by which the API server warns."""
        return [line for line in self.err.splitlines() if line.startswith("Warning:")]


@dataclass(frozen=True, slots=True)
class Cluster:
    """One namespace of a cluster."""

    kubeconfig: str
    namespace: str

    def run(self, *command: str, given: str = "", check: bool = True, seconds: float = COMMAND_S) -> Done:
        """Run a program with this cluster's configuration.

        Raises
        ------
        CommandError
            If it fails and `check` is set.
        """
        ended = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env={**os.environ, "KUBECONFIG": self.kubeconfig},
        )
        if check and ended.returncode:
            raise CommandError(f"{' '.join(command)}: {ended.stderr.strip() or ended.stdout.strip()}")
        return Done(ended.returncode, ended.stdout, ended.stderr)

    def kubectl(self, *arguments: str, given: str = "", check: bool = True, seconds: float = COMMAND_S) -> Done:
        """Run `kubectl` in the namespace."""
        return self.run("kubectl", "-n", self.namespace, *arguments, given=given, check=check, seconds=seconds)

    def helm(self, *arguments: str, check: bool = True, seconds: float = COMMAND_S) -> Done:
        """Run `helm` in the namespace."""
        return self.run("helm", "-n", self.namespace, *arguments, check=check, seconds=seconds)

    def get(self, *arguments: str) -> Any:
        """Return objects as `kubectl get -o json` gives them."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json").out)

    def apply(self, *objects: dict[str, Any]) -> Done:
        """Apply objects by the server's own rules."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        return self.kubectl("apply", "--server-side", "-f", "-", given=json.dumps(listed))

    def has_namespace(self) -> bool:
        """Whether the namespace is there."""
        return self.kubectl("get", "namespace", self.namespace, check=False).code == 0

    def make_namespace(self) -> None:
        """Make the namespace anew, with Pod Security `restricted` enforced and warned of."""
        self.delete_namespace()
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}})

    def delete_namespace(self, *, wait: bool = True) -> None:
        """Delete the namespace and all in it, if it is there."""
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", f"--wait={str(wait).lower()}")


def eventually(
    holds: Callable[[], object], what: str, *, seconds: float, pause: float = 0.5, hint: Callable[[], str] | None = None
) -> float:
    """Wait until something holds and return the seconds it took.

    Raises
    ------
    AssertionError
        If it does not hold in time.
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() > began + seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what}{': ' + hint() if hint else ''}")
        time.sleep(pause)
    return time.monotonic() - began
