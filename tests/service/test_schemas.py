from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model.transaction import MAX_ID_LENGTH, canonical_id
from service.schemas import MAX_BATCH, RULES, Batch, Transaction, parse_moment
from tests.service.wire import payment

moments = st.datetimes(datetime(1990, 1, 3), datetime(2099, 12, 30))
offsets = st.integers(-24 * 60 + 1, 24 * 60 - 1)


@given(moments, offsets)
def test_every_offset_names_the_same_moment(moment: datetime, minutes: int) -> None:
    local = moment + timedelta(minutes=minutes)
    sign, size = "-" if minutes < 0 else "+", abs(minutes)
    text = f"{local.isoformat(timespec='microseconds')}{sign}{size // 60:02d}:{size % 60:02d}"
    assert parse_moment(text) == parse_moment(moment.isoformat(timespec="microseconds")) == moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("10:00", 0),
        ("10:00:00", 0),
        ("10:00:00.5", 500_000),
        ("10:00:00.123456Z", 123_456),
        ("10:00:00.123456789Z", 123_456),
    ],
)
def test_seconds_and_their_parts_may_be_left_out(text: str, microseconds: int) -> None:
    expected = datetime(2026, 4, 1, 10, 0, 0, microseconds, UTC)
    assert parse_moment(f"2026-04-01T{text}") == parse_moment(f"2026-04-01 {text}") == expected


@pytest.mark.parametrize("text", ["1990-01-01T00:00:00Z", "2099-12-31T23:59:59.999999Z", "1990-01-01T01:00:00+01:00"])
def test_the_first_and_the_last_moment_are_taken(text: str) -> None:
    assert parse_moment(text).tzinfo is not None


@pytest.mark.parametrize(
    "text",
    ["1989-12-31T23:59:59.999999Z", "2100-01-01T00:00Z", "1990-01-01T00:59:59+01:00", "2099-12-31T23:30:00-01:00"],
)
def test_the_moments_just_outside_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="1990 to 2099"):
        parse_moment(text)


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?", fullmatch=True))
def test_any_text_is_a_moment_or_refused_with_the_rule(text: str) -> None:
    try:
        assert 1990 <= parse_moment(text).astimezone(UTC).year < 2100
    except ValueError as error:
        refused_by_us = str(error) == RULES["tx_datetime"]
        assert refused_by_us or len(text) >= 16  # a calendar has no such day; pydantic turns that into the same rule


def is_taken(identifier: Any) -> bool:
    try:
        Transaction.model_validate(payment(customer_id=identifier))
    except ValidationError:
        return False
    return True


@given(st.text(max_size=MAX_ID_LENGTH + 2) | st.integers())
def test_an_id_that_is_taken_can_be_looked_up(identifier: str | int) -> None:
    if is_taken(identifier) and identifier not in (-999999, "-999999"):
        assert canonical_id(identifier) is not None


def test_of_all_single_characters_only_blanks_controls_and_surrogates_are_no_id() -> None:
    refused = {chr(code) for code in (*range(0x3100), *range(0xD7FF, 0xE001)) if not is_taken(chr(code))}
    controls = {chr(code) for code in (*range(0x20), 0x7F)}
    surrogates = {chr(code) for code in range(0xD800, 0xE000)}
    blanks = {chr(code) for code in range(0x3100) if chr(code).isspace()}
    assert refused == controls | blanks | (surrogates & {chr(code) for code in range(0xD7FF, 0xE001)})


def test_a_transaction_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Transaction.model_validate(payment()).tx_amount = 1.0


def test_an_error_shows_no_value_even_when_printed() -> None:
    with pytest.raises(ValidationError) as found:
        Transaction.model_validate(payment(customer_id=["Zq7"], tx_amount="Zq7"))
    assert "Zq7" not in str(found.value)


@pytest.mark.parametrize("size", [1, MAX_BATCH])
def test_a_batch_of_one_to_a_thousand_is_taken(size: int) -> None:
    assert len(Batch.model_validate({"transactions": [payment()] * size}).transactions) == size


def test_every_field_has_a_rule_in_words() -> None:
    assert set(Transaction.model_fields) | set(Batch.model_fields) | {"explain"} == set(RULES)
