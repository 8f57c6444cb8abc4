import numpy as np

from model.bundle import explainer_of
from model.decision import CutOffs
from model.features import FEATURE_NAMES
from model.golden import first_disagreement, golden_cases
from tests.model.test_bundle import SOME_FEATURES, booster_of, payments

CUTOFFS = CutOffs(review=0.2, decline=0.7)


def test_a_model_agrees_with_its_own_golden_rows_and_not_with_anothers() -> None:
    own, other = explainer_of(booster_of(SOME_FEATURES)), explainer_of(booster_of(SOME_FEATURES, seed=2))
    transactions, sums = payments(1)
    cases = golden_cases(transactions, sums, explainer=own, cutoffs=CUTOFFS, feature_names=SOME_FEATURES)
    assert first_disagreement(cases, explainer=own, cutoffs=CUTOFFS, feature_names=SOME_FEATURES) is None
    assert first_disagreement(cases, explainer=other, cutoffs=CUTOFFS, feature_names=SOME_FEATURES) == 0
    for decision in ("approve", "decline"):
        assert decision in {case.decision for case in cases}


def test_the_first_golden_row_that_differs_is_the_one_that_is_named() -> None:
    explainer = explainer_of(booster_of(SOME_FEATURES))
    transactions, sums = payments(1)
    cases = golden_cases(transactions, sums, cutoffs=CUTOFFS, explainer=explainer, feature_names=SOME_FEATURES)
    softer = first_disagreement(
        cases, explainer=explainer, cutoffs=CutOffs(review=1, decline=1), feature_names=SOME_FEATURES
    )
    assert softer == next(place for place, case in enumerate(cases) if case.decision != "approve")


def test_without_a_list_golden_rows_hold_all_features() -> None:
    transactions, sums = payments(1)
    case = golden_cases(transactions, sums, explainer=explainer_of(booster_of(SOME_FEATURES)), cutoffs=CUTOFFS)[0]
    assert len(case.features) == len(case.contributions) == len(FEATURE_NAMES)
    assert np.count_nonzero(case.contributions) <= len(SOME_FEATURES)
