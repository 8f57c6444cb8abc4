"""A payment as the rest of the code sees it: a moment, an amount, and two ids that have lost their names."""

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

COLUMNS = ("transaction_id", "tx_datetime", "customer_id", "terminal_id", "tx_amount")
LABEL_COLUMNS = ("tx_fraud", "tx_fraud_scenario")
REPORT_COLUMN = "report_datetime"  # optional in history: when the fraud became known
LEGACY_COLUMNS = ("tx_time_seconds", "tx_time_days")  # sent by old producers: accepted, never used

MISSING_ID = "-999999"  # what the producers write where an id is missing
MAX_ID_LENGTH = 128
MAX_AMOUNT = 1e12  # its square, in hundredths and summed over a month of one terminal, still fits 38 digits
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

MIN_KEY_BYTES = 16
MAX_KEY_BYTES = hashlib.blake2b.MAX_KEY_SIZE
_HASH_BYTES = 8


class IdKeyError(ValueError):
    """The key that hides customer and terminal ids is missing or unfit."""


def canonical_id(value: object) -> str | None:
    """Return the text that stands for an id, or None where there is no usable id.

    `7`, `"7"` and the `7.0` that a table with gaps makes of an integer are one id. Nulls, the producers' sentinel
    for a missing id and ids of more than 128 characters are None.

    Examples
    --------
    >>> canonical_id(7), canonical_id("7"), canonical_id(7.0), canonical_id("-999999")
    ('7', '7', '7', None)
    """
    if isinstance(value, float):
        if not value.is_integer():
            return None
        value = int(value)
    text = "" if value is None else str(value).strip()
    return None if text in ("", MISSING_ID) or len(text) > MAX_ID_LENGTH else text


class IdHasher:
    """Turn ids into keyed 64-bit hashes, the only form in which they travel.

    BLAKE2b with an 8-byte digest, keyed, personalised by entity, so that customer 7 and terminal 7 differ. The hash is
    a signed integer because that is the one 64-bit integer type which SQL engines share.

    Parameters
    ----------
    key
        16 to 64 secret bytes.

    Raises
    ------
    IdKeyError
        If the key is too short or too long.
    """

    def __init__(self, key: bytes) -> None:
        if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
            raise IdKeyError(f"the id key must have {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, it has {len(key)}")
        self._key = key
        self._customer = hashlib.blake2b(digest_size=_HASH_BYTES, key=key, person=b"customer")
        self._terminal = hashlib.blake2b(digest_size=_HASH_BYTES, key=key, person=b"terminal")
        self.fingerprint = hashlib.blake2b(digest_size=16, key=key, person=b"fingerprint").hexdigest()

    def __reduce__(self) -> tuple[type["IdHasher"], tuple[bytes]]:
        """Travel as the key, since states of a hash cannot: ids are hashed in other processes too."""
        return IdHasher, (self._key,)

    def customer(self, canonical: str) -> int:
        """Return the signed 64-bit hash of a customer's canonical id."""
        state = self._customer.copy()
        state.update(canonical.encode())
        return int.from_bytes(state.digest(), "little", signed=True)

    def terminal(self, canonical: str) -> int:
        """Return the signed 64-bit hash of a terminal's canonical id."""
        state = self._terminal.copy()
        state.update(canonical.encode())
        return int.from_bytes(state.digest(), "little", signed=True)


def epoch_seconds(moment: datetime) -> int:
    """Return whole seconds since 1970-01-01 UTC; a naive moment is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return math.floor(aware.timestamp())


@dataclass(frozen=True, slots=True)
class Transactions:
    """What features need of n transactions: `tx_seconds` int64 (n,), epoch UTC, and `tx_amount` float64 (n,)."""

    tx_seconds: npt.NDArray[np.int64]
    tx_amount: npt.NDArray[np.float64]
