import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.registry.history import (
    KEPT_MOVES,
    Move,
    MoveState,
    encode,
    last_left,
    new_move,
    plain,
    recorded,
    surplus,
    told,
    trail,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ALIASES = ("champion", "challenger")


class Registry:
    """The tags and aliases of one model, and the moves that really happened."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self.now = NOON

    def move(self, alias: str, to: str, *, crash: str = "never") -> None:
        before = self.aliases.get(alias)
        if before == to:
            return
        self.now += timedelta(minutes=1)
        known = recorded("m", self.tags)
        move = new_move("m", alias, before=before, after=to, who="w", why="y", at=self.now, known=known)
        self.tags[move.key] = encode(move, done=False)
        if crash == "before":
            return
        self.aliases[alias] = to
        if crash == "never":
            self.tags[move.key] = encode(move, done=True)

    def outside(self, alias: str, to: str) -> None:
        self.aliases[alias] = to

    def told(self, alias: str | None = None) -> list[Move]:
        return [move for move in told("m", self.tags, self.aliases) if alias in (None, move.alias)]

    def states(self) -> list[tuple[str | None, str | None, MoveState]]:
        return [(move.before, move.after, move.state) for move in self.told()]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(ALIASES),
        st.sampled_from("1234"),
        st.sampled_from(["never", "before", "between", "outside"]),
    ),
    max_size=12,
)


@given(STEPS)
def test_whatever_happened_the_story_leads_without_gap_to_where_each_alias_is(
    steps: list[tuple[str, str, str]],
) -> None:
    registry = Registry()
    for alias, to, how in steps:
        if how == "outside":
            registry.outside(alias, to)
        else:
            registry.move(alias, to, crash=how)
    for alias in ALIASES:
        story = registry.told(alias)[::-1]
        place = story[0].before if story else None
        for move in story:
            assert move.before == place
            place = move.after if move.changed else place
        assert place == registry.aliases.get(alias)
        stand = trail(registry.told(alias))
        assert stand[-1:] == ([] if place is None else [place])
        assert len(set(stand)) == len(stand)


@given(STEPS)
def test_every_completed_move_is_told_as_done(steps: list[tuple[str, str, str]]) -> None:
    registry = Registry()
    expected = 0
    for alias, to, _ in steps:
        expected += registry.aliases.get(alias) != to
        registry.move(alias, to)
    assert [move.state for move in registry.told()] == [MoveState.DONE] * expected


def test_a_crash_before_and_a_crash_after_the_alias_moved_are_told_apart() -> None:
    registry = Registry()
    registry.move("champion", "1")
    registry.move("champion", "2", crash="before")
    assert registry.states()[0] == ("1", "2", MoveState.NOT_MOVED)
    registry.move("champion", "3", crash="between")
    registry.move("champion", "4")

    assert registry.states() == [
        ("3", "4", MoveState.DONE),
        ("1", "3", MoveState.MOVED),
        ("1", "2", MoveState.NOT_MOVED),
        (None, "1", MoveState.DONE),
    ]


def test_a_move_that_no_record_explains_is_told_where_it_must_have_happened() -> None:
    registry = Registry()
    registry.outside("champion", "1")
    assert registry.states() == [(None, "1", MoveState.OUTSIDE)]
    registry.move("champion", "2")
    registry.outside("champion", "3")
    registry.move("champion", "4")
    registry.outside("champion", "5")

    assert registry.states() == [
        ("4", "5", MoveState.OUTSIDE),
        ("3", "4", MoveState.DONE),
        ("2", "3", MoveState.OUTSIDE),
        ("1", "2", MoveState.DONE),
    ]


def test_an_interrupted_move_followed_by_one_outside_is_unclear() -> None:
    registry = Registry()
    registry.move("champion", "1")
    registry.move("champion", "2", crash="before")
    registry.outside("champion", "3")

    assert [state for _, _, state in registry.states()] == [MoveState.OUTSIDE, MoveState.UNCLEAR, MoveState.DONE]


def test_an_alias_that_was_taken_away_is_told() -> None:
    registry = Registry()
    registry.move("champion", "1")
    del registry.aliases["champion"]
    assert registry.states()[0] == ("1", None, MoveState.OUTSIDE)
    assert trail(registry.told()) == ["1"]


def test_a_clock_that_goes_wrong_does_not_change_the_order() -> None:
    registry = Registry()
    registry.move("champion", "1")
    registry.now -= timedelta(hours=5)
    registry.move("champion", "2")
    assert registry.states() == [("1", "2", MoveState.DONE), (None, "1", MoveState.DONE)]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("123", ["1", "2", "3"]),
        ("1232", ["1", "2"]),
        ("12321", ["1"]),
        ("12324", ["1", "2", "4"]),
        ("1212", ["1", "2"]),
        ("1231", ["1"]),
        ("", []),
    ],
)
def test_a_version_that_comes_back_takes_back_what_came_after_it(order: str, expected: list[str]) -> None:
    registry = Registry()
    for version in order:
        registry.move("champion", version)
    assert trail(registry.told()) == expected


def test_the_trail_begins_below_the_oldest_record_that_is_left() -> None:
    registry = Registry()
    for version in "123":
        registry.move("champion", version)
    del registry.tags[min(registry.tags)]
    assert trail(registry.told()) == ["1", "2", "3"]


def test_a_version_was_left_when_an_alias_went_on_for_the_last_time() -> None:
    registry = Registry()
    for version in "121":
        registry.move("champion", version)
    registry.move("challenger", "2")
    now = registry.now + timedelta(hours=1)

    assert last_left(registry.told(), "1", now=now) == NOON + timedelta(minutes=2)
    assert last_left(registry.told(), "2", now=now) == NOON + timedelta(minutes=3)
    assert last_left(registry.told(), "9", now=now) is None


def test_a_version_left_outside_this_tool_may_have_been_left_as_late_as_the_next_record() -> None:
    registry = Registry()
    registry.move("champion", "1")
    registry.outside("champion", "2")
    later = registry.now + timedelta(days=9)
    assert last_left(registry.told(), "1", now=later) == later
    registry.move("champion", "3")
    assert last_left(registry.told(), "1", now=later) == registry.now


def test_an_interrupted_move_that_left_nothing_protects_nothing() -> None:
    registry = Registry()
    registry.move("champion", "1")
    registry.move("champion", "2", crash="before")
    assert last_left(registry.told(), "1", now=NOON) is None


def test_the_oldest_records_are_dropped_but_none_of_the_last_day() -> None:
    registry = Registry()
    for count in range(KEPT_MOVES + 5):
        registry.move("champion", str(count + 1))
    moves = recorded("m", registry.tags)
    assert surplus(moves, now=registry.now) == []
    assert surplus(moves, now=registry.now + timedelta(days=2)) == moves[:5]
    assert surplus(moves[5:], now=registry.now + timedelta(days=2)) == []


@pytest.mark.parametrize("spoilt", ["", "{}", "[]", "null", '{"alias": "champion"}', "\ud800"])
def test_a_record_spoilt_by_hand_is_passed_over(spoilt: str) -> None:
    registry = Registry()
    registry.move("champion", "1")
    tags = {**registry.tags, "move.spoilt": spoilt, "other": "x"}
    assert recorded("m", tags) == recorded("m", registry.tags)


def test_a_record_holds_who_when_from_to_why_and_no_password() -> None:
    why = "see http://ada:s3cret@wiki/page\nsecond line" + "x" * 1000
    move = new_move("m", "champion", before=None, after="1", who="job", why=why, at=NOON, known=[])
    text = encode(move, done=True)

    assert "s3cret" not in text
    assert "\n" not in move.why
    assert len(move.why) <= 500
    fields = json.loads(text)
    assert (fields["alias"], fields["from"], fields["to"], fields["who"]) == ("champion", None, "1", "job")
    assert (fields["when"], fields["state"]) == ("2026-11-22T12:00:00+00:00", "done")
    assert recorded("m", {move.key: text})[0].why == move.why


def test_text_for_a_terminal_has_no_control_signs() -> None:
    assert plain("red \x1b[31m\u2028 bell \x07 ") == "red  [31m  bell"
