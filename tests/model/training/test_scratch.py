import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from model.training.fit import TrainingError
from model.training.scratch import scratch_folder


def test_a_scratch_folder_is_gone_afterwards_also_when_work_fails(tmp_path: Path) -> None:
    for error in (KeyError, KeyboardInterrupt):
        with suppress(error), scratch_folder(tmp_path / "work") as folder:
            (folder / "half").write_text("done")
            raise error
    assert list((tmp_path / "work").iterdir()) == []


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, pathlib\n"
        "from model.training.scratch import scratch_folder\n"
        "with scratch_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'large').write_text('gigabytes')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert (left / "large").exists()
    with scratch_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_what_another_run_uses_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "scratch-by-hand").mkdir()
    with scratch_folder(tmp_path) as one, scratch_folder(tmp_path) as other:
        assert one.is_dir()
        assert other.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "scratch-by-hand"]


def test_no_room_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(TrainingError, match=r"cannot go on in the work folder .*: "),
        scratch_folder(tmp_path / "file"),
    ):
        pass
