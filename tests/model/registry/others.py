"""Start other processes on a registry, and what they must never do, whatever the registry is."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from model.registry import LockedError, Move, MoveState, Publisher
from tests.model.registry.conftest import put, register

REPOSITORY = Path(__file__).parents[3]
ROUNDS = 10


class Other:
    """One other process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def tell(self, *job: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def others(uri: str, count: int) -> Iterator[list[Other]]:
    command = [sys.executable, "-m", "tests.model.registry.mover", uri]
    with ExitStack() as stack:
        started = []
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen(
                    command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
                )
            )
            stack.callback(process.kill)
            started.append(Other(process))
        assert [one.answer() for one in started] == ["ready"] * count
        yield started


def race_for_an_alias(racers: Sequence[Other], publisher: Publisher, name: str) -> None:
    """Two processes move one alias from the same version at once: exactly one wins, every time."""
    versions = register(publisher, name, 3)
    put(publisher, name, "champion", versions[0])
    for _ in range(ROUNDS):
        stands = publisher.moves(name)[0].after
        targets = [version for version in versions if version != stands]
        for racer, version in zip(racers, targets, strict=True):
            racer.tell("move", name, "champion", version, stands)
        outcomes = [racer.answer() for racer in racers]
        assert sorted(outcomes) == ["beaten", "won"]
        assert publisher.moves(name)[0].after == targets[outcomes.index("won")]
    story = publisher.moves(name)
    assert [move.state for move in story] == [MoveState.DONE] * (ROUNDS + 1)
    assert all(later.before == earlier.after for later, earlier in pairwise(story))


def take_over_from_the_dead(crew: Sequence[Other], publisher: Publisher, name: str, folder: Path) -> None:
    """The lock of a killed holder names it, runs out, and goes to one of several who wait for it, then the next."""
    victim, *heirs = crew
    victim.tell("hold", name, 2)
    assert victim.answer() == "holding"
    with pytest.raises(LockedError, match="held by victim since"), publisher.lock(name, "heir"):
        pytest.fail("two hold the lock")
    victim.kill()
    for _ in range(3):
        for heir in heirs:
            heir.tell("work", name, str(folder / "marker"), 60)
        assert [heir.answer() for heir in heirs] == ["alone", "alone"]
    with publisher.lock(name, "last"):
        pass


def crash_between(publisher: Publisher, monkeypatch: pytest.MonkeyPatch, name: str, *, after_alias: bool) -> list[Move]:
    """Die just before or just after the alias moved, and return what the record says then."""
    first, second = register(publisher, name, 2)
    put(publisher, name, "champion", first)
    set_alias = type(publisher)._set_alias

    def die(self: Publisher, plan: Move) -> None:
        if after_alias:
            set_alias(self, plan)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(publisher), "_set_alias", die)
        with pytest.raises(KeyboardInterrupt):
            publisher.move_alias(name, "champion", second, who="test", why="to die")
    return publisher.moves(name)
