"""One command brings the platform up, another takes it away, and both can be repeated."""

import fcntl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from stack.platform import Platform
from stack.servers import Missing
from stack.servers import programs as programs_of_servers

pytestmark = [pytest.mark.slow, pytest.mark.integration]

REPOSITORY = Path(__file__).parents[2]


def stack(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "stack", "--folder", str(folder), *words]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=550)


@pytest.fixture(autouse=True)
def _installed() -> None:
    try:
        programs_of_servers.program("versitygw", how="make stack-tools (needs Go)")
        programs_of_servers.jars("kafka")
    except Missing as reason:
        pytest.skip(str(reason))


def test_up_twice_and_down_with_everything_on_it(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    try:
        first = stack(folder, "up")
        assert first.returncode == 0, first.stdout + first.stderr
        assert "training the first champion ... done" in first.stdout
        assert "it came back in the topic `decisions`: the same bytes." in first.stdout
        assert (folder / "environment").stat().st_mode & 0o077 == 0

        platform = Platform(folder)
        assert all(one.runs() for one in [*platform.servers(), *platform.processes()])
        pods = {name: value for name, value in platform.settings().items() if name.startswith("AWS_")}
        assert pods == {}  # the service and the stream have no key of S3
        platform.stream.kill()  # as a machine does that runs out of memory

        assert stack(folder, "status").returncode == 1
        again = stack(folder, "up")
        assert again.returncode == 0, again.stdout + again.stderr
        assert "training the first champion ... there already" in again.stdout
        assert "it came back in the topic `decisions`: the same bytes." in again.stdout
        assert httpx.get(f"{platform.service.url}/ready", trust_env=False).status_code == 200
        refreshed = platform.run("refresh", "--history", "s3://bank/history", "--reports", "s3://bank/reports")
        assert "fraud-statistics" in refreshed
    finally:
        down = stack(folder, "down", "--delete")
    assert down.returncode == 0, down.stdout + down.stderr
    assert not folder.exists()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{platform.service.url}/ready", trust_env=False)
    assert "there is no stack" in stack(folder, "down").stdout


def test_a_folder_that_cannot_be_one_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "stack").touch()
    done = stack(tmp_path / "stack", "up")
    assert (done.returncode, done.stderr) == (1, f"stack: {tmp_path / 'stack'}: File exists\n")


def test_of_two_commands_at_once_the_second_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for what in ("up", "down"):
            done = stack(tmp_path, what)
            assert done.returncode == 1
            assert done.stderr == f"stack: another command starts or stops the stack in {tmp_path}; wait for it\n"
    assert list((tmp_path / "postgres").glob("*.pid")) == []
