import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model.bundle import explainer_of
from model.decision import CutOffs, decide
from model.explain import margins
from model.features import build_features
from model.reasons import explain_in_words
from model.score import probabilities
from model.training.gate import Flips, GateError, GateRows, ScoredModel, flips, render_flips
from model.training.gate.preview import band_names
from tests.model.test_bundle import SOME_FEATURES, booster_of, payments

CUTOFFS = CutOffs(review=0.2, decline=0.7)


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    """Two models of other features on the same four hundred payments."""
    transactions, sums = payments(1)
    features = build_features(transactions, sums)
    texts = booster_of(SOME_FEATURES), booster_of(("hour", "terminal_amount_mean_30d"), seed=2)
    explainers = tuple(explainer_of(text) for text in texts)
    models = [
        ScoredModel(name, probabilities(margins(*explainer.explain(features))), CUTOFFS)
        for name, explainer in zip(("version 3", "version 4"), explainers, strict=True)
    ]
    n = len(features)
    rows = GateRows(
        label=(transactions.tx_amount > 250).astype(np.int64),
        amount=transactions.tx_amount,
        tx_seconds=transactions.tx_seconds,
        cluster=np.arange(n) % 50 - 25,
    )
    return {
        "rows": rows,
        "features": features,
        "champion": models[0],
        "challenger": models[1],
        "explainers": explainers,
    }


@pytest.fixture(scope="module")
def found(given: dict[str, Any]) -> Flips:
    return flips(**given)


def one_by_one(given: dict[str, Any]) -> list[tuple[int, str, str, str, str]]:
    """Return place, decisions and main reasons of each flipped row, found without the code under test."""
    flipped: list[tuple[int, str, str, str, str]] = []
    for place, row in enumerate(given["features"]):
        before, after = (decide(given[side].scores[place], CUTOFFS) for side in ("champion", "challenger"))
        if before != after:
            shares = [explainer.explain(row)[0][0] for explainer in given["explainers"]]
            one, other = (explain_in_words(row.tolist(), share)[0]["code"] for share in shares)
            flipped.append((place, before, after, one, other))
    return flipped


def test_every_flip_is_counted_by_decision_band_and_changed_main_reason(given: dict[str, Any], found: Flips) -> None:
    expected, amount = one_by_one(given), given["rows"].amount
    assert len(expected) > 10
    assert (found.transactions, found.flipped) == (400, len(expected))
    for count in found.by_decision:
        places = [place for place, before, after, *_ in expected if [before, after] == list(count.group.values())]
        assert count.transactions == len(places) > 0
        assert count.frauds == (amount[places] > 250).sum()
        assert count.amount == pytest.approx(amount[places].sum())
    changed = [(one, other) for *_, one, other in expected if one != other]
    assert {tuple(count.group.values()): count.transactions for count in found.by_reason} == {
        pair: changed.count(pair) for pair in changed
    }
    assert sum(count.transactions for count in found.by_band) == len(expected)
    assert {count.group["band"] for count in found.by_band} <= set(band_names())


def test_the_largest_flips_are_listed_with_decisions_reasons_and_a_hashed_key(
    given: dict[str, Any], found: Flips
) -> None:
    rows = given["rows"]
    expected = sorted(one_by_one(given), key=lambda flip: -rows.amount[flip[0]])[:20]
    assert len(found.largest) == 20
    for flip, (place, before, after, one, other) in zip(found.largest, expected, strict=True):
        assert (flip.amount, flip.before, flip.after) == (rows.amount[place], before, after)
        assert (flip.reason_before, flip.reason_after) == (one, other)
        assert int(flip.key, 16) == int(rows.cluster[place]) % 2**64
        assert len(flip.key) == 16


def test_weighted_rows_count_as_often_as_they_stand_for(given: dict[str, Any], found: Flips) -> None:
    doubled = flips(**(given | {"rows": replace(given["rows"], weight=np.full(400, 2.5))}))
    assert (doubled.transactions, doubled.flipped) == (1000, 2.5 * found.flipped)
    assert [count.transactions for count in doubled.by_band] == [2.5 * count.transactions for count in found.by_band]


def test_amounts_fall_into_the_band_that_begins_with_them() -> None:
    assert band_names() == ["0 to 10", "10 to 50", "50 to 100", "100 to 250", "250 to 1000", "1000 and more"]


def test_a_model_against_itself_flips_nothing_and_says_so(given: dict[str, Any]) -> None:
    none = flips(
        **(given | {"challenger": given["champion"], "explainers": (given["explainers"][0], given["explainers"][0])})
    )
    assert (none.flipped, none.by_decision, none.by_reason, none.largest) == (0, (), (), ())
    assert "0 of 400 past decisions (0.000 %)" in render_flips(none)


def test_the_preview_is_plain_json_and_readable_text(found: Flips) -> None:
    contents = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert contents["flipped"] == found.flipped
    assert set(contents["by_band"][0]) == {"band", "before", "after", "transactions", "frauds", "amount"}
    text = render_flips(found)
    for words in ("version 4 in place of version 3", "By amount", "By changed main reason", found.largest[0].key):
        assert words in text
    assert max(map(len, text.splitlines())) < 180


def test_columns_of_other_rows_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(GateError, match="same number of rows"):
        flips(**(given | {"features": given["features"][:10]}))
