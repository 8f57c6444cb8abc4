import pytest

from model.training.landing.buffers import Buffer, Limits
from model.training.landing.contract import LandingError, Record, Span

LIMITS = Limits(records=3, bytes=100, seconds=60.0)


def filled(*offsets: int, plan: Span | None = None, size: int = 1) -> Buffer:
    buffer = Buffer(0, offsets[0] if offsets else 0, plan=plan)
    for offset in offsets:
        buffer.take(Record(offset, 0, b"x" * size), 10.0)
    return buffer


def test_a_file_is_closed_by_records_by_bytes_or_by_time() -> None:
    assert not filled(1, 2).is_due(LIMITS, 69.9)
    assert filled(1, 2).is_due(LIMITS, 70.0)
    assert filled(1, 2, 3).is_due(LIMITS, 10.0)
    assert filled(1, 2, size=50).is_due(LIMITS, 10.0)
    assert not filled().is_due(LIMITS, 1e9)


def test_a_file_holds_no_more_records_than_it_may_and_the_rest_comes_next() -> None:
    buffer = filled(1, 2, 5, 6)
    span, records = buffer.next_range(LIMITS)
    assert (span, len(records)) == (Span(1, 5), 3)
    assert buffer.next_offset(span) == 6
    buffer.landed(span, 11.0)
    assert buffer.next_range(LIMITS)[0] == Span(6, 6)


def test_an_announced_range_lands_as_announced_whatever_the_limits_are_now() -> None:
    buffer = filled(1, 2, 3, 4, 7, plan=Span(1, 8))
    assert not buffer.is_due(LIMITS, 1e9)
    buffer.take(Record(8, 0, b""), 10.0)
    buffer.take(Record(9, 0, b""), 10.0)
    assert buffer.is_due(LIMITS, 10.0)
    span, records = buffer.next_range(LIMITS)
    assert (span, len(records)) == (Span(1, 8), 6)
    buffer.landed(span, 11.0)
    assert buffer.plan is None
    assert [record.offset for record in buffer.records] == [9]


@pytest.mark.parametrize("offsets", [(2, 3), (1, 2), ()])
def test_an_announced_range_that_is_no_longer_whole_stops_the_landing(offsets: tuple[int, ...]) -> None:
    buffer = filled(*offsets, plan=Span(1, 3))
    buffer.reached(4)
    with pytest.raises(LandingError, match="partition 0: offsets 1 to 3 were being landed"):
        buffer.next_range(LIMITS)


def test_marks_of_transactions_behind_the_last_record_need_not_be_read_again() -> None:
    buffer = filled(1, 2)
    buffer.reached(4)
    assert buffer.next_offset(Span(1, 2)) == 4
    assert buffer.next_offset(Span(1, 1)) == 2
    buffer.landed(Span(1, 2), 11.0)
    assert buffer.landed_to == 4


def test_a_record_that_comes_again_is_left_out() -> None:
    buffer = filled(1, 2)
    assert buffer.take(Record(2, 0, b"again"), 10.0) == 0
    assert len(buffer.records) == 2
