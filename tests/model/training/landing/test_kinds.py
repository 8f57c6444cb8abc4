import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from model.training.landing.kinds import DECISION_KIND, REPORT_KIND, Kind, RejectedError, read_row
from tests.service.wire import payment

DECISION: dict[str, Any] = {
    "transaction_id": 1754155,
    "decision": "review",
    "score": 0.83,
    "reasons": [{"code": "AMOUNT_ABOVE_CUSTOMER_NORMAL", "text": "Amount 412.00 is höher", "contribution": 2.31}],
    "customer_known": True,
    "terminal_known": False,
    "model_version": "7",
    "statistics_as_of": "2026-11-22T13:00:00Z",
}
REPORT: dict[str, Any] = {"transaction_id": "tx-1", "report_datetime": "2026-11-22T14:00:00+01:00", "tx_fraud": 0}


def row(kind: Kind, fields: dict[str, Any]) -> dict[str, Any]:
    return read_row(kind, json.dumps(fields).encode())


def test_a_decision_becomes_typed_columns_and_its_reasons_stay_json() -> None:
    found = row(DECISION_KIND, DECISION)
    assert found["transaction_id"] == "1754155"
    assert found["statistics_as_of"] == datetime(2026, 11, 22, 13, tzinfo=UTC)
    assert (found["decision"], found["score"], found["terminal_known"]) == ("review", 0.83, False)
    assert json.loads(found["reasons"]) == DECISION["reasons"]


@pytest.mark.parametrize("explain", ["", "?explain=full"])
def test_what_the_service_answers_is_a_decision_that_lands(client: TestClient, explain: str) -> None:
    answer = client.post(f"/predict{explain}", json=payment())
    found = read_row(DECISION_KIND, answer.content)
    said = answer.json()
    assert (found["decision"], found["score"], found["model_version"]) == (
        said["decision"],
        said["score"],
        said["model_version"],
    )
    assert json.loads(found["reasons"]) == said["reasons"]


def test_what_a_producer_sends_besides_is_not_landed() -> None:
    found = row(DECISION_KIND, DECISION | {"customer_id": 4711, "note": "of customer 4711"})
    assert "4711" not in str(found)
    assert found == row(DECISION_KIND, DECISION)


@pytest.mark.parametrize("name", ["reasons", "customer_known", "terminal_known"])
def test_an_older_producer_may_leave_out_what_the_decision_does_not_rest_on(name: str) -> None:
    assert row(DECISION_KIND, {key: value for key, value in DECISION.items() if key != name})["decision"] == "review"


def test_a_report_is_in_utc_and_who_says_no_more_means_a_fraud() -> None:
    assert row(REPORT_KIND, REPORT)["report_datetime"] == datetime(2026, 11, 22, 13, tzinfo=UTC)
    assert row(REPORT_KIND, REPORT)["tx_fraud"] == 0
    short = {key: value for key, value in REPORT.items() if key != "tx_fraud"}
    assert row(REPORT_KIND, short)["tx_fraud"] == 1
    naive = REPORT | {"report_datetime": "2026-11-22 13:00:00"}
    assert row(REPORT_KIND, naive)["report_datetime"] == datetime(2026, 11, 22, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (DECISION_KIND, "transaction_id", None),
        (DECISION_KIND, "transaction_id", -999999),
        (DECISION_KIND, "transaction_id", True),
        (DECISION_KIND, "transaction_id", "\ud800"),
        (DECISION_KIND, "decision", "perhaps"),
        (DECISION_KIND, "score", 1.01),
        (DECISION_KIND, "score", float("nan")),
        (DECISION_KIND, "score", "0.5"),
        (DECISION_KIND, "score", True),
        (DECISION_KIND, "customer_known", 1),
        (DECISION_KIND, "customer", "4711"),
        (DECISION_KIND, "model_version", None),
        (DECISION_KIND, "statistics_as_of", "yesterday"),
        (DECISION_KIND, "statistics_as_of", "0001-01-01T00:00:00+23:00"),
        (DECISION_KIND, "reasons", "none"),
        (DECISION_KIND, "reasons", [float("inf")]),
        (DECISION_KIND, "reasons", ["\udfff"]),
        (REPORT_KIND, "report_datetime", None),
        (REPORT_KIND, "report_datetime", "2026-11-22"),
        (REPORT_KIND, "report_datetime", "1970-01-01T00:00:00Z"),
        (REPORT_KIND, "report_datetime", 1700000000),
        (REPORT_KIND, "tx_fraud", 2),
        (REPORT_KIND, "tx_fraud", []),
    ],
)
def test_a_field_that_breaks_its_rule_is_named_and_its_value_is_not(kind: Kind, field: str, value: Any) -> None:
    fields = (DECISION if kind is DECISION_KIND else REPORT) | {field: value}
    with pytest.raises(RejectedError, match=f"^{field} ") as caught:
        row(kind, fields)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("value", [None, b"", b"{", b"[1]", b"7", b"\xff{}", b"[" * 100_000, b'{"a": ' + b"9" * 5000])
def test_what_is_no_object_is_rejected(value: bytes | None) -> None:
    with pytest.raises(RejectedError, match="value"):
        read_row(DECISION_KIND, value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(("kind", "good"), [(DECISION_KIND, DECISION), (REPORT_KIND, REPORT)])
@given(changed=st.data())
def test_any_value_of_any_field_is_a_row_or_is_rejected(
    kind: Kind, good: dict[str, Any], changed: st.DataObject
) -> None:
    name = changed.draw(st.sampled_from(sorted(good)))
    value = json.dumps(good | {name: changed.draw(JSON)}).encode()
    try:
        found = read_row(kind, value)
    except RejectedError:
        return
    assert {*found, "partition", "offset", "timestamp"} == set(kind.schema.names)
