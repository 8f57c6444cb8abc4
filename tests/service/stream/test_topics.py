"""What comes in, what goes out, in which headers: without a broker, and held to what the service answers."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from starlette.testclient import TestClient

from model.settings import Settings
from service.judge import Judge
from service.scorer import Loaded, Scorer
from service.stream.topics import LARGEST_LETTER, LONGEST_KEY, REASONS, Clerk, Outgoing
from service.telemetry import Telemetry
from tests.service.wire import MOST_BYTES, payment, post


@dataclass
class Message:
    """A message as the client would hand it over."""

    body: bytes | None
    name: bytes | None = None
    said: list[tuple[str, bytes | None]] | None = None

    def value(self) -> bytes | None:
        return self.body

    def key(self) -> bytes | None:
        return self.name

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self.said

    def topic(self) -> str:
        return "payments"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 1234


@pytest.fixture(scope="module")
def judge(loaded: Loaded, settings: Settings) -> Judge:
    judge = Judge(Telemetry())
    judge.take(Scorer(loaded, settings.id_hasher()))
    return judge


@pytest.fixture(scope="module")
def clerk(judge: Judge, settings: Settings) -> Clerk:
    return Clerk(settings, judge)


def as_body(document: Any) -> bytes:
    return json.dumps(document).encode()


def version(number: bytes | None) -> list[tuple[str, bytes | None]]:
    return [("trace", b"x"), ("schema-version", number)]


def headers(outgoing: Outgoing) -> dict[str, bytes]:
    assert len(dict(outgoing.headers)) == len(outgoing.headers)
    return dict(outgoing.headers)


def test_a_decision_is_the_answer_of_the_service_byte_for_byte(
    clerk: Clerk, client: TestClient, payments: list[dict[str, Any]]
) -> None:
    for one in payments:
        body = as_body(one)
        outgoing = clerk.handle(Message(body))
        assert outgoing.value == post(client, body).content
        assert outgoing.topic == "decisions"
        assert outgoing.key == str(one["transaction_id"]).encode()


def test_a_decision_says_its_versions_and_where_its_payment_stands(clerk: Clerk, loaded: Loaded) -> None:
    assert headers(clerk.handle(Message(as_body(payment())))) == {
        "schema-version": b"1",
        "model-version": loaded.model_version.encode(),
        "source-topic": b"payments",
        "source-partition": b"3",
        "source-offset": b"1234",
    }


def test_explain_full_is_a_setting(judge: Judge, settings: Settings, client: TestClient) -> None:
    body = as_body(payment())
    full = Clerk(settings.model_copy(update={"stream_explain": "full"}), judge)
    assert full.handle(Message(body)).value == post(client, body, "/predict?explain=full").content


def test_a_decision_keeps_the_key_of_its_payment_unless_that_is_not_wanted(judge: Judge, settings: Settings) -> None:
    message = Message(as_body(payment(transaction_id="t-1")), b"card 7")
    assert Clerk(settings, judge).handle(message).key == b"card 7"
    apart = Clerk(settings.model_copy(update={"stream_key": "transaction"}), judge)
    assert apart.handle(message).key == b"t-1"


@pytest.mark.parametrize("said", [None, [], [("other", b"2")], version(b"1")])
def test_version_1_is_the_body_of_the_service_to_the_letter(
    clerk: Clerk, client: TestClient, said: list[tuple[str, bytes | None]] | None
) -> None:
    body = as_body(payment(channel="web"))
    outgoing = clerk.handle(Message(body, None, said))
    assert outgoing.reason == "invalid-field"
    assert headers(outgoing)["problem"] == post(client, body).content


def test_version_2_takes_fields_beside_and_looks_at_none_of_them(clerk: Clerk, client: TestClient) -> None:
    body = as_body(payment(channel="web", merchant={"country": "DE", "tags": [1, 2]}))
    outgoing = clerk.handle(Message(body, None, version(b"2")))
    assert outgoing.value == post(client, payment()).content


def test_version_2_is_as_strict_on_the_fields_it_knows(clerk: Clerk) -> None:
    outgoing = clerk.handle(Message(as_body(payment(tx_amount=-1, channel="web")), None, version(b"2")))
    found = headers(outgoing)
    assert (outgoing.reason, found["field"]) == ("invalid-field", b"tx_amount")
    assert found["schema-version"] == b"2"


@pytest.mark.parametrize("number", [b"3", b"", b"1 ", b"01", b"\xff\xfe", None, b"2" * 500])
def test_an_unknown_version_is_a_dead_letter(clerk: Clerk, number: bytes | None) -> None:
    body = as_body(payment())
    outgoing = clerk.handle(Message(body, b"k", version(number)))
    assert (outgoing.topic, outgoing.reason) == ("payments-dead-letter", "unknown-schema")
    found = headers(outgoing)
    assert (found["field"], found["rule"]) == (b"schema-version", b"must be 1 or 2")
    assert (outgoing.key, outgoing.value) == (b"k", body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b"\xff", "not-json"),
        (b'{"a":1,"a":2}', "not-json"),
        (b"[]", "invalid-field"),
        (b"7", "invalid-field"),
        (b"{}", "invalid-field"),
        (as_body(payment(tx_amount="12")), "invalid-field"),
        (as_body(payment(tx_amount=float("nan"))), "invalid-field"),
        (as_body(payment()) + b" " * 20_000, "too-large"),
    ],
)
def test_a_dead_letter_has_the_problem_of_the_service_and_the_message_as_it_came(
    clerk: Clerk, client: TestClient, body: bytes, reason: str
) -> None:
    outgoing = clerk.handle(Message(body, b"k"))
    found = headers(outgoing)
    assert (outgoing.topic, outgoing.key, outgoing.value) == ("payments-dead-letter", b"k", body)
    assert (outgoing.reason, found["reason"]) == (reason, reason.encode())
    assert found["problem"] == post(client, body).content
    assert (found["source-topic"], found["source-partition"], found["source-offset"]) == (b"payments", b"3", b"1234")
    mistakes = json.loads(found["problem"]).get("errors", [])
    first = [(one["field"].encode(), one["rule"].encode()) for one in mistakes[:1]]
    assert [(found.get("field"), found.get("rule"))] == (first or [(None, None)])


def test_a_tombstone_is_a_dead_letter(clerk: Clerk) -> None:
    outgoing = clerk.handle(Message(None, b"k"))
    assert (outgoing.reason, outgoing.key, outgoing.value) == ("tombstone", b"k", None)


def test_what_no_topic_may_take_is_left_out_and_its_size_is_said(clerk: Clerk) -> None:
    outgoing = clerk.handle(Message(b"x" * (LARGEST_LETTER + 1), b"k" * (LONGEST_KEY + 1)))
    assert (outgoing.key, outgoing.value) == (None, None)
    found = headers(outgoing)
    assert (found["value-left-out"], found["key-left-out"]) == (b"524289 bytes", b"1025 bytes")


def test_a_key_that_is_too_long_is_a_dead_letter(clerk: Clerk) -> None:
    outgoing = clerk.handle(Message(as_body(payment()), b"k" * (LONGEST_KEY + 1)))
    assert (outgoing.reason, headers(outgoing)["field"]) == ("key-too-long", b"key")


def test_dead_letters_can_be_without_what_the_bank_sent(judge: Judge, settings: Settings) -> None:
    clerk = Clerk(settings.model_copy(update={"stream_dead_letter_values": False}), judge)
    outgoing = clerk.handle(Message(as_body(payment(customer_id="secret-7", tx_amount=-5)), b"secret-7"))
    assert (outgoing.key, outgoing.value) == (None, None)
    assert b"secret-7" not in b"".join(said for _, said in outgoing.headers)


def test_an_unexpected_error_is_a_dead_letter_and_not_the_end(settings: Settings, loaded: Loaded) -> None:
    judge = Judge(Telemetry())
    judge.take(Scorer(loaded, settings.id_hasher()))

    def broken(*_: object) -> None:
        raise RuntimeError("no")

    judge.samples = (broken,)
    outgoing = Clerk(settings, judge).handle(Message(as_body(payment())))
    assert outgoing.reason == "internal"
    assert json.loads(headers(outgoing)["problem"])["status"] == 500


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.none() | st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(as_body),
    st.none() | st.binary(max_size=2000),
    st.none() | st.lists(st.tuples(st.sampled_from(["schema-version", "x"]), st.none() | st.binary(max_size=40))),
)
def test_nothing_that_arrives_stops_it(
    clerk: Clerk, body: bytes | None, key: bytes | None, said: list[tuple[str, bytes | None]] | None
) -> None:
    outgoing = clerk.handle(Message(body, key, said))
    assert outgoing.reason in REASONS
    assert len(headers(outgoing)["problem"]) <= MOST_BYTES
