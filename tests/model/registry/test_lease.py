import json
import time

import pytest

from model.registry import (
    LockedError,
    LockLostError,
    Publisher,
    RegistryError,
    RegistryUnavailableError,
    open_publisher,
)
from model.registry import lease as lease_module
from model.registry.lease import _Row, _State


class Clock:
    """The time as the leases see it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease_module, "time", clock)
    return clock


def locks(publisher: Publisher, name: str) -> list[str]:
    found = publisher._client.search_registered_models(f"name LIKE '{name}.lock.%'")
    return sorted(model.name for model in found)


def test_a_held_lock_keeps_everyone_else_out_and_says_who_holds_it_since_when(
    publisher: Publisher, name: str, clock: Clock, uri: str
) -> None:
    other = open_publisher(uri)
    with publisher.lock(name, "job-7"):
        with pytest.raises(LockedError) as refused, other.lock(name, "job-8"):
            pytest.fail("two hold the lock")
        assert (refused.value.name, refused.value.owner) == (name, "job-7")
        assert refused.value.since.timestamp() == clock.now
        assert refused.value.until.timestamp() == clock.now + 150
        assert "held by job-7 since 2027-01-15 08:00:00 UTC" in str(refused.value)
    with other.lock(name, "job-8"):
        pass


def test_the_same_thread_takes_the_same_lock_again(publisher: Publisher, name: str) -> None:
    with publisher.lock(name, "outer") as outer, publisher.lock(name, "inner") as inner:
        assert inner is outer
    with publisher.lock(name, "later") as later:
        assert later is not outer


def test_locks_of_two_names_do_not_know_each_other(publisher: Publisher, name: str) -> None:
    with publisher.lock(name, "a"), publisher.lock(f"{name}.retrain", "b"), publisher.lock(f"{name[:-1]}_", "c"):
        pass


def test_one_generation_is_left_over_and_none_is_a_version(publisher: Publisher, name: str) -> None:
    for _ in range(3):
        with publisher.lock(name, "job"):
            pass
    assert locks(publisher, name) == [f"{name}.lock.3"]
    assert publisher.versions(name) == []


def test_a_lock_is_free_after_an_error_in_its_block(publisher: Publisher, name: str) -> None:
    with pytest.raises(ZeroDivisionError), publisher.lock(name, "job"):
        raise ZeroDivisionError
    with publisher.lock(name, "job"):
        pass


def test_a_waiter_gets_the_lock_once_it_is_free_and_gives_up_when_its_time_is_over(
    publisher: Publisher, name: str, clock: Clock
) -> None:
    row = _Row(publisher._client, publisher._uri, name)
    generation, state = row.take("dead", 20)
    began = clock.now
    with pytest.raises(LockedError), publisher.lock(name, "job", wait=5):
        pytest.fail("two hold the lock")
    assert 5 <= clock.now - began < 6
    with publisher.lock(name, "job", wait=30):
        # The clocks of two machines may differ by a quarter of the lease.
        assert began + 25 <= clock.now < began + 27
        assert row.highest()[0] == generation + 1
    assert state.owner == "dead"


def test_a_lease_that_ran_out_while_nobody_else_came_is_taken_again(
    publisher: Publisher, name: str, clock: Clock
) -> None:
    with publisher.lock(name, "job", seconds=60) as lease:
        clock.now += 1000
        lease.check()
        assert locks(publisher, name) == [f"{name}.lock.2"]
        with pytest.raises(LockedError, match="job"):
            _Row(publisher._client, publisher._uri, name).take("another", 60)
    _Row(publisher._client, publisher._uri, name).take("another", 60)


def test_a_lease_that_ran_out_and_was_held_by_another_is_lost_even_once_that_is_over(
    publisher: Publisher, name: str, clock: Clock, uri: str
) -> None:
    other = open_publisher(uri)
    with publisher.lock(name, "job", seconds=60) as lease:
        clock.now += 1000
        with other.lock(name, "another"):
            pass
        for _ in range(2):
            with pytest.raises(LockLostError, match="another took it"):
                lease.check()


def test_a_lease_that_ran_out_holds_nothing_while_the_registry_cannot_be_asked(
    publisher: Publisher, name: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: _Row) -> tuple[int, _State | None]:
        raise RegistryUnavailableError("gone")

    with publisher.lock(name, "job", seconds=60) as lease:
        clock.now += 60
        with monkeypatch.context() as patched:
            patched.setattr(_Row, "highest", gone)
            with pytest.raises(LockLostError, match="cannot be renewed: gone"):
                lease.check()
        lease.check()


def test_a_renewal_moves_the_end(publisher: Publisher, name: str, clock: Clock) -> None:
    with publisher.lock(name, "job", seconds=60) as lease:
        clock.now += 50
        assert lease._renewed()
        clock.now += 50
        lease.check()


def test_a_renewal_that_crosses_a_taker_wins_nothing(
    publisher: Publisher, name: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = _Row.write

    def slow(self: _Row, generation: int, state: _State) -> None:
        clock.now += 100
        with monkeypatch.context() as patched:
            patched.setattr(_Row, "write", write)
            patched.setattr(_Row, "_delete", lambda *_: None)
            self.take("awake", 60)
        write(self, generation, state)

    with publisher.lock(name, "job", seconds=60) as lease:
        clock.now += 10
        with monkeypatch.context() as patched:
            patched.setattr(_Row, "write", slow)
            assert not lease._renewed()


@pytest.mark.parametrize("swept", [True, False])
def test_a_holder_that_stood_still_notices_that_another_took_over(
    publisher: Publisher, name: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, swept: bool
) -> None:
    row = _Row(publisher._client, publisher._uri, name)
    with publisher.lock(name, "asleep", seconds=60) as lease:
        clock.now += 76
        if not swept:
            monkeypatch.setattr(_Row, "_delete", lambda *_: None)
        row.take("awake", 60)
        clock.now -= 30  # even one whose clock is slow
        assert not lease._renewed()
        with pytest.raises(LockedError, match="awake"):
            row.take("third", 60)
    with pytest.raises(LockedError, match="awake"):
        row.take("third", 60)


def test_a_lock_is_renewed_in_the_background(publisher: Publisher, name: str) -> None:
    with publisher.lock(name, "job", seconds=3) as lease:
        before, deadline = lease._state.expires, time.monotonic() + 60
        while lease._state.expires == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert lease._state.expires > before
        lease.check()


def test_a_number_that_was_won_and_swept_away_is_not_won_again(
    publisher: Publisher, name: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, slow = (_Row(publisher._client, publisher._uri, name) for _ in range(2))
    row.take("dead", 60)
    clock.now += 100
    stale = slow.highest()
    for owner in ("second", "third"):
        generation, state = row.take(owner, 60)
        if owner == "second":
            row.write(generation, _State(state.token, owner, 0, 60, 0))
    views = [stale]
    highest = _Row.highest
    monkeypatch.setattr(slow, "highest", lambda: views.pop() if views else highest(slow), raising=False)

    with pytest.raises(LockedError, match="third"):
        slow.take("slow", 60)
    assert locks(publisher, name) == [f"{name}.lock.3"]


def test_an_answer_that_was_lost_does_not_lose_the_lock(
    publisher: Publisher, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = publisher._client.create_registered_model

    def twice(*arguments: object, **named: object) -> object:
        create(*arguments, **named)
        return create(*arguments, **named)  # as a client does that repeats what it had no answer to

    monkeypatch.setattr(publisher._client, "create_registered_model", twice)
    with publisher.lock(name, "job"):
        assert locks(publisher, name) == [f"{name}.lock.1"]


@pytest.mark.parametrize("text", ["", "null", json.dumps({"token": "x"}), json.dumps({"expires": "soon"})])
def test_a_lock_whose_tag_was_spoilt_by_hand_is_free(publisher: Publisher, name: str, text: str) -> None:
    publisher._client.create_registered_model(f"{name}.lock.7", tags={"lock": text})
    publisher._client.create_registered_model(f"{name}.lock.not-a-number")
    with publisher.lock(name, "job"):
        assert f"{name}.lock.8" in locks(publisher, name)


@pytest.mark.parametrize("wrong", ["", "a b", "it's", "a%b", "x" * 201])
def test_a_name_that_would_break_the_query_is_refused(publisher: Publisher, wrong: str) -> None:
    with pytest.raises(RegistryError, match="cannot name a lock"), publisher.lock(wrong, "job"):
        pytest.fail("held")


def test_a_lock_that_changes_hands_too_fast_is_given_up(
    publisher: Publisher, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Row, "_create", lambda *_: False)
    with pytest.raises(RegistryUnavailableError, match="faster"), publisher.lock(name, "job"):
        pytest.fail("held")
