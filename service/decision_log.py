"""One line of JSON for each decision given, written after the answer has left.

A line holds keyed hashes, never customer or terminal ids, and no amount. Lines are collected while answers are computed
and written together by a thread of their own, so that no answer waits for a disk or a pipe.
"""

import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from model.settings import SettingsError

FLUSH_SECONDS = 0.05
SHOWN_CODES = 3  # the strongest reasons of a decision
_STOP = b""

log = logging.getLogger("antifraud")

Entry = tuple[float, Mapping[str, Any], int, int]


class DecisionLog:
    """Collect decisions and write them as lines to a file descriptor.

    Parameters
    ----------
    descriptor
        Open for writing; stays open when the log is closed.
    clock
        Seconds since 1970, for the time of a line.
    """

    def __init__(self, descriptor: int, *, clock: Callable[[], float] = time.time) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._entries: list[Entry] = []
        self._blocks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_blocks, name="decision-log", daemon=True)
        self._writer.start()
        self.lost_lines = 0

    def add(self, answer: Mapping[str, Any], *, customer_key: int, terminal_key: int) -> bool:
        """Take note of an answer; return whether it is the first since the last flush."""
        self._entries.append((self._clock(), answer, customer_key, terminal_key))
        return len(self._entries) == 1

    def line(self, answer: Mapping[str, Any], *, customer_key: int, terminal_key: int) -> bytes:
        """Return the line of an answer, for `write`."""
        return _line((self._clock(), answer, customer_key, terminal_key))

    def write(self, lines: bytes) -> None:
        """Hand over lines to be written."""
        if lines:
            self._blocks.put(lines)

    def flush(self) -> None:
        """Hand over what was collected to be written."""
        entries, self._entries = self._entries, []
        if entries:
            self._blocks.put(b"".join(map(_line, entries)))

    def close(self) -> None:
        """Write all that was collected and end; doing so again does nothing."""
        if not self._writer.is_alive():
            return
        self.flush()
        self._blocks.put(_STOP)
        self._writer.join()

    def _write_blocks(self) -> None:
        while block := self._blocks.get():
            try:
                _write_all(self._descriptor, block)
            except OSError as error:
                lines = block.count(b"\n")
                self.lost_lines += lines
                log.error("%d lines of the decision log are lost: %s", lines, error.strerror)


def open_decision_log(place: str) -> DecisionLog | None:
    """Return the log that a setting names: `-` for standard output, a path to append to, nothing for none.

    Raises
    ------
    SettingsError
        If the file cannot be written.
    """
    if place == "":
        return None
    if place == "-":
        return DecisionLog(sys.stdout.fileno())
    try:
        return DecisionLog(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640))
    except OSError as error:
        raise SettingsError(f"FRAUD_DECISION_LOG: cannot be written ({error.strerror})") from None


def _write_all(descriptor: int, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _line(entry: Entry) -> bytes:
    seconds, answer, customer_key, terminal_key = entry
    line = {
        "time": datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds"),
        "transaction_id": answer["transaction_id"],
        "customer": f"{customer_key & 0xFFFFFFFFFFFFFFFF:016x}",
        "terminal": f"{terminal_key & 0xFFFFFFFFFFFFFFFF:016x}",
        "decision": answer["decision"],
        "score": answer["score"],
        "reasons": [reason["code"] for reason in answer["reasons"][:SHOWN_CODES]],
        "model_version": answer["model_version"],
        "statistics_as_of": answer["statistics_as_of"],
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
