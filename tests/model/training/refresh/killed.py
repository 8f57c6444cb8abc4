"""Refreshes that die: `python -m tests.model.training.refresh.killed BANK POINT...`, one copy of the bank a point.

Everything is imported once; each refresh runs in a fork of its own, which kills itself with SIGKILL when it gets to
its point.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model.training.refresh.advance as advance_module
from model.training.progress import Stages
from model.training.refresh.incoming import Reader
from model.training.refresh.rings import Rings
from model.training.refresh.state import State
from tests.model.training.refresh.banks import Bank, refreshed

PLACES: dict[str, tuple[Any, str]] = {
    "begin": (Stages, "begin"),
    "bring_in": (Reader, "_bring_in"),
    "insert": (Reader, "_insert"),
    "create": (State, "create"),
    "let_go": (State, "_let_go"),
    "take_in": (State, "_take_in"),
    "find_repeated": (State, "_find_repeated"),
    "advance": (State, "advance"),
    "note": (State, "note"),
    "before": (Rings, "before"),
    "after": (Rings, "after"),
    "change": (Rings, "_replace"),
    "report": (advance_module, "cleaning_report"),
    "put_in_place": (advance_module, "put_in_place"),
    "replace": (Path, "replace"),
}


def die_at(point: str) -> None:
    """Arrange for this process to die before or after some function: `take_in:after`, `begin:before:3` the third."""
    name, when, *rest = point.split(":")
    left = [int(rest[0]) if rest else 1]
    owner, attribute = PLACES[name]
    real: Callable[..., Any] = getattr(owner, attribute)

    def deadly(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if when == "before" and not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = real(*arguments, **named)
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, attribute, deadly)


def main() -> None:
    """Run a deadly refresh in a copy of a bank for each point."""
    bank, *points = sys.argv[1:]
    for point in points:
        folder = Path(f"{bank}-{point}")
        shutil.copytree(bank, folder, symlinks=True)  # with the times of the files
        child = os.fork()
        if not child:
            die_at(point)
            refreshed(Bank(folder).task())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{point} {'died' if os.WIFSIGNALED(status) else 'lived'}\n")
        sys.stdout.flush()  # or the next fork would say it again


if __name__ == "__main__":
    main()
