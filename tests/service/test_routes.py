import json
import math
import re
from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from model.decision import DECISIONS
from model.features import FEATURE_NAMES
from model.reasons import CODES
from model.settings import Settings, parse_duration
from service.app import create_app
from service.judge import MOST_VALUES
from service.schemas import RULES, Answer, Answers, Batch, Health, Ready, Transaction, Versions
from service.scorer import Loaded
from tests.service.wire import JSON, MOST_BYTES, UNKNOWN, payment, post, refused

IDS = ("transaction_id", "customer_id", "terminal_id")
FIELDS = (*IDS, "tx_datetime", "tx_amount")
MARK = "Zq7-never-repeated-Zq7"
DEEP = 100_000
ENDLESS = "9" * 5000


def with_raw(field: str, text: str) -> bytes:
    """Return a payment's JSON with one field's value as the given text, which need not be JSON."""
    document = json.dumps(payment(**{field: "@"}))
    return document.replace('"@"', text).encode("utf-8", "surrogatepass")


def log_odds(score: float) -> float:
    return math.log(score) - math.log1p(-score)


def metrics_of(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


# --- bad input: fields ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(client: TestClient, field: str) -> None:
    document = payment()
    del document[field]
    assert refused(post(client, document)) == [{"field": field, "rule": "is required"}]


def test_an_unknown_field_is_named(client: TestClient) -> None:
    errors = refused(post(client, payment(tx_ammount=MARK)), mark=MARK)
    assert errors == [{"field": "tx_ammount", "rule": "is not a known field"}]


@pytest.mark.parametrize("name", [MARK, "", "4929 1234 5678 9012", "Ada Lovelace", "\ud800", "a\x00b", "x" * 33, "é"])
def test_a_field_whose_name_could_be_data_is_not_repeated(client: TestClient, name: str) -> None:
    errors = refused(post(client, payment() | {name: 1}))
    assert errors == [{"field": "(unknown field)", "rule": "is not a known field"}]


@pytest.mark.parametrize("field", IDS)
@pytest.mark.parametrize(
    "value",
    [
        "true",
        "false",
        "null",
        "41.5",
        "7.0",
        "1e3",
        "[7]",
        '{"id": 7}',
        '""',
        '"   "',
        '"\\u00a0"',
        '"a\\u0000b"',
        '"\\u0000"',
        '"\\ud800"',
        '"\\udfff7"',
        '"a\\nb"',
        "9223372036854775808",
        "-9223372036854775809",
        ENDLESS,
        "-" + ENDLESS,
        '"' + "i" * 129 + '"',
        "NaN",
        "Infinity",
        "1e400",
    ],
)
def test_an_id_that_is_none_is_refused_by_name(client: TestClient, field: str, value: str) -> None:
    assert refused(post(client, with_raw(field, value))) == [{"field": field, "rule": RULES[field]}]


@pytest.mark.parametrize("field", IDS)
def test_an_id_of_ten_thousand_characters_is_refused_by_name(client: TestClient, field: str) -> None:
    long = MARK * (10_000 // len(MARK))
    assert refused(post(client, payment(**{field: long})), mark=MARK) == [{"field": field, "rule": RULES[field]}]


@pytest.mark.parametrize(
    "value", ["7", '"a"', '"' + "i" * 128 + '"', "-9223372036854775808", "9223372036854775807", '"é中"']
)
def test_an_id_at_the_edge_of_its_rule_is_scored(client: TestClient, value: str) -> None:
    for field in IDS:
        assert post(client, with_raw(field, value)).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        ENDLESS,
        "-" + ENDLESS,
        "1" + "0" * 400,
        "-0.01",
        "-1",
        "-1e-300",
        "1000000000000.01",
        "true",
        "null",
        '"412.50"',
        '"NaN"',
        "[1]",
        "{}",
    ],
)
def test_an_amount_that_is_none_is_refused_by_name(client: TestClient, value: str) -> None:
    errors = refused(post(client, with_raw("tx_amount", value)))
    assert errors == [{"field": "tx_amount", "rule": "must be a finite number from 0 to 1e12"}]


@pytest.mark.parametrize("value", ["0", "0.0", "-0.0", "1e-320", "412", "1e12", "1000000000000"])
def test_an_amount_at_the_edge_of_its_rule_is_scored(client: TestClient, value: str) -> None:
    response = post(client, with_raw("tx_amount", value))
    assert response.status_code == 200
    assert not any("-0" in reason["text"] for reason in response.json()["reasons"])


