"""What the figures were measured on, without the machine's name."""

import os
import platform
from pathlib import Path


class CoresError(RuntimeError):
    """Servers and load cannot be kept apart on this machine."""


def two_cores() -> tuple[int, int]:
    """Return the core for the servers and the core for the load.

    Raises
    ------
    CoresError
        If the system cannot pin processes, or this process may use fewer than two cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise CoresError("servers are pinned to one core, which needs Linux")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise CoresError("two cores are needed: one for the server and one for the load")
    return cores[-1], cores[0]


def processor() -> str:
    """Return the model of the processor as the kernel has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def system() -> str:
    """Return the operating system with its release, and the version of Python."""
    return f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"


def load_average() -> float:
    """Return the load average of the last minute."""
    return round(os.getloadavg()[0], 2)
