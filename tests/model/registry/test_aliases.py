import socket
from datetime import UTC, datetime, timedelta

import pytest

from model.registry import (
    ANY,
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasMovedError,
    Expected,
    LockedError,
    LockLostError,
    MoveState,
    Publisher,
    RefusedError,
    RegistryError,
    RegistryUnavailableError,
    default_who,
    history,
)
from model.registry.lease import Lease
from tests.model.registry.conftest import put, register
from tests.model.registry.others import crash_between


def test_a_move_is_recorded_with_who_when_from_to_and_why(publisher: Publisher, name: str) -> None:
    first, second = register(publisher, name, 2)
    began = datetime.now(UTC)
    put(publisher, name, CHAMPION, first)
    move = publisher.move_alias(name, CHAMPION, second, who="job retrain", why="recall up", expected=first)

    assert publisher.moves(name)[0] == move
    assert (move.name, move.alias, move.before, move.after) == (name, CHAMPION, first, second)
    assert (move.who, move.why, move.state) == ("job retrain", "recall up", MoveState.DONE)
    assert move.at is not None
    assert began <= move.at <= datetime.now(UTC)
    found = publisher.find_alias(name, CHAMPION)
    assert found is not None
    assert found.version == second


def test_a_model_that_is_not_there_has_no_moves(publisher: Publisher, name: str) -> None:
    assert publisher.moves(name) == []


@pytest.mark.parametrize(("expected", "words"), [("7", "version 7"), (None, "no version")])
def test_an_alias_that_is_not_where_it_was_expected_stays(
    publisher: Publisher, name: str, expected: Expected, words: str
) -> None:
    first, second = register(publisher, name, 2)
    put(publisher, name, CHAMPION, first)
    with pytest.raises(AliasMovedError, match=f"names version {first} now, not {words}") as refused:
        publisher.move_alias(name, CHAMPION, second, who="job", why="late", expected=expected)

    assert (refused.value.current, refused.value.expected) == (first, expected)
    assert len(publisher.moves(name)) == 1


def test_no_alias_yet_can_be_expected(publisher: Publisher, name: str) -> None:
    (first,) = register(publisher, name)
    move = publisher.move_alias(name, CHAMPION, first, who="job", why="the first", expected=None)
    assert (move.before, move.after) == (None, first)


def test_an_alias_that_was_expected_but_is_not_there_is_not_made(publisher: Publisher, name: str) -> None:
    (first,) = register(publisher, name)
    with pytest.raises(AliasMovedError, match="names no version now, not version 9"):
        publisher.move_alias(name, CHAMPION, first, who="job", why="w", expected="9")


@pytest.mark.parametrize("expected", [ANY, None, "1"])
def test_a_repeated_move_changes_nothing(publisher: Publisher, name: str, expected: Expected) -> None:
    first, second = register(publisher, name, 2)
    put(publisher, name, CHAMPION, first, second)
    before = publisher.moves(name)
    again = publisher.move_alias(name, CHAMPION, second, who="job", why="again", expected=expected)

    assert (again.state, again.before, again.after) == (MoveState.UNCHANGED, second, second)
    assert publisher.moves(name) == before


@pytest.mark.parametrize("version", ["999", "v1", "", "01", "-1", "1 ", "\u0661"])
def test_an_alias_cannot_name_what_is_no_version(publisher: Publisher, name: str, version: str) -> None:
    register(publisher, name)
    with pytest.raises(RegistryError, match=r"no version 999|is not a version"):
        publisher.move_alias(name, CHAMPION, version, who="job", why="w")
    assert publisher.moves(name) == []


def test_a_model_that_is_not_there_cannot_be_named(publisher: Publisher, name: str) -> None:
    with pytest.raises(RefusedError, match="there is no version 1"):
        publisher.move_alias(name, CHAMPION, "1", who="job", why="w")


