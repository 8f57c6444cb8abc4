from typing import Any, cast

import numpy as np
import pytest

from model.bundle import Bundle
from model.decision import CutOffs
from model.explain import TreeExplainer
from model.features import FEATURE_NAMES
from model.statistics import ENTITIES, SUM_COLUMNS, EntityStatistics, Floats, Snapshot
from model.transaction import IdHasher
from service.schemas import Transaction
from service.scorer import Loaded, Scorer
from tests.service.wire import payment

HOUR_OF_2026_02_10 = 491_688


def transaction(**changes: Any) -> Transaction:
    return Transaction.model_validate(payment(**changes))


class ByAmount:
    """Explain by the amount alone: its share in log-odds is what `shares` says of it."""

    engine = "by amount"
    base = 0.0

    def __init__(self, shares: dict[float, float]) -> None:
        self._shares = shares

    def explain_into(self, row: Floats, contributions: Floats) -> float:
        contributions[:] = 0
        contributions[FEATURE_NAMES.index("amount")] = self._shares[row[0]]
        return float(contributions.sum())


def answers_of(scorer: Scorer, transactions: list[Transaction], *, full: bool = False) -> list[dict[str, Any]]:
    return [scorer.answer(one, full=full)[0] for one in transactions]


def small_snapshot(hasher: IdHasher) -> Snapshot:
    """One customer, 7, with four payments of 25.00 in each window; no terminal."""
    sums = np.tile([4.0, 10_000.0, 25_000_000.0, 0.0], 3)[None, :]
    customer = EntityStatistics(np.array([hasher.customer("7")]), sums)
    terminal = EntityStatistics(np.empty(0, np.int64), np.empty((0, len(SUM_COLUMNS["terminal"]))))
    return Snapshot(HOUR_OF_2026_02_10, customer, terminal)


@pytest.fixture
def tiny() -> Scorer:
    hasher = IdHasher(b"sixteen bytes or more")
    explainer = cast(TreeExplainer, ByAmount({10.0: -3.0, 20.0: 0.0, 30.0: 3.0}))
    bundle = Bundle(explainer, CutOffs(review=0.5, decline=0.9), facts={})
    return Scorer(Loaded(bundle, small_snapshot(hasher), "3", "17"), hasher)


def test_an_answer_carries_decision_score_versions_and_who_is_known(tiny: Scorer) -> None:
    found, _ = tiny.answer(transaction(transaction_id="t-1", tx_amount=20))
    del found["reasons"]
    assert found == {
        "transaction_id": "t-1",
        "decision": "review",
        "score": 0.5,
        "base_value": 0.0,
        "customer_known": True,
        "terminal_known": False,
        "model_version": "3",
        "statistics_as_of": "2026-02-03T00:00:00Z",
    }


def test_the_cut_offs_decide(tiny: Scorer) -> None:
    answers = answers_of(tiny, [transaction(tx_amount=amount) for amount in (10, 20, 30)])
    assert [one["decision"] for one in answers] == ["approve", "review", "decline"]


def test_the_customers_own_numbers_are_used(tiny: Scorer) -> None:
    found, _ = tiny.answer(transaction(tx_amount=10), full=True)
    values = {name: feature["value"] for name, feature in found["features"].items()}
    assert (values["customer_transactions_30d"], values["customer_amount_mean_7d"]) == (4, 25)
    assert values["customer_amount_ratio_1d"] == 10 / 25
    assert np.isnan(values["terminal_transactions_1d"])


def test_a_customer_and_a_terminal_of_one_number_are_two(tiny: Scorer) -> None:
    found, _ = tiny.answer(transaction(customer_id=7, terminal_id=7, tx_amount=10))
    assert (found["customer_known"], found["terminal_known"]) == (True, False)


def test_permuting_transactions_permutes_the_answers(scorer: Scorer, payments: list[dict[str, Any]]) -> None:
    asked = [Transaction.model_validate(one) for one in payments[:60]]
    order = np.random.default_rng(1).permutation(len(asked)).tolist()
    answers = answers_of(scorer, asked, full=True)
    assert str(answers_of(scorer, [asked[place] for place in order], full=True)) == str(
        [answers[place] for place in order]
    )


def test_most_payments_of_the_history_come_from_the_known(scorer: Scorer, payments: list[dict[str, Any]]) -> None:
    answers = answers_of(scorer, [Transaction.model_validate(one) for one in payments])
    for entity in ENTITIES:
        assert sum(one[f"{entity}_known"] for one in answers) > 0.9 * len(answers)


def test_with_another_key_nobody_is_known(loaded: Loaded, payments: list[dict[str, Any]]) -> None:
    other = Scorer(loaded, IdHasher(b"another key of the same length"))
    answers = answers_of(other, [Transaction.model_validate(one) for one in payments])
    assert not any(one["customer_known"] or one["terminal_known"] for one in answers)