@pytest.mark.parametrize(
    "value",
    [
        '"1700-01-01T00:00:00Z"',
        '"1989-12-31T23:59:59Z"',
        '"2100-01-01T00:00:00Z"',
        '"2026-02-10"',
        "1770730025",
        "1770730025.5",
        '"1770730025"',
        "true",
        "null",
        '""',
        '"yesterday"',
        '"2026-02-30T10:00:00Z"',
        '"2026-02-10T25:00:00Z"',
        '"2026-02-10T10:00:61Z"',
        '"2026-02-10T10:00:00+25:00"',
        '"10/02/2026 10:00"',
        '"2026-W07-2T10:00:00"',
        '"20260210T100000Z"',
        '"2026-02-10T10"',
        '"2026-02-10T10:00:00 UTC"',
        '" 2026-02-10T10:00Z"',
        '"0001-01-01T00:00:00+23:59"',
        '"9999-12-31T23:59:59-23:59"',
        '"2026-02-10T10:00:00Z\\u0000"',
        '"\\ud800"',
        '"٢٠٢٦-02-10T10:00:00Z"',
        "NaN",
        "1e400",
        "[]",
        "{}",
    ],
)
def test_a_moment_that_is_none_is_refused_by_name(client: TestClient, value: str) -> None:
    errors = refused(post(client, with_raw("tx_datetime", value)))
    assert errors == [{"field": "tx_datetime", "rule": RULES["tx_datetime"]}]


def test_all_wrong_fields_are_named_at_once(client: TestClient) -> None:
    errors = refused(post(client, {key: [MARK] for key in FIELDS}), mark=MARK)
    assert [one["field"] for one in errors] == [
        "transaction_id",
        "tx_datetime",
        "customer_id",
        "terminal_id",
        "tx_amount",
    ]


def test_the_times_that_old_producers_send_are_accepted_and_never_used(client: TestClient) -> None:
    plain = post(client, payment())
    for value in (0, -1, 10_000_000, 1.5, "17", None):
        assert post(client, payment(tx_time_seconds=value, tx_time_days=value)).content == plain.content


@pytest.mark.parametrize("value", ["NaN", "1e400", "true", "[1]", ENDLESS])
def test_a_time_of_old_producers_is_still_a_json_value_of_its_kind(client: TestClient, value: str) -> None:
    errors = refused(post(client, with_raw("tx_time_days", value)))
    assert [one["field"] for one in errors] == ["tx_time_days"]


@pytest.mark.parametrize("value", ["nonsense", "FULL", "", "full,full"])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_another_way_to_explain_is_refused_by_name(client: TestClient, path: str, value: str) -> None:
    response = client.post(path, params={"explain": value}, json=payment())
    assert refused(response) == [{"field": "explain", "rule": "must be reasons or full"}]


# --- bad input: bodies ------------------------------------------------------------------------------------------------

