"""What goes over the wire, and the rule for each field. Pydantic stands here, at the edge, and nowhere further in."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from model.transaction import EARLIEST, LATEST, MAX_AMOUNT, MAX_ID_LENGTH

MAX_BATCH = 1000  # transactions
_INT64 = 2**63

# Python's own parser also takes dates without a time and week dates, which are no moments.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)

_ID_RULE = f"must be a 64-bit integer or text of 1 to {MAX_ID_LENGTH} characters, not blank, no control characters"
_LEGACY_RULE = "must be a finite number, text or null; it is not used"

RULES = {
    "transaction_id": _ID_RULE,
    "customer_id": _ID_RULE,
    "terminal_id": _ID_RULE,
    "tx_datetime": f"must be a date and time, ISO 8601, {EARLIEST.year} to {LATEST.year - 1}, in UTC if without offset",
    "tx_amount": f"must be a finite number from 0 to {MAX_AMOUNT:.0e}".replace("e+", "e"),
    "tx_time_seconds": _LEGACY_RULE,
    "tx_time_days": _LEGACY_RULE,
    "transactions": f"must be a list of 1 to {MAX_BATCH} transactions",
    "explain": "must be reasons or full",
}


def parse_moment(value: object) -> datetime:
    """Return the aware moment that ISO 8601 text names; without an offset it is UTC.

    Raises
    ------
    ValueError
        If it is not such text, or lies outside 1990 to 2099.
    """
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError(RULES["tx_datetime"])
    moment = datetime.fromisoformat(value)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not EARLIEST <= aware < LATEST:
        raise ValueError(RULES["tx_datetime"])
    return aware


# Some character that is not white space, and no control character: a null byte ends text in many a system.
_ID_PATTERN = r"^[^\x00-\x1F\x7F]*[^\s\x00-\x1F\x7F][^\x00-\x1F\x7F]*$"

Moment = Annotated[datetime, BeforeValidator(parse_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Id = (
    Annotated[int, Field(ge=-_INT64, lt=_INT64)]
    | Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH, pattern=_ID_PATTERN)]
)
Legacy = int | Annotated[float, Field(allow_inf_nan=False)] | str | None


class Transaction(BaseModel):
    """One payment to be judged."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    transaction_id: Id = Field(description="Comes back in the answer. A repeated one gets the same answer.")
    tx_datetime: Moment = Field(description="Moment of the payment, ISO 8601; without an offset it is UTC.")
    customer_id: Id = Field(description="Hashed on arrival. The integer 7 and the text 7 are one customer.")
    terminal_id: Id = Field(description="Hashed on arrival, like the customer's.")
    tx_amount: Annotated[float, Field(ge=0, le=MAX_AMOUNT, allow_inf_nan=False)] = Field(
        description="Amount in units of the currency."
    )
    tx_time_seconds: Legacy = Field(default=None, description="Sent by old producers; accepted, never used.")
    tx_time_days: Legacy = Field(default=None, description="Sent by old producers; accepted, never used.")


class Batch(BaseModel):
    """Several payments; the answers come back in the same order."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    transactions: Annotated[list[Transaction], Field(min_length=1, max_length=MAX_BATCH)]


class Envelope(BaseModel):
    """A batch of which nothing is judged yet but its length: its transactions are validated one by one."""

    model_config = Batch.model_config

    transactions: Annotated[list[Any], Field(min_length=1, max_length=MAX_BATCH)]


class Reason(BaseModel):
    """What one group of features says of the payment."""

    code: str = Field(description="One of the codes in docs/reasons.md.")
    text: str = Field(description="The reason in words, with the payment's own numbers.")
    contribution: float = Field(description="Log-odds; above 0 it speaks for fraud, below 0 for the payment.")
    features: dict[str, float | None] = Field(description="The numbers behind the text; null where not known.")


class FeatureValue(BaseModel):
    """One feature of the payment and its exact SHAP value."""

    value: float | None
    contribution: float = Field(description="Log-odds.")


class Answer(BaseModel):
    """The decision on one payment, and why."""

    transaction_id: int | str
    decision: Literal["approve", "review", "decline"]
    score: float = Field(ge=0, le=1, description="Calibrated probability of fraud.")
    base_value: float = Field(description="Log-odds before anything is known; with all contributions the score's.")
    reasons: list[Reason] = Field(description="One for each group of features, the strongest first.")
    customer_known: bool = Field(description="Whether the customer paid, or was reported, in the 30 days before.")
    terminal_known: bool
    model_version: str
    statistics_as_of: str = Field(description="The customer's and the terminal's numbers are as of this hour.")
    features: dict[str, FeatureValue] | None = Field(default=None, description="Only with explain=full.")


class Answers(BaseModel):
    """The decisions on a batch, in its order."""

    answers: list[Answer]


class Mistake(BaseModel):
    """One field that breaks its rule; in a batch, of which transaction (from 0)."""

    field: str
    rule: str
    index: int | None = None


class Problem(BaseModel):
    """Problem details after RFC 9457. No value of a request is ever repeated in it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Mistake] | None = None


class Health(BaseModel):
    """Says that the process runs."""

    status: Literal["alive"]


class Ready(BaseModel):
    """Says whether this instance can score correctly now."""

    status: Literal["ready"]
    model_version: str
    statistics_as_of: str


class KeptVersions(BaseModel):
    """A pair in memory beside the one that answers."""

    model_version: str
    statistics_version: str


class ChallengerVersion(BaseModel):
    """The model in shadow."""

    model_version: str


class Versions(BaseModel):
    """What exactly answers here."""

    service: str
    model_version: str
    statistics_version: str
    statistics_as_of: str
    cutoffs: dict[str, float] = Field(description="Scores from which a payment is reviewed and declined.")
    feature_schema: str
    libraries: dict[str, str]
    source: Literal["registry", "last verified copy"] = Field(
        description="Where the pair comes from: the copy on this disk where the registry could not be asked."
    )
    kept: list["KeptVersions"] = Field(description="Pairs in memory that the service can go back to at once.")
    challenger: "ChallengerVersion | None" = Field(description="The model scored beside the champion; null for none.")
    explainer: str = Field(description="What computes the SHAP values: native, or pred_contrib where it is missing.")
    model: dict[str, Any] = Field(description="What training said of the model: periods, settings, figures.")
