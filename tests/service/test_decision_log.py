import json
import os
from pathlib import Path
from typing import Any

import pytest

from model.settings import SettingsError
from service.decision_log import DecisionLog, open_decision_log
from service.schemas import Transaction
from service.scorer import Scorer

MOMENT = 1_795_000_000.125


def answer_of(number: int, *, reasons: int = 5) -> dict[str, Any]:
    return {
        "transaction_id": number,
        "decision": "review",
        "score": 0.25,
        "reasons": [{"code": f"CODE_{place}", "text": "secret amount 412.00"} for place in range(reasons)],
        "model_version": "7",
        "statistics_as_of": "2026-11-22T13:00:00Z",
    }


def log_to(path: Path) -> tuple[DecisionLog, int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return DecisionLog(descriptor, clock=lambda: MOMENT), descriptor


def test_a_line_says_what_was_decided_and_why_in_hashes_and_codes(tmp_path: Path) -> None:
    log, _ = log_to(tmp_path / "log")
    log.add(answer_of(1), customer_key=-1, terminal_key=255)
    log.close()
    assert json.loads((tmp_path / "log").read_text()) == {
        "time": "2026-11-18T11:06:40.125+00:00",
        "transaction_id": 1,
        "customer": "ffffffffffffffff",
        "terminal": "00000000000000ff",
        "decision": "review",
        "score": 0.25,
        "reasons": ["CODE_0", "CODE_1", "CODE_2"],
        "model_version": "7",
        "statistics_as_of": "2026-11-22T13:00:00Z",
    }


def test_every_answer_has_one_line_in_order_over_many_flushes(tmp_path: Path) -> None:
    log, _ = log_to(tmp_path / "log")
    for number in range(5000):
        log.add(answer_of(number), customer_key=number, terminal_key=0)
        if number % 37 == 0:
            log.flush()
    log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)["transaction_id"] for line in lines] == list(range(5000))


def test_only_the_first_answer_after_a_flush_asks_for_the_next_one(tmp_path: Path) -> None:
    log, _ = log_to(tmp_path / "log")
    asked = [log.add(answer_of(number), customer_key=0, terminal_key=0) for number in range(3)]
    log.flush()
    asked.append(log.add(answer_of(3), customer_key=0, terminal_key=0))
    log.close()
    assert asked == [True, False, False, True]


def test_lines_that_cannot_be_written_are_counted_and_later_ones_still_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    log = DecisionLog(full)
    for number in range(3):
        log.add(answer_of(number), customer_key=0, terminal_key=0)
    log.close()
    assert log.lost_lines == 3
    assert "3 lines of the decision log are lost" in caplog.text


def test_a_transaction_id_with_line_breaks_stays_on_one_line(tmp_path: Path, scorer: Scorer) -> None:
    log, _ = log_to(tmp_path / "log")
    answer = answer_of(0) | {"transaction_id": 'a"\u2028\\n b'}
    log.add(answer, customer_key=0, terminal_key=0)
    log.close()
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["transaction_id"] == answer["transaction_id"]


def test_no_id_text_or_amount_reaches_a_line(tmp_path: Path, scorer: Scorer) -> None:
    transaction = Transaction.model_validate(
        {
            "transaction_id": 1,
            "tx_datetime": "2026-02-10T10:00:00Z",
            "customer_id": "CUSTOMER-SECRET",
            "terminal_id": "TERMINAL-SECRET",
            "tx_amount": 87654.25,
        }
    )
    answer, keys = scorer.answer(transaction)
    log, _ = log_to(tmp_path / "log")
    log.add(answer, customer_key=keys[0], terminal_key=keys[1])
    log.close()
    text = (tmp_path / "log").read_text()
    assert answer["decision"] in text
    assert not any(secret in text for secret in ("SECRET", "87654", "87,654"))


def test_a_file_that_cannot_be_written_is_said_by_the_name_of_its_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^FRAUD_DECISION_LOG: cannot be written \(No such file or directory\)$"):
        open_decision_log(str(tmp_path / "nowhere" / "decisions.jsonl"))