TWICE_NESTED = '{"transactions": [{"customer_id": 1, "tx_amount": 1, "tx_amount": 2}]}'
BAD_BODIES = {
    "empty": b"",
    "white space": b" \r\n\t ",
    "null byte": b"\x00",
    "no JSON": MARK.encode(),
    "half a document": json.dumps(payment(customer_id=MARK)).encode()[:-1],
    "two documents": json.dumps(payment(customer_id=MARK)).encode() * 2,
    "two documents on two lines": json.dumps(payment()).encode() + b"\n" + json.dumps(payment()).encode(),
    "trailing comma": b'{"customer_id": 7,}',
    "comment": b'{"customer_id": 7} // ' + MARK.encode(),
    "single quotes": b"{'customer_id': 7}",
    "control character in text": b'{"customer_id": "a\nb"}',
    "invalid UTF-8": json.dumps(payment(customer_id="@")).encode().replace(b"@", b"\xff\xfe"),
    "overlong UTF-8": b'{"customer_id": "\xc0\xaf"}',
    "surrogates in UTF-8": b'{"customer_id": "\xed\xa0\x80"}',
    "UTF-16": json.dumps(payment()).encode("utf-16"),
    "UTF-16 without mark": json.dumps(payment()).encode("utf-16-le"),
    "UTF-32": json.dumps(payment()).encode("utf-32"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(payment()).encode(),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "key twice": b'{"customer_id": 7, "customer_id": 8}',
    "key twice, deep": TWICE_NESTED.encode(),
}


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_is_not_one_json_document_is_refused(client: TestClient, path: str, body: bytes) -> None:
    refused(post(client, body, path), status=400, mark=MARK)


def test_a_repeated_key_is_named_unless_it_could_be_data(client: TestClient) -> None:
    twice = [{"field": "tx_amount", "rule": "must not stand twice"}]
    assert refused(post(client, TWICE_NESTED.encode(), "/predict/batch"), status=400) == twice
    named = f'{{"{MARK}": 1, "{MARK}": 1}}'.encode()
    assert refused(post(client, named), status=400, mark=MARK)[0]["field"] == "(unknown field)"


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"text"', b"true", b"NaN", b"[[]]", ENDLESS.encode()])
def test_a_document_that_is_no_object_is_refused(client: TestClient, path: str, body: bytes) -> None:
    assert refused(post(client, body, path)) == [{"field": "body", "rule": "must be a JSON object"}]


@pytest.mark.parametrize("opening", [b"[", b'{"transactions":[', b'{"a":'])
def test_a_document_nested_without_end_is_refused(client: TestClient, opening: bytes) -> None:
    refused(post(client, opening * DEEP, "/predict"), status=413)
    refused(post(client, opening * DEEP, "/predict/batch"), status=400)


def test_what_is_nested_as_deep_as_a_body_allows_is_refused(client: TestClient) -> None:
    for depth in (10, 900, 990, 2000, 8000):
        response = post(client, with_raw("tx_time_days", "[" * depth + "]" * depth))
        assert 400 <= response.status_code < 500


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_body_of_twenty_megabytes_is_refused(client: TestClient, path: str) -> None:
    refused(post(client, payment(customer_id=MARK * 1_500_000), path), status=413, mark=MARK)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "multipart/form-data", "application/jsonp", "json", "*/*"]
)
def test_a_body_announced_as_something_else_is_refused(client: TestClient, kind: str) -> None:
    refused(client.post("/predict", content=json.dumps(payment()), headers={"content-type": kind}), status=415)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/cloudevents+json",
    ],
)
def test_a_body_announced_as_json_is_read(client: TestClient, kind: str) -> None:
    assert client.post("/predict", content=json.dumps(payment()), headers={"content-type": kind}).status_code == 200


