"""Which cores a process may use, and how much of them: affinity and control groups, version 1 and 2."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PERIOD_US = 100_000  # as Kubernetes has it


class QuotaError(RuntimeError):
    """No control group with a CPU quota can be made by this process."""


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the service, another for the load generator; the same where there is only one."""

    service: int
    generator: int

    @property
    def shared(self) -> bool:
        """Whether the two get in each other's way."""
        return self.service == self.generator


def choose_cores() -> Cores:
    """Return the first and the last core that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[-1])


def busy_seconds(core: int) -> float:
    """Return how long a core has worked since the machine started, or was taken by a neighbour of this machine.

    Without interrupts: those of a load over loopback are the load's own.
    """
    ticks = next(line.split()[1:] for line in _read("/proc/stat").splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, ticks[:8])
    return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK")


def process_seconds(process: int) -> float:
    """Return how long a process has worked, all its threads together."""
    # The name in brackets may hold blanks and brackets itself.
    fields = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Group:
    """A control group for the CPU that this process made."""

    folder: Path
    version: int

    def limit(self, cores: float) -> None:
        """Allow so many cores' time in each period of 100 ms."""
        quota = round(cores * PERIOD_US)
        if self.version == 2:
            (self.folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.folder / "cpu.cfs_quota_us").write_text(str(quota))

    def add(self, process: int) -> None:
        """Move a process with all its threads into the group."""
        (self.folder / "cgroup.procs").write_text(str(process))


@contextmanager
def cpu_group() -> Iterator[Group]:
    """Make a control group for the time of the block; what runs in it must have ended by then.

    Raises
    ------
    QuotaError
        If that is not possible here; the message says why and what would help.
    """
    parents = find_parents(_read("/proc/mounts"), _read("/proc/self/cgroup"))
    group = _first_possible(parents)
    try:
        yield group
    finally:
        # Busy for a moment after the last process in it has ended; an empty group that stays costs nothing.
        with suppress(OSError):
            group.folder.rmdir()


def _read(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8")
    return ""


def find_parents(mounts: str, memberships: str) -> list[tuple[Path, int]]:
    """Return the folders in which a group could be made, with the version of each, most likely first.

    Parameters
    ----------
    mounts, memberships
        Texts as in `/proc/mounts` and `/proc/self/cgroup`.
    """
    own = {
        name: path for _, names, path in _fields(memberships, ":", 3) for name in (names.split(",") if names else [""])
    }
    found: list[tuple[Path, int]] = []
    for _, folder, kind, options in _fields(mounts, " ", 4):
        if kind == "cgroup2":
            found += _inside(folder, own.get(""), 2)
        elif kind == "cgroup" and "cpu" in options.split(","):
            found += _inside(folder, own.get("cpu"), 1)
    return found


def _fields(text: str, separator: str, count: int) -> list[list[str]]:
    lines = (line.split(separator) for line in text.splitlines())
    return [line[:count] for line in lines if len(line) >= count]


def _inside(folder: str, own: str | None, version: int) -> list[tuple[Path, int]]:
    """Return this process's own group, and the root: within a container the own path may be the host's."""
    root = Path(folder)
    return list(dict.fromkeys((path, version) for path in (root / (own or "/").strip("/"), root)))


def _first_possible(parents: list[tuple[Path, int]]) -> Group:
    reasons: list[str] = []
    for parent, version in parents:
        try:
            return _make(parent, version)
        except OSError as error:
            reasons.append(f"{parent}: {error.strerror or error}")
    raise QuotaError(
        "no CPU quota can be set here, so only whole cores are measured; run as root on a machine with control groups, "
        f"or in a container with a writable one ({'; '.join(reasons) or 'no cpu controller is mounted'})"
    )


def _make(parent: Path, version: int) -> Group:
    if version == 2 and "cpu" not in (parent / "cgroup.subtree_control").read_text(encoding="utf-8").split():
        (parent / "cgroup.subtree_control").write_text("+cpu")
    group = Group(parent / f"loadtest-{os.getpid()}", version)
    group.folder.mkdir()
    try:
        group.limit(1)
    except OSError:
        group.folder.rmdir()
        raise
    return group
