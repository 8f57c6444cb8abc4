import os
import time
from pathlib import Path

import pytest

from loadtest.cpu import QuotaError, busy_seconds, choose_cores, cpu_group, find_parents, process_seconds

V1 = "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\ncgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"
V1_JOINED = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "memberships", "parents"),
    [
        (V1, "2:cpuset:/a\n1:cpu:/\n0::/\n", [("/sys/fs/cgroup/cpu", 1)]),
        (V1_JOINED, "3:cpu,cpuacct:/x\n", [("/sys/fs/cgroup/cpu,cpuacct/x", 1), ("/sys/fs/cgroup/cpu,cpuacct", 1)]),
        (V2, "0::/system.slice/a.service\n", [("/sys/fs/cgroup/system.slice/a.service", 2), ("/sys/fs/cgroup", 2)]),
        (V2, "", [("/sys/fs/cgroup", 2)]),
        ("proc /proc proc rw 0 0\n", "0::/\n", []),
        ("", "", []),
    ],
)  # fmt: skip
def test_groups_are_looked_for_where_this_process_is_and_then_at_the_root(
    mounts: str, memberships: str, parents: list[tuple[str, int]]
) -> None:
    assert find_parents(mounts, memberships) == [(Path(path), version) for path, version in parents]


def test_a_group_takes_a_limit_and_leaves_nothing_behind() -> None:
    try:
        with cpu_group() as group:
            group.limit(0.25)
            name = "cpu.max" if group.version == 2 else "cpu.cfs_quota_us"
            assert (group.folder / name).read_text(encoding="utf-8").split()[0] == "25000"
    except QuotaError as error:
        pytest.skip(f"not allowed here: {error}")
    assert not group.folder.exists()


def test_work_shows_as_the_process_and_as_its_core() -> None:
    core = choose_cores().service
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        before = busy_seconds(core), process_seconds(os.getpid())
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
        busy, own = busy_seconds(core) - before[0], process_seconds(os.getpid()) - before[1]
    finally:
        os.sched_setaffinity(0, allowed)
    assert own == pytest.approx(0.3, abs=0.1)
    assert busy > 0.2