def test_a_crash_before_the_alias_moves_shows_and_the_move_can_be_repeated(
    publisher: Publisher, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = crash_between(publisher, monkeypatch, name, after_alias=False)[0]
    assert (interrupted.state, interrupted.before, interrupted.after) == (MoveState.NOT_MOVED, "1", "2")

    publisher.move_alias(name, CHAMPION, "2", who="test", why="again", expected="1")
    assert [move.state for move in publisher.moves(name)] == [MoveState.DONE, MoveState.NOT_MOVED, MoveState.DONE]


def test_a_crash_after_the_alias_moved_shows_and_repeating_marks_it_done(
    publisher: Publisher, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = crash_between(publisher, monkeypatch, name, after_alias=True)[0]
    assert (interrupted.state, interrupted.before, interrupted.after) == (MoveState.MOVED, "1", "2")

    repeated = publisher.move_alias(name, CHAMPION, "2", who="test", why="again", expected="1")
    assert (repeated.state, repeated.why) == (MoveState.DONE, "to die")
    assert [move.state for move in publisher.moves(name)] == [MoveState.DONE, MoveState.DONE]


def test_an_alias_moved_by_hand_is_told_as_such(publisher: Publisher, name: str) -> None:
    first, second = register(publisher, name, 2)
    put(publisher, name, CHAMPION, first)
    publisher.set_alias(name, CHAMPION, second)
    publisher.set_alias(name, "by-hand", first)

    told = publisher.moves(name)
    assert {(move.alias, move.before, move.after) for move in told if move.state == MoveState.OUTSIDE} == {
        (CHAMPION, first, second),
        ("by-hand", None, first),
    }


def test_a_mover_that_lost_its_lock_leaves_the_alias_alone(
    publisher: Publisher, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = register(publisher, name, 2)
    put(publisher, name, CHAMPION, first)

    def lost(_: Lease) -> None:
        raise LockLostError("the lock ran out")

    with monkeypatch.context() as patched:
        patched.setattr(Lease, "check", lost)
        with pytest.raises(LockLostError):
            publisher.move_alias(name, CHAMPION, second, who="slow", why="w")
    assert publisher.moves(name)[0].state == MoveState.NOT_MOVED


def test_a_move_waits_no_longer_than_it_may(
    publisher: Publisher, name: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model.registry import open_publisher

    (first,) = register(publisher, name)
    monkeypatch.setattr("model.registry.aliases.MOVE_WAIT_SECONDS", 0.1)
    with open_publisher(uri).lock(name, "another"), pytest.raises(LockedError, match="another"):
        publisher.move_alias(name, CHAMPION, first, who="job", why="w")
    assert publisher.moves(name) == []


def test_old_records_are_dropped(publisher: Publisher, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = register(publisher, name, 2)
    monkeypatch.setattr(history, "KEPT_MOVES", 3)
    monkeypatch.setattr(history, "KEPT_FOR", timedelta(0))
    put(publisher, name, CHAMPION, *versions * 3)
    assert [move.state for move in publisher.moves(name)] == [MoveState.DONE] * 3


def test_a_name_of_the_default_mover_is_user_at_host() -> None:
    user, _, host = default_who().partition("@")
    assert user
    assert host == socket.gethostname()


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert default_who().partition("@")[0].isdecimal()


# --- pairs -----------------------------------------------------------------------------------------------------------


def pair(publisher: Publisher, **tags: str) -> tuple[str, str]:
    return register(publisher, MODEL_NAME, 1, **tags)[0], register(publisher, STATISTICS_NAME, 1, **tags)[0]


def named(publisher: Publisher) -> tuple[str | None, str | None]:
    found = publisher.find_alias(MODEL_NAME, CHAMPION), publisher.find_alias(STATISTICS_NAME, CURRENT)
    model, statistics = (None if one is None else one.version for one in found)
    return model, statistics


def test_a_pair_moves_together(fresh: Publisher) -> None:
    model, statistics = pair(fresh, feature_schema="a")
    moves = fresh.move_pair(model, statistics, who="job", why="first", expected_model=None, expected_statistics=None)

    assert named(fresh) == (model, statistics)
    assert [(move.name, move.alias, move.state) for move in moves] == [
        (MODEL_NAME, CHAMPION, MoveState.DONE),
        (STATISTICS_NAME, CURRENT, MoveState.DONE),
    ]


@pytest.mark.parametrize("tag", ["id_key_fingerprint", "feature_schema"])
def test_a_pair_that_does_not_fit_is_refused_before_anything_moves(fresh: Publisher, tag: str) -> None:
    (model,) = register(fresh, MODEL_NAME, 1, **{tag: "a"})
    (statistics,) = register(fresh, STATISTICS_NAME, 1, **{tag: "b"})
    with pytest.raises(RefusedError, match=r"do not fit: (another id key|other features)"):
        fresh.move_pair(model, statistics, who="job", why="w")
    assert named(fresh) == (None, None)
    assert fresh.moves(MODEL_NAME) == fresh.moves(STATISTICS_NAME) == []


def test_if_one_half_is_not_as_expected_neither_moves(fresh: Publisher) -> None:
    model, statistics = pair(fresh)
    with pytest.raises(AliasMovedError, match=MODEL_NAME):
        fresh.move_pair(model, statistics, who="job", why="w", expected_model="9")
    assert named(fresh) == (None, None)


@pytest.mark.parametrize("first", [True, False])
def test_if_the_second_half_cannot_move_the_first_goes_back(
    fresh: Publisher, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    if not first:
        fresh.move_pair(*pair(fresh), who="job", why="before")
    before = named(fresh)
    set_alias = Publisher._set_alias

    def refuse_model(self: Publisher, plan: history.Move) -> None:
        if plan.name == MODEL_NAME:
            raise RegistryUnavailableError("gone")
        set_alias(self, plan)

    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "_set_alias", refuse_model)
        with pytest.raises(RegistryUnavailableError, match="gone"):
            fresh.move_pair(*pair(fresh), who="job", why="w")
    assert named(fresh) == before
    for name in (MODEL_NAME, STATISTICS_NAME):
        assert fresh.moves(name)[0].state == MoveState.NOT_MOVED


def test_killed_between_the_halves_the_champion_is_unchanged_and_a_repeat_completes_the_pair(
    fresh: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.move_pair(*pair(fresh), who="job", why="before")
    later = pair(fresh)
    set_alias = Publisher._set_alias

    def die_at_the_model(self: Publisher, plan: history.Move) -> None:
        if plan.name == MODEL_NAME:
            raise KeyboardInterrupt
        set_alias(self, plan)

    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "_set_alias", die_at_the_model)
        with pytest.raises(KeyboardInterrupt):
            fresh.move_pair(*later, who="job", why="w", expected_model="1", expected_statistics="1")
    assert named(fresh) == ("1", "2")
    assert (fresh.moves(MODEL_NAME)[0].state, fresh.moves(STATISTICS_NAME)[0].state) == (
        MoveState.NOT_MOVED,
        MoveState.MOVED,
    )

    fresh.move_pair(*later, who="job", why="w", expected_model="1", expected_statistics="1")
    assert named(fresh) == ("2", "2")
    assert fresh.moves(STATISTICS_NAME)[0].state == MoveState.DONE
