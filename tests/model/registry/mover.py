"""Another process on the same registry: reads one JSON list a line, does it, and answers with one line."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from model.registry import AliasMovedError, LockedError, Move, Publisher, open_publisher


def say(answer: str) -> None:
    sys.stdout.write(f"{answer}\n")
    sys.stdout.flush()


class Slow(Publisher):
    """Slow between looking and moving, so that two without a lock would both move."""

    def _set_alias(self, move: Move) -> None:
        time.sleep(0.1)
        super()._set_alias(move)


def move(publisher: Publisher, name: str, alias: str, version: str, expected: str) -> str:
    try:
        publisher.move_alias(name, alias, version, who="racer", why="a race", expected=expected)
    except AliasMovedError:
        return "beaten"
    return "won"


def hold(publisher: Publisher, name: str, seconds: float) -> str:
    with publisher.lock(name, "victim", seconds=seconds):
        say("holding")
        time.sleep(600)
    return "ended"


def work(publisher: Publisher, name: str, marker: str, wait: float) -> str:
    """Hold the lock and a file that must not be there already."""
    try:
        with publisher.lock(name, "worker", wait=wait):
            Path(marker).touch(exist_ok=False)
            time.sleep(0.02)
            Path(marker).unlink()
    except LockedError:
        return "locked out"
    except FileExistsError:
        return "not alone"
    return "alone"


def main() -> None:
    publisher = open_publisher(sys.argv[1])
    publisher.__class__ = Slow
    publisher.versions("nobody")
    say("ready")
    jobs: dict[str, Any] = {"move": move, "hold": hold, "work": work}
    for line in sys.stdin:
        job, *arguments = json.loads(line)
        say(jobs[job](publisher, *arguments))


if __name__ == "__main__":
    main()