def test_a_body_that_is_not_announced_at_all_is_read(client: TestClient) -> None:
    request = client.build_request("POST", "/predict", content=json.dumps(payment()).encode())
    assert "content-type" not in request.headers
    assert client.send(request).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/predict/", "/predict/7", f"/{MARK}", "/static-offline-docs/../app.py", "/redoc"]
)
def test_an_unknown_page_is_refused_without_naming_it(client: TestClient, path: str) -> None:
    for method in ("GET", "POST"):
        refused(client.request(method, path, follow_redirects=False), status=404, mark=MARK)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("DELETE", "/predict/batch", "POST"),
        ("POST", "/health", "GET"),
        ("PUT", "/metrics", "GET"),
    ],
)
def test_an_unknown_method_is_refused_with_the_one_allowed(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    response = client.request(method, path)
    refused(response, status=405)
    assert response.headers["allow"] == allowed


# --- bad input: batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1001, 1002])
def test_a_batch_of_none_or_too_many_is_refused(client: TestClient, size: int) -> None:
    errors = refused(post(client, {"transactions": [payment()] * size}, "/predict/batch"))
    assert errors == [{"field": "transactions", "rule": "must be a list of 1 to 1000 transactions"}]


@pytest.mark.parametrize(
    "document", [{}, {"transactions": None}, {"transactions": {}}, {"transactions": payment()}, payment()]
)
def test_a_body_that_is_no_batch_is_refused_by_name(client: TestClient, document: dict[str, Any]) -> None:
    assert refused(post(client, document, "/predict/batch"))[0]["field"] == "transactions"


def test_a_mistake_in_a_batch_says_in_which_transaction(client: TestClient) -> None:
    batch = [payment(), payment(tx_amount=-41.77), payment(), 7, payment(customer=MARK), payment() | {"\ud800": 1}]
    response = post(client, {"transactions": batch}, "/predict/batch")
    assert "41.77" not in response.text
    assert refused(response, mark=MARK) == [
        {"index": 1, "field": "tx_amount", "rule": RULES["tx_amount"]},
        {"index": 3, "field": "transaction", "rule": "must be a JSON object"},
        {"index": 4, "field": "customer", "rule": "is not a known field"},
        {"index": 5, "field": "(unknown field)", "rule": "is not a known field"},
    ]


def test_a_batch_full_of_mistakes_is_refused_in_two_kilobytes(client: TestClient) -> None:
    wrong = {name: [MARK] for name in (*FIELDS, "tx_time_seconds", "tx_time_days")} | {"n" * 32: 1}
    response = post(client, {"transactions": [wrong] * 1000}, "/predict/batch")
    errors = refused(response, mark=MARK)
    assert [one["index"] for one in errors] == [0] * 8
    assert response.json()["detail"].endswith("The first 8 of 8000 are listed.")


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_an_object_of_very_many_fields_is_refused_without_naming_them(client: TestClient, path: str) -> None:
    crowd = {f"{MARK}{number}": 1 for number in range(200)}
    for body in (crowd, {"transactions": [payment(), crowd]}):
        errors = refused(post(client, body, path), mark=MARK)
        assert errors == [{"field": "(unknown field)", "rule": "is not a known field"}]


def test_a_body_of_more_values_than_a_batch_can_have_is_refused_before_it_is_parsed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parsed(_: bytes) -> None:
        raise AssertionError

    body = json.dumps({"transactions": [{f"k{number}": 1 for number in range(60)}] * 2000}).encode()
    assert len(body) < Settings.model_fields["max_batch_body_bytes"].default
    monkeypatch.setattr("service.judge.parse_json", parsed)
    errors = refused(post(client, body, "/predict/batch"))
    assert errors == [{"field": "transactions", "rule": RULES["transactions"]}]


def test_the_largest_batch_with_every_field_is_far_from_that_limit(client: TestClient) -> None:
    full = payment(tx_time_seconds=1, tx_time_days=2)
    assert post(client, {"transactions": [full] * 1000}, "/predict/batch").status_code == 200
    assert 3 * json.dumps([full] * 1000).count(",") < MOST_VALUES


def test_mistakes_without_end_are_counted_up_to_a_limit(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.judge.MOST_COUNTED", 20)
    response = post(client, {"transactions": [payment(tx_amount=-1)] * 1000}, "/predict/batch")
    assert [one["index"] for one in refused(response)] == list(range(8))
    assert "after index 19 were not looked at. The first 8 of 20 are listed." in response.json()["detail"]


# --- bad input: anything ----------------------------------------------------------------------------------------------

marks = st.just(MARK) | st.just({MARK: MARK}) | st.just([MARK])
names = st.sampled_from([*FIELDS, "tx_time_days", "transactions", MARK]) | st.text(max_size=5)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | marks,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
changes = st.dictionaries(names, values, max_size=3)
fuzzed = profile(max_examples=200, deadline=None)
paths = st.sampled_from(["/predict", "/predict/batch", "/predict?explain=full"])


def assert_answered_or_refused(client: TestClient, body: bytes, path: str) -> None:
    response = post(client, body, path)
    if response.status_code != 200:
        assert 400 <= response.status_code < 500
        refused(response, status=response.status_code, mark=MARK)


@given(body=st.binary(max_size=300), path=paths)
@fuzzed
def test_any_bytes_are_answered_or_refused(client: TestClient, body: bytes, path: str) -> None:
    assert_answered_or_refused(client, body, path)


@given(place=st.integers(0, 150), cut=st.integers(0, 3), put=st.binary(max_size=3), path=paths)
@example(place=0, cut=0, put=b"\xef\xbb\xbf", path="/predict")
@fuzzed
def test_a_payment_with_a_few_bytes_changed_is_answered_or_refused(
    client: TestClient, place: int, cut: int, put: bytes, path: str
) -> None:
    whole = json.dumps(payment(customer_id=MARK)).encode()
    assert_answered_or_refused(client, whole[:place] + put + whole[place + cut :], path)


@given(document=values, path=paths)
@fuzzed
def test_any_json_is_answered_or_refused(client: TestClient, document: Any, path: str) -> None:
    assert_answered_or_refused(client, json.dumps(document).encode(), path)


@given(changed=changes, path=paths)
@fuzzed
def test_a_payment_with_any_json_in_its_fields_is_answered_or_refused(
    client: TestClient, changed: dict[str, Any], path: str
) -> None:
    document: dict[str, Any] = payment() | changed
    if path == "/predict/batch":
        document = {"transactions": [payment(), document]}
    assert_answered_or_refused(client, json.dumps(document).encode(), path)


# --- the answer -------------------------------------------------------------------------------------------------------


def test_the_same_body_gets_the_same_bytes(client: TestClient) -> None:
    for path in ("/predict", "/predict?explain=full"):
        assert len({post(client, payment(), path).content for _ in range(5)}) == 1


def test_a_repeated_transaction_id_gets_the_answer_of_what_is_sent_with_it(client: TestClient) -> None:
    first, other = post(client, payment()), post(client, payment(tx_amount=3))
    assert other.json()["score"] != first.json()["score"]
    assert post(client, payment()).content == first.content


def test_an_answer_is_what_its_schema_says_and_nothing_else(client: TestClient, payments: list[dict[str, Any]]) -> None:
    for one in payments[:50]:
        for path in ("/predict", "/predict?explain=full", "/predict?explain=reasons"):
            found = post(client, one, path).json()
            Answer.model_validate(found, strict=True)
            full = path.endswith("full")
            assert set(found) == set(Answer.model_fields) - (set() if full else {"features"})
            assert {reason["code"] for reason in found["reasons"]} <= set(CODES)


def test_the_integer_and_the_text_form_of_an_id_are_one(client: TestClient, payments: list[dict[str, Any]]) -> None:
    for one in payments[:50]:
        as_text = one | {name: str(one[name]) for name in ("customer_id", "terminal_id")}
        padded = one | {name: f" {one[name]} " for name in ("customer_id", "terminal_id")}
        answer = post(client, one)
        assert answer.json()["customer_known"]
        assert post(client, as_text).content == post(client, padded).content == answer.content


def test_a_transaction_id_comes_back_as_it_was_sent(client: TestClient) -> None:
    for sent in (7, "7", " 7 ", -(2**63), 2**63 - 1, "é中\u2028"):
        assert post(client, payment(transaction_id=sent)).json()["transaction_id"] == sent


@pytest.mark.parametrize("unknown", [UNKNOWN, 2**62, -999999, "-999999"])
def test_an_unknown_customer_and_terminal_are_scored_and_said_so(client: TestClient, unknown: int | str) -> None:
    found = post(client, payment(customer_id=unknown, terminal_id=unknown), "/predict?explain=full").json()
    assert (found["customer_known"], found["terminal_known"]) == (False, False)
    assert 0 < found["score"] < 1
    values = {name: feature["value"] for name, feature in found["features"].items()}
    assert all(value is None for name, value in values.items() if name.startswith(("customer_", "terminal_")))


def test_only_the_one_who_is_unknown_is_said_to_be(client: TestClient, payments: list[dict[str, Any]]) -> None:
    one = payments[-1]
    known = [post(client, one | change).json() for change in ({"customer_id": UNKNOWN}, {"terminal_id": UNKNOWN})]
    assert [(found["customer_known"], found["terminal_known"]) for found in known] == [(False, True), (True, False)]


def test_naive_utc_and_offset_times_of_one_moment_get_one_answer(client: TestClient) -> None:
    moments = ("2026-02-10T23:27:05", "2026-02-10T23:27:05Z", "2026-02-11T01:27:05+02:00", "2026-02-10 23:27:05+00:00")
    more = ("2026-02-10T23:27:05.000Z", "2026-02-10T23:27:05.999999999Z", "2026-02-10T18:27:05-05:00")
    answers = {post(client, payment(tx_datetime=one), "/predict?explain=full").content for one in (*moments, *more)}
    assert len(answers) == 1
    assert b'"hour":{"value":23.0' in answers.pop()


def test_an_amount_of_minus_zero_is_zero(client: TestClient) -> None:
    minus, zero = (post(client, with_raw("tx_amount", text), "/predict?explain=full") for text in ("-0.0", "0"))
    assert minus.content == zero.content


def test_reasons_and_base_value_add_up_to_the_log_odds_of_the_score(
    client: TestClient, payments: list[dict[str, Any]]
) -> None:
    for one in payments:
        found = post(client, one).json()
        total = math.fsum([found["base_value"], *(reason["contribution"] for reason in found["reasons"])])
        assert total == pytest.approx(log_odds(found["score"]), abs=1e-9)


def test_the_strongest_reason_stands_first(client: TestClient, payments: list[dict[str, Any]]) -> None:
    for one in payments[:100]:
        shares = [abs(reason["contribution"]) for reason in post(client, one).json()["reasons"]]
        assert shares == sorted(shares, reverse=True)


def test_every_feature_is_explained_as_lightgbm_does(
    client: TestClient, payments: list[dict[str, Any]], settings: Settings
) -> None:
    found = [post(client, one, "/predict?explain=full").json() for one in payments]
    assert all(list(one["features"]) == list(FEATURE_NAMES) for one in found)
    (published,) = (settings.work_folder / "cache").glob("fraud-model-*/model.txt")
    booster = lgb.Booster(model_file=str(published))
    rows = [[feature["value"] for feature in one["features"].values()] for one in found]
    expected = booster.predict(np.array(rows, dtype=float), pred_contrib=True, num_threads=1)
    shares = [[feature["contribution"] for feature in one["features"].values()] for one in found]
    np.testing.assert_allclose(shares, expected[:, :-1], rtol=0, atol=1e-6)
    np.testing.assert_allclose([one["base_value"] for one in found], expected[:, -1], rtol=0, atol=1e-6)
    totals = [math.fsum([one["base_value"], *share]) for one, share in zip(found, shares, strict=True)]
    assert totals == pytest.approx([log_odds(one["score"]) for one in found], abs=1e-9)


def test_a_full_explanation_adds_to_the_short_one_and_changes_nothing(client: TestClient) -> None:
    full = post(client, payment(), "/predict?explain=full").json()
    del full["features"]
    assert full == post(client, payment()).json()


def test_a_batch_is_answered_as_its_payments_one_by_one_bit_for_bit(
    client: TestClient, payments: list[dict[str, Any]]
) -> None:
    batch = [*payments, payment(customer_id=UNKNOWN), payment(terminal_id=UNKNOWN)]
    for path, query in (("/predict", ""), ("/predict", "?explain=full")):
        singles = [post(client, one, path + query).content for one in batch]
        together = post(client, {"transactions": batch}, f"{path}/batch{query}")
        assert together.content == b'{"answers":[' + b",".join(singles) + b"]}"


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_the_answers_of_a_batch_stand_in_its_order(
    client: TestClient, payments: list[dict[str, Any]], size: int
) -> None:
    batch = [payments[place % len(payments)] | {"transaction_id": size - place} for place in range(size)]
    found = post(client, {"transactions": batch}, "/predict/batch").json()
    Answers.model_validate(found)
    assert [one["transaction_id"] for one in found["answers"]] == [one["transaction_id"] for one in batch]


def test_a_higher_score_never_softens_a_decision(client: TestClient, payments: list[dict[str, Any]]) -> None:
    steep = [one | {"tx_amount": amount} for one in payments[:40] for amount in (1, 50, 150, 250, 900)]
    answers = post(client, {"transactions": payments + steep}, "/predict/batch").json()["answers"]
    answers.sort(key=lambda one: one["score"])
    severity = [DECISIONS.index(one["decision"]) for one in answers]
    assert severity == sorted(severity)
    assert set(severity) == {0, 1, 2}


def test_a_decision_follows_from_the_score_and_the_published_cut_offs(
    client: TestClient, payments: list[dict[str, Any]]
) -> None:
    cutoffs = client.get("/version").json()["cutoffs"]
    for one in payments:
        found = post(client, one).json()
        acted = sum(found["score"] >= cutoffs[name] for name in ("review", "decline"))
        assert found["decision"] == DECISIONS[acted]


# --- the other pages --------------------------------------------------------------------------------------------------


def test_health_and_ready_say_so(client: TestClient, loaded: Loaded) -> None:
    Health.model_validate(client.get("/health").json(), strict=True)
    ready = Ready.model_validate(client.get("/ready").json(), strict=True)
    assert (ready.model_version, ready.statistics_as_of) == (loaded.model_version, loaded.snapshot.as_of)


def test_with_nothing_loaded_the_service_is_alive_but_not_ready(settings: Settings, loaded: Loaded) -> None:
    asleep = TestClient(create_app(settings, lambda _: loaded))  # its start is never run
    assert asleep.get("/health").status_code == 200
    refused(asleep.get("/ready"), status=503)


@pytest.mark.parametrize(("limit", "status"), [("0s", 200), ("3h", 200), ("1h", 503)])
def test_ready_says_no_only_for_statistics_older_than_the_limit_and_payments_are_answered(
    settings: Settings, loaded: Loaded, monkeypatch: pytest.MonkeyPatch, limit: str, status: int
) -> None:
    strict = settings.model_copy(update={"max_statistics_age": parse_duration(limit)})
    with TestClient(create_app(strict, lambda _: loaded)) as client:
        now = loaded.snapshot.as_of_hour * 3600 + 2 * 3600
        freshness = client.app.state.judge.telemetry.freshness  # type: ignore[attr-defined]
        monkeypatch.setattr(freshness, "_clock", lambda: now)
        assert client.get("/ready").status_code == status
        assert client.get("/health").status_code == post(client, payment()).status_code == 200
        assert metrics_of(client)["fraud_statistics_age_seconds", ()] == 7200


def test_the_version_says_when_it_is_the_last_verified_copy_and_what_is_kept(
    settings: Settings, loaded: Loaded
) -> None:
    from service.scorer import Scorer

    with TestClient(create_app(settings, lambda _: loaded)) as client:
        judge = client.app.state.judge  # type: ignore[attr-defined]
        assert client.get("/version").json()["source"] == "registry"
        other = replace(loaded, model_version="8", statistics_version="9")
        judge.take(Scorer(replace(loaded, from_disk=True), settings.id_hasher()), kept=(other,))
        judge.challenger = "10"
        found = Versions.model_validate(client.get("/version").json())
        assert found.source == "last verified copy"
        assert [(one.model_version, one.statistics_version) for one in found.kept] == [("8", "9")]
        assert found.challenger is not None
        assert found.challenger.model_version == "10"
        assert metrics_of(client)["fraud_loaded_from_disk", ()] == 1


def test_the_version_says_what_answers(client: TestClient, loaded: Loaded) -> None:
    found = Versions.model_validate(client.get("/version").json(), strict=True)
    assert (found.model_version, found.statistics_version) == (loaded.model_version, loaded.statistics_version)
    assert 0 < found.cutoffs["review"] <= found.cutoffs["decline"] < 1
    assert set(found.libraries) == {"lightgbm", "numpy"}
    assert found.model["periods"]["train"][1] <= found.model["periods"]["test"][0]


def test_an_unexpected_error_is_a_problem_that_says_nothing_of_the_payment(
    settings: Settings, loaded: Loaded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(settings, lambda _: loaded), raise_server_exceptions=False) as client:
        monkeypatch.setattr("service.scorer.explain_in_words", lambda *_: 1 / 0)
        refused(post(client, payment(customer_id=MARK)), status=500, mark=MARK)
        monkeypatch.undo()
        assert ("fraud_requests_total", (("route", "/predict"), ("status", "500"))) in metrics_of(client)
        assert post(client, payment()).status_code == 200
    assert "ZeroDivisionError" in caplog.text
    assert MARK not in caplog.text


def test_the_metrics_count_exactly_the_requests_made(settings: Settings, loaded: Loaded) -> None:
    with TestClient(create_app(settings, lambda _: loaded)) as client:
        for _ in range(3):
            post(client, payment(customer_id=UNKNOWN))
        post(client, {"transactions": [payment(terminal_id=UNKNOWN)] * 5}, "/predict/batch")
        post(client, payment(tx_amount=-1))
        post(client, b"")
        client.get(f"/{MARK}")
        client.get("/health")
        found = metrics_of(client)
    counted = {labels: value for (name, labels), value in found.items() if name == "fraud_requests_total"}
    assert counted == {
        (("route", "/predict"), ("status", "200")): 3,
        (("route", "/predict/batch"), ("status", "200")): 1,
        (("route", "/predict"), ("status", "422")): 1,
        (("route", "/predict"), ("status", "400")): 1,
        (("route", "other"), ("status", "404")): 1,
        (("route", "/health"), ("status", "200")): 1,
    }
    assert sum(value for (name, _), value in found.items() if name == "fraud_decisions_total") == 8
    unknown = {labels[0][1]: value for (name, labels), value in found.items() if name == "fraud_unknown_total"}
    assert unknown == {"customer": 3, "terminal": 5}
    timed = {
        dict(labels)["route"]: value for (name, labels), value in found.items() if name == "fraud_request_seconds_count"
    }
    assert timed == {"/predict": 5, "/predict/batch": 1, "other": 1, "/health": 1}


def test_no_id_and_no_amount_is_in_the_metrics(client: TestClient, payments: list[dict[str, Any]]) -> None:
    marked = [one | {"transaction_id": MARK, "customer_id": MARK, "tx_amount": 8127.25} for one in payments[:5]]
    post(client, {"transactions": marked}, "/predict/batch")
    post(client, payment(terminal_id=MARK))
    client.get(f"/{MARK}")
    text = client.get("/metrics").text
    assert MARK not in text
    assert "8127.25" not in text
    labels = {name for (_, labels) in metrics_of(client) for name, _ in labels}
    own = {"route", "status", "decision", "entity", "model", "statistics", "engine", "result", "le", "generation"}
    assert labels <= own | {
        "implementation",
        "major",
        "minor",
        "patchlevel",
        "version",
    }


# --- the page of all calls --------------------------------------------------------------------------------------------


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []


def test_every_reference_of_the_openapi_document_leads_somewhere(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert references(document)
    for reference in references(document):
        node = document
        for name in reference.removeprefix("#/").split("/"):
            node = node[name]
        assert node


def test_the_openapi_document_describes_every_page_and_the_fields_of_every_body(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {"/predict", "/predict/batch", "/health", "/ready", "/version", "/metrics"}
    schemas = document["components"]["schemas"]
    assert set(schemas["Transaction"]["properties"]) == set(Transaction.model_fields)
    assert schemas["Transaction"]["required"] == [
        "transaction_id",
        "tx_datetime",
        "customer_id",
        "terminal_id",
        "tx_amount",
    ]
    assert all(field["description"] for field in schemas["Transaction"]["properties"].values())
    for path, model in (("/predict", "Transaction"), ("/predict/batch", "Batch")):
        call = document["paths"][path]["post"]
        body = call["requestBody"]["content"]["application/json"]
        assert body["schema"] == {"$ref": f"#/components/schemas/{model}"}
        assert set(call["responses"]) == {"200", "400", "413", "415", "422"}
        assert all(
            list(call["responses"][status]["content"]) == ["application/problem+json"]
            for status in ("400", "413", "415", "422")
        )


def test_the_examples_of_the_openapi_document_are_real(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path, asked, answered in (("/predict", Transaction, Answer), ("/predict/batch", Batch, Answers)):
        call = paths[path]["post"]
        sent = call["requestBody"]["content"]["application/json"]["example"]
        asked.model_validate(sent)
        assert post(client, sent, path).status_code == 200
        example_answer = call["responses"]["200"]["content"]["application/json"]["example"]
        found = answered.model_validate(example_answer)
        for one in found.answers if isinstance(found, Answers) else [found]:
            assert isinstance(one, Answer)
            total = one.base_value + sum(reason.contribution for reason in one.reasons)
            assert total == pytest.approx(log_odds(one.score), abs=1e-9)
            assert all(reason.code in CODES for reason in one.reasons)
        for status in ("400", "413", "415", "422"):
            problem = call["responses"][status]["content"]["application/problem+json"]["example"]
            assert problem["status"] == int(status)


def test_the_page_of_all_calls_needs_nothing_from_outside(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert not re.findall(r"(?:https?:)?//[\w.]", page.text)
    linked = re.findall(r"""(?:src|href)="([^"]*)"|url: '([^']*)'""", page.text)
    assert len(linked) >= 4
    for one, other in linked:
        assert client.get(one or other).status_code == 200
    assert '"validatorUrl": null' in page.text


def test_problem_details_fit_their_limit_with_room(client: TestClient) -> None:
    assert len(max(RULES.values(), key=len)) * 8 < MOST_BYTES
    assert client.post("/predict", content=b"", headers=JSON).headers["content-type"] == "application/problem+json"
