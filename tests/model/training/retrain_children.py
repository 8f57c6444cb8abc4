"""Processes that retrain, for tests to kill: forked from one that has loaded everything and used nothing yet.

Called with a folder that holds `periods.pickle`, and one folder for each child, named after what it is to do.
"""

import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from types import ModuleType
from typing import Any

from mlflow import MlflowClient

from antifraud.cli import main
from model.registry import Publisher
from model.training import making, report_files, retrain, rival

WRITES = ("create_model_version", "set_registered_model_alias")


def kill_at(moment: str) -> None:
    """Let this process be killed just before or after the n-th write of its kind, such as `before-create_...-1`."""
    when, name, number = moment.split("-")
    write, seen = getattr(MlflowClient, name), [0]

    def counted(*arguments: Any, **named: Any) -> Any:
        seen[0] += 1
        here = seen[0] == int(number)
        if here and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = write(*arguments, **named)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(MlflowClient, name, counted)


def run(folder: Path, periods: object) -> int:
    """Retrain in a folder and return the exit code."""
    changes: list[tuple[ModuleType, str, Callable[..., Any]]] = [
        (making, "read_periods", lambda *_, **__: periods),
        (report_files, "write_figures", lambda folder, **_: folder.mkdir()),
        (rival, "flips", lambda *_, **__: None),
        (rival, "write_gate_report", lambda *_, **__: []),
    ]
    for module, name, instead in changes:
        setattr(module, name, instead)
    Publisher.lock = partialmethod(Publisher.lock, seconds=2.0)  # type: ignore[method-assign, assignment]
    task = json.loads((folder / "task.json").read_text())
    if "kill" in task:
        kill_at(task["kill"])
    if "hold" in task:
        setattr(retrain, "make", held(folder / "inside", until=Path(task["hold"])))  # noqa: B010 - mypy
    if "after" in task:
        _await(Path(task["after"]))
    arguments = ["retrain", "--history", "unread", "--work-folder", str(folder / "work"), *task["arguments"]]
    code = main(arguments)
    (folder / "done").touch()
    return code


def held(inside: Path, *, until: Path) -> Callable[..., making.Made]:
    """Return the work in the middle of a run, made to begin with a sign and to wait for another."""

    def make(*arguments: Any, **named: Any) -> making.Made:
        inside.touch()
        _await(until)
        return making.make(*arguments, **named)

    return make


def _await(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def forked(work: Callable[[], int]) -> int:
    """Run a function in a child, and return the child's process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        code = work()
    finally:
        os._exit(code)


def all_of(folder: Path) -> None:
    """Run every child and note how each ended; a signal is a negative number."""
    periods = pickle.loads((folder / "periods.pickle").read_bytes())  # noqa: S301 - the test wrote it
    tasks = sorted(path.parent for path in folder.glob("*/task.json"))
    children = {forked(lambda task=task: run(task, periods)): task.name for task in tasks}  # type: ignore[misc]
    codes = {name: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, name in children.items()}
    (folder / "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    all_of(Path(sys.argv[1]))
