import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from service import child


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which a child can run modules that a test writes."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def start(modules: Path, program: str) -> "subprocess.Popen[bytes]":
    (modules / "written_by_a_test.py").write_text(textwrap.dedent(program))
    return child.start("written_by_a_test", {"word": "hello"})


def test_a_request_goes_in_and_a_reply_comes_out_though_libraries_print(modules: Path) -> None:
    process = start(
        modules,
        """
        import json, os, sys
        from service import child
        output = child.take_output()
        child.settle(memory_mb=512)
        request = json.loads(sys.stdin.readline())
        os.system("echo noise"); print("more noise", flush=True)
        limits = [os.nice(0), open("/proc/self/oom_score_adj").read().strip()]
        os.write(output, json.dumps({"got": request, "limits": limits}).encode())
        """,
    )
    reply = child.reply_of(process, seconds=60)
    assert reply == {"got": {"word": "hello"}, "limits": [os.nice(0) + child.NICENESS, "1000"]}


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV"),
        ("import sys; sys.exit(7)", "ended with code 7 and without a reply"),
        ("print('[1, 2]')", "without a reply"),
        ("print('{')", "without a reply"),
    ],
)
def test_a_child_without_a_reply_is_an_error_that_says_how_it_ended(modules: Path, program: str, reason: str) -> None:
    with pytest.raises(child.ChildError, match=reason):
        child.reply_of(start(modules, program), seconds=60)


def test_a_child_that_wants_too_much_memory_is_refused_it(modules: Path) -> None:
    process = start(
        modules,
        """
        from service import child
        child.settle(memory_mb=256)
        try:
            bytearray(2**30)
        except MemoryError:
            print("{}")
        """,
    )
    assert child.reply_of(process, seconds=60) == {}


def test_a_child_that_hangs_is_ended(modules: Path) -> None:
    process = start(modules, "import time; time.sleep(600)")
    with pytest.raises(child.ChildError, match=r"took longer than 0\.2 s"):
        child.reply_of(process, seconds=0.2)
    assert process.poll() == -signal.SIGKILL


def test_a_child_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    (tmp_path / "stays.py").write_text(
        "from service import child; child.end_with_parent(); import time; time.sleep(600)"
    )
    program = (
        "import os, signal; from service import child; process = child.start('stays', {});"
        "print(process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    paths = f"{tmp_path}:{Path(__file__).parents[2]}"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    end = time.monotonic() + 60
    while Path(f"/proc/{int(done.stdout)}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{int(done.stdout)}").exists()
