"""A body in, an answer out: what every way to `/predict` ends in."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from service.body import parse_json
from service.decision_log import FLUSH_SECONDS, DecisionLog
from service.problems import RequestError, invalid_fields, problem
from service.schemas import Batch, Transaction
from service.scorer import Loaded, Scorer
from service.telemetry import Telemetry

NOT_LOADED = "No verified model and statistics are loaded."
BATCH_TURN = 16  # transactions of a batch, after which other requests get their turn

log = logging.getLogger("antifraud")


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
    draining
        Whether the process was told to end: it still answers, but is not ready any more.
    """

    def __init__(self, telemetry: Telemetry, decision_log: DecisionLog | None = None) -> None:
        self.telemetry = telemetry
        self.scorer: Scorer | None = None
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

    def predict(self, body: bytes, *, full: bool = False) -> bytes:
        """Return the answer to the body of one transaction, as JSON.

        Raises
        ------
        RequestError
            If the body is not one valid transaction, or nothing is loaded.
        """
        scorer = self._ready()
        try:
            transaction = Transaction.model_validate(parse_json(body))
        except ValidationError as error:
            raise invalid_fields(error.errors(include_url=False, include_input=False)) from None
        return to_json(self._judge(scorer, transaction, full=full), inf_nan_mode="null")

    async def predict_batch(self, body: bytes, *, full: bool = False) -> bytes:
        """Return the answers to the body of a batch, as JSON; errors as of `predict`.

        All answers come from the same model and statistics; between some of them other requests get their turn.
        """
        scorer = self._ready()
        try:
            batch = Batch.model_validate(parse_json(body))
        except ValidationError as error:
            raise invalid_fields(error.errors(include_url=False, include_input=False)) from None
        answers: list[dict[str, Any]] = []
        for start in range(0, len(batch.transactions), BATCH_TURN):
            part: Sequence[Transaction] = batch.transactions[start : start + BATCH_TURN]
            answers += [self._judge(scorer, transaction, full=full) for transaction in part]
            await asyncio.sleep(0)
        return to_json({"answers": answers}, inf_nan_mode="null")

    def _ready(self) -> Scorer:
        if self.scorer is None:
            raise RequestError(503, NOT_LOADED)
        return self.scorer

    def _judge(self, scorer: Scorer, transaction: Transaction, *, full: bool) -> dict[str, Any]:
        answer, keys = scorer.answer(transaction, full=full)
        self.telemetry.count_answer(answer)
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
