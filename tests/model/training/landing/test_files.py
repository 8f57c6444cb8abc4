import io
import json

import pyarrow.parquet as pq

from model.training.landing.contract import Record, Span, named, planned
from model.training.landing.files import files_of
from model.training.landing.kinds import DECISION_KIND, REPORT_KIND

NOON = 1_764_072_000_000  # 2025-11-25T12:00:00Z
DAY = 86_400_000


def report(offset: int, *, timestamp_ms: int = NOON, value: bytes | None = None) -> Record:
    fields = {"transaction_id": offset, "report_datetime": "2025-11-25T11:00:00Z"}
    return Record(offset, timestamp_ms, json.dumps(fields).encode() if value is None else value)


def test_a_range_is_one_file_a_day_named_by_partition_and_offsets() -> None:
    records = [report(7), report(9, timestamp_ms=NOON + DAY), report(12)]
    landed = files_of(REPORT_KIND, 3, Span(7, 12), records)
    name = "00003-000000000007-000000000012.parquet"
    assert list(landed.files) == [f"date=2025-11-25/{name}", f"date=2025-11-26/{name}"]
    first = pq.read_table(io.BytesIO(landed.files[f"date=2025-11-25/{name}"]))
    assert first.schema.equals(REPORT_KIND.schema)
    assert first["offset"].to_pylist() == [7, 12]
    assert first["partition"].to_pylist() == [3, 3]
    assert landed.rows == 3


def test_the_same_records_become_the_same_bytes() -> None:
    records = [report(offset) for offset in range(50)]
    assert files_of(REPORT_KIND, 0, Span(0, 49), records) == files_of(REPORT_KIND, 0, Span(0, 49), list(records))


def test_rejected_records_are_named_with_reason_and_their_value_stays_behind() -> None:
    records = [report(1), report(2, value=b'{"customer_id": 4711}'), Record(3, NOON, None)]
    landed = files_of(REPORT_KIND, 0, Span(1, 3), records)
    text = landed.files["_rejected/00000-000000000001-000000000003.jsonl"].decode()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["offset"], line["bytes"]) for line in lines] == [(2, 21), (3, 0)]
    assert lines[0]["reason"] == "transaction_id is missing"
    assert "4711" not in text
    assert landed.rows == 1


def test_a_range_of_nothing_but_rejected_records_has_no_file_of_rows() -> None:
    landed = files_of(DECISION_KIND, 0, Span(5, 5), [report(5)])
    assert list(landed.files) == ["_rejected/00000-000000000005-000000000005.jsonl"]


def test_a_record_whose_time_cannot_be_true_has_no_date() -> None:
    landed = files_of(REPORT_KIND, 0, Span(0, 1), [report(0, timestamp_ms=-1), report(1, timestamp_ms=10**17)])
    (name,) = landed.files
    assert name.startswith("date=__HIVE_DEFAULT_PARTITION__/")
    assert pq.read_table(io.BytesIO(landed.files[name]))["timestamp"].to_pylist() == [None, None]


def test_names_and_plans_say_what_they_hold() -> None:
    span = Span(12, 10**13)
    assert named(span.file_name(123, ".parquet")) == (123, span)
    assert named(span.file_name(123456, ".jsonl")) == (123456, span)
    assert planned(span.plan) == span
    for other in ("", None, "landing:1", "something else", "landing:1-2x"):
        assert planned(other) is None
    for name in ("_landing.json", "part-0.parquet", ".00001-000000000001-000000000002.parquet.part"):
        assert named(name) is None
