"""What the record of alias moves says: pure functions over the tags of one registered model."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import uuid4

from model.registry.contract import redact

PREFIX = "move."
KEPT_MOVES = 200
KEPT_FOR = timedelta(hours=24)
"""A move this recent is kept however many there are: whether a version may be deleted depends on it."""

_LONGEST_TEXT = 500
_STAMP = "%Y%m%dT%H%M%S.%fZ"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class MoveState(StrEnum):
    """What became of a move."""

    DONE = "done"
    MOVED = "moved, not marked done"
    NOT_MOVED = "begun, not moved"
    UNCLEAR = "begun, outcome unknown"
    OUTSIDE = "moved outside this tool"
    UNCHANGED = "already there"


_CHANGING = {MoveState.DONE, MoveState.MOVED, MoveState.OUTSIDE, MoveState.UNCLEAR}
_BEGUN = "begun"


@dataclass(frozen=True, slots=True)
class Move:
    """One move of an alias, as the registry keeps it.

    Attributes
    ----------
    before, after
        The versions that the alias named before and after; None for no alias.
    who, why
        Who or what moved it, and the reason given.
    at
        When it began, UTC; None for a move outside this tool, whose time nobody knows.
    key
        The tag that holds the record; empty where there is none.
    """

    name: str
    alias: str
    before: str | None
    after: str | None
    who: str
    why: str
    at: datetime | None
    state: MoveState
    key: str = ""

    @property
    def changed(self) -> bool:
        """Whether the alias left `before`, or may have."""
        return self.state in _CHANGING

    def __str__(self) -> str:
        before, after = ("none" if version is None else version for version in (self.before, self.after))
        return f"{self.name}/{self.alias}: {before} -> {after} ({self.state})"


def new_move(
    name: str, alias: str, *, before: str | None, after: str, who: str, why: str, at: datetime, known: Iterable[Move]
) -> Move:
    """Return a move that is about to begin, later than all known ones whatever this machine's clock says."""
    last = max((move.at for move in known if move.at is not None), default=None)
    if last is not None and at <= last:
        at = last + timedelta(microseconds=1)
    key = f"{PREFIX}{at.astimezone(UTC).strftime(_STAMP)}.{uuid4().hex[:8]}"
    return Move(name, alias, before, after, plain(who), plain(why), at, MoveState.UNCLEAR, key)


def encode(move: Move, *, done: bool) -> str:
    """Return the text of a move's tag."""
    if move.at is None:
        raise ValueError("only a move whose time is known is recorded")
    return json.dumps(
        {
            "alias": move.alias,
            "from": move.before,
            "to": move.after,
            "who": move.who,
            "why": move.why,
            "when": move.at.astimezone(UTC).isoformat(),
            "state": str(MoveState.DONE) if done else _BEGUN,
        }
    )


def recorded(name: str, tags: Mapping[str, str]) -> list[Move]:
    """Return the moves that a model's tags hold, oldest first; what is not such a record is passed over."""
    moves = (_decoded(name, key, text) for key, text in sorted(tags.items()) if key.startswith(PREFIX))
    return [move for move in moves if move is not None]


def told(name: str, tags: Mapping[str, str], aliases: Mapping[str, str]) -> list[Move]:
    """Return all moves of a model, newest first: the recorded ones with what became of them, and those that must have
    happened between them without this tool.

    Parameters
    ----------
    aliases
        The version that each alias names now.
    """  # noqa: D205 - one sentence
    records = recorded(name, tags)
    dated: list[tuple[datetime, Move]] = []
    for alias in sorted({move.alias for move in records} | set(aliases)):
        own = [move for move in records if move.alias == alias]
        dated += _explained(name, alias, own, now=aliases.get(alias))
    # The sort is stable, so what one alias did at one time stays in order.
    dated.sort(key=lambda pair: pair[0])
    return [move for _, move in reversed(dated)]


def surplus(moves: Sequence[Move], *, now: datetime) -> list[Move]:
    """Return the records, of all given oldest first, that are dropped: beyond the last 200 and older than a day."""
    older = moves[: max(0, len(moves) - KEPT_MOVES)]
    return [move for move in older if move.at is not None and now - move.at > KEPT_FOR]


def trail(moves: Iterable[Move]) -> list[str]:
    """Return the versions that an alias stands on, the present one last; the one below is what a rollback returns to.

    A version that comes back takes back what came after it: after 1, 2, 3 and a rollback to 2 the trail is 1, 2, and
    the next rollback goes to 1, not to 3.

    Parameters
    ----------
    moves
        Of one alias, newest first.
    """
    oldest_first = list(moves)[::-1]
    # What came before the oldest record that is left is known from it alone.
    stand = [move.before for move in oldest_first[:1] if move.before is not None]
    for move in oldest_first:
        if not move.changed:
            continue
        if move.after in stand:
            del stand[stand.index(move.after) + 1 :]
        elif move.after is not None:
            stand.append(move.after)
    return stand


def last_left(moves: Iterable[Move], version: str, *, now: datetime) -> datetime | None:
    """Return when an alias left a version for the last time, at the latest; None if the record knows of no such move.

    Parameters
    ----------
    moves
        Of any aliases, newest first.
    """
    # A move outside this tool happened before the alias's next record, or just now.
    bound: dict[str, datetime] = {}
    found: list[datetime] = []
    for move in moves:
        if move.before == version and move.changed:
            found.append(move.at or bound.get(move.alias, now))
        bound[move.alias] = move.at or bound.get(move.alias, now)
    return max(found, default=None)


def plain(text: str) -> str:
    """Return a text on one line, without passwords of addresses, and short enough for a record."""
    return _UNPRINTABLE.sub(" ", redact(text)).strip()[:_LONGEST_TEXT]


def _explained(name: str, alias: str, own: Sequence[Move], *, now: str | None) -> list[tuple[datetime, Move]]:
    """Return an alias's moves with the time to sort them by, oldest first."""
    latest = datetime.max.replace(tzinfo=UTC)
    if not own:
        return [(latest, _outside(name, alias, None, now))]
    dated: list[tuple[datetime, Move]] = []
    nexts = [(move.before, move.at or latest) for move in own[1:]] + [(now, latest)]
    for move, (then, when) in zip(own, nexts, strict=True):
        settled = move if move.state == MoveState.DONE else replace(move, state=_outcome(move, then=then))
        dated.append((move.at or latest, settled))
        stands = move.before if settled.state == MoveState.NOT_MOVED else move.after
        if stands != then:
            dated.append((when, _outside(name, alias, stands, then)))
    return dated


def _outcome(move: Move, *, then: str | None) -> MoveState:
    if then == move.after:
        return MoveState.MOVED
    return MoveState.NOT_MOVED if then == move.before else MoveState.UNCLEAR


def _outside(name: str, alias: str, before: str | None, after: str | None) -> Move:
    return Move(name, alias, before, after, "unknown", "", None, MoveState.OUTSIDE)


def _decoded(name: str, key: str, text: str) -> Move | None:
    try:
        fields = json.loads(text)
        return Move(
            name,
            str(fields["alias"]),
            _version(fields["from"]),
            _version(fields["to"]),
            plain(str(fields["who"])),
            plain(str(fields["why"])),
            datetime.fromisoformat(fields["when"]).astimezone(UTC),
            MoveState.DONE if fields["state"] == MoveState.DONE else MoveState.UNCLEAR,
            key,
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _version(value: object) -> str | None:
    return None if value is None else str(value)
