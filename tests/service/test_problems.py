import json
from typing import Any

import pytest
from pydantic import ValidationError

from service.problems import MAX_MISTAKES, MEDIA_TYPE, TITLES, invalid_fields, printable, problem
from service.schemas import RULES, Batch, Problem
from tests.service.wire import MOST_BYTES

LONGEST = {"index": 999, "field": "x" * 32, "rule": max(RULES.values(), key=len)}


def body_of(status: int, detail: str, mistakes: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(json.loads(bytes(problem(status, detail, mistakes).body)))


@pytest.mark.parametrize("status", [*TITLES, 418, 599])
def test_a_problem_is_what_its_schema_says(status: int) -> None:
    answer = problem(status, "Why.", headers={"allow": "GET"})
    found = Problem.model_validate_json(bytes(answer.body))
    assert (answer.status_code, found.status, found.errors) == (status, status, None)
    assert found.type.startswith("urn:antifraud:")
    assert " " not in found.type
    assert (answer.headers["content-type"], answer.headers["allow"]) == (MEDIA_TYPE, "GET")


def test_one_kind_of_problem_has_one_type() -> None:
    assert len({body_of(status, "", [])["type"] for status in TITLES}) == len(TITLES)


def test_the_longest_mistakes_stay_within_two_kilobytes() -> None:
    answer = problem(422, "The request has fields that break their rules.", [LONGEST] * 5000)
    assert len(answer.body) <= MOST_BYTES


def test_no_more_than_eight_mistakes_are_listed_and_the_rest_is_counted() -> None:
    eight, nine = (body_of(422, "Why.", [LONGEST] * count) for count in (MAX_MISTAKES, MAX_MISTAKES + 1))
    assert (len(eight["errors"]), eight["detail"]) == (8, "Why.")
    assert (len(nine["errors"]), nine["detail"]) == (8, "Why. The first 8 of 9 are listed.")


@pytest.mark.parametrize("name", [*RULES, "amount", "Amount", "customerId", "tx_ammount", "_"])
def test_a_field_name_that_is_a_slip_of_the_pen_is_named(name: str) -> None:
    assert printable(name) == name


@pytest.mark.parametrize(
    "name", ["", "4929123456789012", "Ada Lovelace", "a-b", "é", "x" * 33, "a\n", "\ud800", "ada@x.org"]
)
def test_a_field_name_that_could_be_data_is_not_repeated(name: str) -> None:
    assert printable(name) == "(unknown field)"


def test_what_pydantic_says_of_a_value_never_comes_along() -> None:
    with pytest.raises(ValidationError) as found:
        Batch.model_validate({"transactions": [{"customer_id": "Zq7" * 99, "tx_datetime": "Zq7"}], "Zq7": "Zq7"})
    error = invalid_fields(found.value.errors())
    assert "Zq7" not in json.dumps(error.mistakes) + str(error)
    assert len(error.mistakes) == 6


def test_several_findings_about_one_field_are_one_mistake() -> None:
    with pytest.raises(ValidationError) as found:
        Batch.model_validate({"transactions": [{"customer_id": []}]})
    assert sum("customer_id" in one["loc"] for one in found.value.errors()) == 2
    fields = [one["field"] for one in invalid_fields(found.value.errors()).mistakes]
    assert fields.count("customer_id") == 1
