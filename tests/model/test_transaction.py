import hashlib
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.transaction import MAX_ID_LENGTH, IdHasher, IdKeyError, canonical_id, epoch_seconds

KEY = b"sixteen bytes or more"


@given(st.integers(-(2**63), 2**63 - 1).filter(lambda number: number != -999999))
def test_the_integer_and_the_text_form_of_an_id_are_one(number: int) -> None:
    assert canonical_id(number) == canonical_id(str(number)) == canonical_id(f" {number}\t") == str(number)


@given(st.integers(-(2**53), 2**53).filter(lambda number: number != -999999))
def test_the_float_that_a_table_with_gaps_makes_of_an_id_is_the_same_id(number: int) -> None:
    assert canonical_id(float(number)) == str(number)


@pytest.mark.parametrize(
    "missing",
    [None, "", "  ", "\u3000", -999999, "-999999", " -999999 ", -999999.0, math.nan, math.inf, -math.inf, 7.5],
)
def test_what_is_no_id_has_no_text(missing: object) -> None:
    assert canonical_id(missing) is None


def test_an_id_is_at_most_128_characters_long_white_space_around_it_not_counted() -> None:
    longest = "i" * MAX_ID_LENGTH
    assert canonical_id(f"  {longest} ") == longest
    assert canonical_id(longest + "i") is None


@pytest.mark.parametrize(("one", "other"), [("07", "7"), ("A", "a"), ("7.0", "7"), ("é", "e\u0301"), ("-7", "7")])
def test_texts_that_differ_are_different_ids(one: str, other: str) -> None:
    assert canonical_id(one) != canonical_id(other)


def test_a_hash_is_keyed_blake2b_of_eight_bytes_personalised_by_entity() -> None:
    hasher = IdHasher(KEY)
    for entity, found in (("customer", hasher.customer("7")), ("terminal", hasher.terminal("7"))):
        digest = hashlib.blake2b(b"7", digest_size=8, key=KEY, person=entity.encode()).digest()
        assert found == int.from_bytes(digest, "little", signed=True)


def test_what_was_hashed_once_is_found_for_ever() -> None:
    hasher = IdHasher(KEY)
    assert (hasher.customer("7"), hasher.terminal("7")) == (6578766550367216982, 6056998968314440900)
    assert hasher.fingerprint == "2e5deb14fa21022e6d31a56261306543"


@given(st.lists(st.text(max_size=20), unique=True, min_size=2, max_size=2))
def test_a_hash_depends_on_id_entity_and_key_and_on_nothing_asked_before(ids: list[str]) -> None:
    hasher = IdHasher(KEY)
    first = hasher.customer(ids[0])
    assert -(2**63) <= first < 2**63
    assert hasher.customer(ids[1]) != first
    assert hasher.terminal(ids[0]) != first
    assert IdHasher(KEY + b"!").customer(ids[0]) != first
    assert hasher.customer(ids[0]) == IdHasher(KEY).customer(ids[0]) == first


def test_the_fingerprint_tells_keys_apart_and_does_not_tell_the_key() -> None:
    one, other = IdHasher(KEY).fingerprint, IdHasher(KEY + b"!").fingerprint
    assert one != other
    assert one == IdHasher(KEY).fingerprint
    assert len(one) == 32
    assert KEY.hex() not in one


@pytest.mark.parametrize("size", [0, 15, 65, 1000])
def test_a_key_of_another_length_is_refused_without_being_told(size: int) -> None:
    with pytest.raises(IdKeyError, match=f"16 to 64 bytes, it has {size}$"):
        IdHasher(b"Z" * size)


@pytest.mark.parametrize("size", [16, 64])
def test_a_key_of_the_shortest_and_longest_length_is_taken(size: int) -> None:
    assert IdHasher(b"Z" * size).customer("7")


@given(st.datetimes(datetime(1960, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_a_moment_counts_from_1970_utc_whatever_its_offset(moment: datetime, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    whole = (moment - datetime(1970, 1, 1)) // timedelta(seconds=1)
    assert epoch_seconds(moment) == epoch_seconds(moment.replace(tzinfo=UTC)) == whole
    assert epoch_seconds(moment.replace(tzinfo=UTC).astimezone(zone)) == whole


def test_parts_of_a_second_are_cut_off_downwards() -> None:
    assert epoch_seconds(datetime(1970, 1, 1, 0, 0, 1, 999_999)) == 1
    assert epoch_seconds(datetime(1969, 12, 31, 23, 59, 59, 1)) == -1
