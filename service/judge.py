"""A body in, an answer out: what every way to `/predict` ends in."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from service.body import parse_json, require_few_values
from service.decision_log import FLUSH_SECONDS, DecisionLog
from service.problems import INVALID, RequestError, invalid_fields, mistakes_of, problem
from service.schemas import MAX_BATCH, RULES, Envelope, Transaction
from service.scorer import Loaded, Scorer
from service.telemetry import COUNTED, Telemetry

NOT_LOADED = "No verified model and statistics are loaded."
BATCH_TURN_SECONDS = 0.002  # of work on a batch, after which other requests get their turn
MOST_VALUES = 32 * MAX_BATCH  # in the body of a batch; four times what the largest batch has
MOST_COUNTED = 10_000  # mistakes in a batch, after which the rest of it is not looked at

log = logging.getLogger("antifraud")

Row = npt.NDArray[np.float64]
Sample = Callable[[Row, dict[str, Any]], None]


class Decision(NamedTuple):
    """An answer that was not given yet, with all that is left to do when it is.

    Attributes
    ----------
    body
        The answer as JSON.
    facts
        Of the answer, what is counted.
    line
        Of the decision log; empty where none is kept.
    """

    body: bytes
    transaction_id: int | str
    model_version: str
    facts: dict[str, Any]
    line: bytes


class Judge:
    """Validate, score, count and log.

    Parameters
    ----------
    telemetry
        Counts what is decided.
    decision_log
        Takes a line for every answer given; None keeps no log.

    Attributes
    ----------
    scorer
        The loaded pair; None until it is there. It is replaced in one assignment.
    kept
        Pairs in memory that the service can go back to at once.
    challenger
        Version of the model that is scored in shadow.
    samples
        Called with the features and the answer of each payment, to copy what they want of it; must be quick.
    draining
        Whether the process was told to end: it still answers, but is not ready any more.
    """

    def __init__(self, telemetry: Telemetry, decision_log: DecisionLog | None = None) -> None:
        self.telemetry = telemetry
        self.scorer: Scorer | None = None
        self.kept: tuple[Loaded, ...] = ()
        self.challenger: str | None = None
        self.samples: tuple[Sample, ...] = ()
        self.draining = False
        self._log = decision_log

    @property
    def loaded(self) -> Loaded:
        """The loaded pair.

        Raises
        ------
        RequestError
            503, if there is none yet.
        """
        return self._ready().loaded

    def take(self, scorer: Scorer, *, kept: tuple[Loaded, ...] = ()) -> None:
        """Answer with another pair from now on; a batch under way ends with the one it began with."""
        self.scorer = scorer
        self.kept = kept
        self.telemetry.freshness.show_loaded(scorer.loaded)

    def predict(self, body: bytes, *, full: bool = False) -> bytes:
        """Return the answer to the body of one transaction, as JSON.

        Raises
        ------
        RequestError
            If the body is not one valid transaction, or nothing is loaded.
        """
        scorer = self._ready()
        return _as_json(self._judge(scorer, _validated(parse_json(body)), full=full))

    def decide(self, found: object, *, full: bool = False) -> Decision:
        """Return the answer to a parsed body, which the caller has to count and to log.

        Raises
        ------
        RequestError
            If it is not one valid transaction, or nothing is loaded.
        """
        scorer = self._ready()
        answer, keys = scorer.answer(_validated(found), full=full)
        for sample in self.samples:
            sample(scorer.row, answer)
        line = b"" if self._log is None else self._log.line(answer, customer_key=keys[0], terminal_key=keys[1])
        facts = {name: answer[name] for name in COUNTED}
        return Decision(_as_json(answer), answer["transaction_id"], answer["model_version"], facts, line)

    def log(self, decisions: Iterable[Decision]) -> None:
        """Write decisions to the decision log, soon."""
        if self._log is not None:
            self._log.write(b"".join([decision.line for decision in decisions]))

    async def predict_batch(self, body: bytes, *, full: bool = False) -> bytes:
        """Return the answers to the body of a batch, as JSON; errors as of `predict`.

        All answers come from the same model and statistics; now and then other requests get their turn.
        """
        scorer = self._ready()
        require_few_values(body, most=MOST_VALUES, rule=RULES["transactions"])
        try:
            envelope = Envelope.model_validate(parse_json(body))
        except ValidationError as error:
            raise invalid_fields(error.errors(include_url=False, include_input=False)) from None
        transactions = await self._validated(envelope.transactions)
        answers: list[dict[str, Any]] = []
        turn = _Turn()
        for transaction in transactions:
            answers.append(self._judge(scorer, transaction, full=full))
            await turn.over()
        return _as_json({"answers": answers})

    async def _validated(self, found: list[Any]) -> list[Transaction]:
        """Return the transactions of a batch; after too many mistakes the rest of it is not looked at."""
        transactions: list[Transaction] = []
        mistakes: list[dict[str, Any]] = []
        turn = _Turn()
        for index, one in enumerate(found):
            try:
                transactions.append(Transaction.model_validate(one))
            except ValidationError as error:
                mistakes += mistakes_of(error.errors(include_url=False, include_input=False), index=index)
            if len(mistakes) >= MOST_COUNTED:
                raise RequestError(422, f"{INVALID} Transactions after index {index} were not looked at.", mistakes)
            await turn.over()
        if mistakes:
            raise RequestError(422, INVALID, mistakes)
        return transactions

    def _ready(self) -> Scorer:
        if self.scorer is None:
            raise RequestError(503, NOT_LOADED)
        return self.scorer

    def _judge(self, scorer: Scorer, transaction: Transaction, *, full: bool) -> dict[str, Any]:
        answer, keys = scorer.answer(transaction, full=full)
        self.telemetry.count_answer(answer)
        for sample in self.samples:
            sample(scorer.row, answer)
        if self._log is not None and self._log.add(answer, customer_key=keys[0], terminal_key=keys[1]):
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._log.flush)
        return answer

    def close(self) -> None:
        """Write what is left of the decision log."""
        if self._log is not None:
            self._log.close()

    def broken(self, error: Exception) -> Response:
        """Log an error that nobody expected and return what the client sees of it."""
        # The trace names code, never the payment: pydantic and our own errors carry no values.
        log.error("unexpected %s while answering", type(error).__name__, exc_info=error)
        return problem(500, "The answer could not be computed. The log of the service says why.")


def _validated(found: object) -> Transaction:
    try:
        return Transaction.model_validate(found)
    except ValidationError as error:
        raise invalid_fields(error.errors(include_url=False, include_input=False)) from None


def _as_json(answer: dict[str, Any]) -> bytes:
    return to_json(answer, inf_nan_mode="null")


class _Turn:
    """A stretch of work on something long; when it is over, other requests get theirs."""

    def __init__(self) -> None:
        self._end = time.perf_counter() + BATCH_TURN_SECONDS

    async def over(self) -> None:
        if time.perf_counter() > self._end:
            await asyncio.sleep(0)
            self._end = time.perf_counter() + BATCH_TURN_SECONDS
