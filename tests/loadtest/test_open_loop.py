import asyncio
import itertools
import time
from collections import Counter
from typing import Any

import pytest

from loadtest.ledger import LoadResult, Outcome
from loadtest.open_loop import LoadError, run_load, run_load_blocking
from loadtest.schedules import even_schedule
from tests.loadtest.conftest import TinyServer, unused_port

BODY = b'{"some": "payment"}'
PATIENCE = 30.0  # seconds; only what is meant not to be answered takes as long


def load(server: TinyServer, *, rate: float = 200, seconds: float = 0.5, **options: Any) -> LoadResult:
    payloads = options.pop("payloads", [BODY])
    options = {"connections": 8, "timeout": PATIENCE} | options
    result = run_load_blocking("127.0.0.1", server.port, rate, seconds, payloads, **options)
    assert result.adds_up
    assert result.due == len(options.get("schedule", even_schedule(rate, seconds)))
    return result


def test_every_way_to_answer_is_counted_once_and_as_what_it_is(server: TinyServer) -> None:
    server.cycle(
        "answer", "refuse", "invalid", "broken", "unavailable", "reset", "hang", "split", "chunked", "close",
        "garbage", "cut",
    )  # fmt: skip
    result = load(server, rate=240, timeout=3, connections=64)
    given = server.given
    assert set(given.values()) == {10}
    assert result.answered == given["answer"] + given["split"] + given["chunked"] + given["close"]
    assert result.refused == given["refuse"]
    assert result.client_errors == given["invalid"]
    assert result.server_errors == given["broken"] + given["unavailable"]
    assert result.transport_errors == given["reset"] + given["hang"] + given["garbage"] + given["cut"]
    assert result.unsent == 0
    assert result.causes["no answer in time"] == given["hang"]
    assert result.causes["status 422"] == given["invalid"]


def test_every_payload_is_sent_once(server: TinyServer) -> None:
    payloads = (b"%d" % number for number in itertools.count())
    result = load(server, payloads=payloads)
    assert result.answered == result.due == 100
    assert sorted(server.bodies, key=int) == [b"%d" % number for number in range(100)]


def test_no_more_connections_than_allowed(server: TinyServer) -> None:
    load(server, rate=400, connections=5)
    assert server.most_open == 5


def test_a_service_that_stalls_cannot_hide_it(server: TinyServer) -> None:
    """One slow answer, as a client sees it that waits for each; here all that was due meanwhile counts."""
    server.stall = 0.5
    result = load(server, rate=100, seconds=1, connections=1)
    assert result.answered == 100
    assert result.max_ms >= 490
    assert result.p90_ms >= 350


def test_a_hanging_service_does_not_hold_the_generator(server: TinyServer) -> None:
    server.cycle("hang")
    result = load(server, rate=100, connections=2, timeout=0.3)
    assert server.given["hang"] > 2  # connections on which nothing came were given up, and others opened
    assert result.answered == 0
    assert result.transport_errors > 0
    assert result.unsent > 0
    assert result.errors == result.due
    assert result.p99_ms > 1e9


def test_where_nobody_listens_every_request_is_a_transport_error() -> None:
    result = run_load_blocking("127.0.0.1", unused_port(), 100, 0.3, [BODY], connections=4, timeout=PATIENCE)
    assert result.adds_up
    assert result.transport_errors == result.due == 30
    assert set(result.causes) == {"no connection: ConnectionRefusedError"}


def test_one_retry_mends_what_was_lost_on_the_way(server: TinyServer) -> None:
    seen: Counter[bytes] = Counter()

    def first_time_lost(_number: int, body: bytes) -> str:
        seen[body] += 1
        return "reset" if seen[body] == 1 else "answer"

    server.choose = first_time_lost
    payloads = (b"%d" % number for number in itertools.count())
    result = load(server, payloads=payloads, retry_once=True)
    assert (result.answered, result.retried, result.transport_errors) == (100, 100, 0)
    assert set(seen.values()) == {2}


def test_it_is_retried_once_and_not_more(server: TinyServer) -> None:
    server.cycle("reset")
    result = load(server, retry_once=True)
    assert (result.retried, result.transport_errors) == (100, 100)
    assert len(server.bodies) == 200


def test_a_refusal_is_an_answer_and_not_retried(server: TinyServer) -> None:
    server.cycle("refuse")
    result = load(server, retry_once=True)
    assert (result.refused, result.retried, result.errors) == (100, 0, 0)


def test_an_observer_sees_each_request_with_its_end(server: TinyServer) -> None:
    server.cycle("answer", "refuse")
    seen: list[tuple[Outcome, bytes, bytes]] = []
    payloads = (b"%d" % number for number in itertools.count())
    result = load(server, payloads=payloads, observe=lambda *end: seen.append(end))
    assert Counter(outcome for outcome, *_ in seen) == {Outcome.ANSWERED: 50, Outcome.REFUSED: 50}
    assert {request for _, request, _ in seen} == {b"%d" % number for number in range(result.due)}
    assert {answer for *_, answer in seen} == {b"{}"}


def test_the_generator_says_that_it_was_late_itself(server: TinyServer) -> None:
    result = load(server, observe=lambda *_: time.sleep(0.02))
    assert result.lag_max_ms >= 15
    assert result.answered == 100


def test_a_schedule_of_ones_own_is_kept(server: TinyServer) -> None:
    result = load(server, schedule=[0.0, 0.0, 0.0, 0.2])
    assert result.answered == 4


def test_payloads_that_run_out_end_the_run(server: TinyServer) -> None:
    with pytest.raises(LoadError, match="after 3 of 100"):
        load(server, payloads=iter([BODY] * 3))


@pytest.mark.parametrize("wrong", [{"rate": 0.1}, {"connections": 0}, {"timeout": 0}])
def test_a_load_of_nothing_is_refused(server: TinyServer, wrong: dict[str, Any]) -> None:
    with pytest.raises(LoadError):
        load(server, **wrong)


def test_an_observer_that_fails_ends_the_run_with_its_own_error(server: TinyServer) -> None:
    def check(_outcome: Outcome, _request: bytes, _answer: bytes) -> None:
        raise AssertionError("not what was expected")

    with pytest.raises(AssertionError, match="not what was expected"):
        load(server, observe=check)


def test_two_loads_run_side_by_side_in_one_loop(server: TinyServer) -> None:
    async def both() -> tuple[LoadResult, LoadResult]:
        calls = (run_load("127.0.0.1", server.port, rate, 0.5, [BODY], connections=4) for rate in (100, 20))
        one, other = await asyncio.gather(*calls)
        return one, other

    one, other = asyncio.run(both())
    assert (one.answered, other.answered) == (50, 10)


def test_dead_connections_are_replaced_while_nothing_arrives(server: TinyServer) -> None:
    server.cycle("close")
    result = load(server, rate=40, connections=2)
    assert result.answered == result.due == 20
