import doctest
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import wording
from model.features import FEATURE_NAMES, build_features
from model.reason_codes import CODES, GROUPS
from model.reasons import Reason, catalogue, explain_in_words
from model.settings import Settings
from model.statistics import SUMS, Floats
from model.transaction import MAX_AMOUNT, Transactions, canonical_id
from service.scorer import Loaded

DOCS = Path(__file__).parents[2] / "docs" / "reasons.md"
TUESDAY_14_25 = 1_795_530_300  # 2026-11-24
CENTS = 100

# What was known of an entity: payments in 1, 7 and 30 days, reports in 1, 7 and 30 days, mean amount.
Known = tuple[tuple[float, float, float], tuple[float, float, float], float]
UNSEEN: Known = ((math.nan,) * 3, (math.nan,) * 3, math.nan)
ORDINARY: Known = ((4, 20, 87), (0, 0, 0), 98.10)

ABSURD = {
    "not a number": r"\bnan\b|\binf|none of them|None",
    "minus zero": r"-0",
    "a number of nothing": r"\b0 times|\.0 times|\b0 (payments|frauds)",
    "an exponent": r"\d[eE][+-]?\d",
    "too many decimals": r"\.\d{3}",
    "one of many": r"(?<![\d,.])1 (payments|frauds)|\d(?<!\b1) (payment|fraud)\b",
    "an odd space": r"  |^ | $| [,;.)]|\( ",
    "a word not filled in": r"[{}]",
    "thousands run together": r"\d{4}(?!-)",
}
# Every text, its numbers taken out, is one of these sentences.
SENTENCE = re.compile(r"([A-Z]|\d[\d,]* frauds?)[A-Za-z0-9 ,;.:()'-]*[A-Za-z0-9)]")


def sums_of(entity: str, known: Known) -> list[float]:
    """Return the sums of an entity; over 2 to 5 days they are those of the week."""
    counts, reports, mean = known
    if math.isnan(mean):
        return [math.nan] * len(SUMS[entity])
    totals = [round(count * mean * CENTS) for count in counts]  # whole cents, as the statistics are
    squares = [1.25 * total * total / count if count else 0.0 for count, total in zip(counts, totals, strict=True)]
    of = {"transactions": counts, "amount": totals, "amount_squared": squares, "reports": reports}
    place = {"1d": 0, "30d": 2}
    return [of[one.quantity][place.get(one.window, 1)] for one in SUMS[entity]]


def features_of(
    amount: float = 40.0, *, customer: Known = ORDINARY, terminal: Known = ORDINARY, seconds: int = TUESDAY_14_25
) -> list[float]:
    sums = np.array([[*sums_of("customer", customer), *sums_of("terminal", terminal)]], dtype=np.float64)
    row: list[float] = build_features(Transactions(np.array([seconds]), np.array([amount])), sums)[0].tolist()
    return row


def reasons_of(features: Sequence[float]) -> dict[str, Reason]:
    return {reason["code"]: reason for reason in explain_in_words(features, np.zeros(len(FEATURE_NAMES)))}


def texts_of(features: Sequence[float]) -> dict[str, str]:
    return {code: reason["text"] for code, reason in reasons_of(features).items()}


def mistakes_in(text: str) -> list[str]:
    found = [mistake for mistake, pattern in ABSURD.items() if re.search(pattern, text)]
    return found if SENTENCE.fullmatch(text) else [*found, "not a sentence"]


@pytest.fixture(scope="module")
def real_features(history: Path, loaded: Loaded, settings: Settings) -> Floats:
    """Features of several hundred payments of the small bank, each as if it came just after the history."""
    table = pq.read_table(sorted(history.glob("*.parquet"))[-3]).slice(0, 600).to_pylist()
    hasher = settings.id_hasher()
    rows = [
        (row["tx_datetime"], row["tx_amount"], customer, terminal)
        for row in table
        if row["tx_datetime"]
        and (customer := canonical_id(row["customer_id"]))
        and (terminal := canonical_id(row["terminal_id"]))
    ]
    moments, amounts, customers, terminals = zip(*rows, strict=True)
    sums = loaded.snapshot.lookup(
        np.array([hasher.customer(one) for one in customers]), np.array([hasher.terminal(one) for one in terminals])
    )
    seconds = np.array(moments, dtype="datetime64[s]").astype(np.int64)
    return build_features(Transactions(seconds, np.array(amounts)), sums)


def test_every_feature_speaks_in_exactly_one_group() -> None:
    spoken_for = [name for group in GROUPS for name in group.features]
    assert sorted(spoken_for) == sorted(FEATURE_NAMES)
    for group in GROUPS:
        assert set(group.shown) <= set(FEATURE_NAMES), group.name


def test_every_code_has_one_name_and_belongs_to_one_group() -> None:
    names = [code.name for group in GROUPS for code in group.codes]
    assert len(names) == len(set(names)) == len(CODES)


@given(st.lists(st.floats(-20, 20), min_size=len(FEATURE_NAMES), max_size=len(FEATURE_NAMES)))
def test_contributions_are_summed_by_group_and_the_strongest_comes_first(contributions: list[float]) -> None:
    reasons = explain_in_words(features_of(), np.array(contributions))
    strengths = [abs(reason["contribution"]) for reason in reasons]
    assert strengths == sorted(strengths, reverse=True)
    assert math.fsum(reason["contribution"] for reason in reasons) == pytest.approx(math.fsum(contributions), abs=1e-9)
    of_feature = dict(zip(FEATURE_NAMES, contributions, strict=True))
    expected = [math.fsum(of_feature[name] for name in group.features) for group in GROUPS]
    assert sorted(reason["contribution"] for reason in reasons) == pytest.approx(sorted(expected), abs=1e-12)


def test_equally_strong_reasons_keep_the_order_of_the_groups() -> None:
    codes = [reason["code"] for reason in explain_in_words(features_of(), np.zeros(len(FEATURE_NAMES)))]
    order = {code.name: place for place, group in enumerate(GROUPS) for code in group.codes}
    assert [order[code] for code in codes] == list(range(len(GROUPS)))


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a payment has 61 features, not 3"):
        explain_in_words([0.0] * 3, np.zeros(len(FEATURE_NAMES)))


BUSY: Known = ((9, 21, 45), (0, 0, 0), 98.10)
FREE_OF_CHARGE: Known = ((0, 1, 4), (0, 0, 0), 0.0)
REPORTED_ONLY: Known = ((0, 0, 0), (0, 0, 1), 0.0)
NIGHT, SATURDAY = TUESDAY_14_25 - 12 * 3600, TUESDAY_14_25 + 4 * 24 * 3600

CASES: dict[str, list[float]] = {
    "AMOUNT_ABOVE_CUSTOMER_NORMAL": features_of(412.0),
    "AMOUNT_BELOW_CUSTOMER_NORMAL": features_of(20.0),
    "AMOUNT_NORMAL_FOR_CUSTOMER": features_of(90.0),
    "AMOUNT_ABOVE_ZERO_CUSTOMER": features_of(5.0, customer=FREE_OF_CHARGE),
    "CUSTOMER_AMOUNTS_UNKNOWN": features_of(customer=UNSEEN),
    "AMOUNT_ABOVE_TERMINAL_NORMAL": features_of(412.0),
    "AMOUNT_BELOW_TERMINAL_NORMAL": features_of(20.0),
    "AMOUNT_NORMAL_FOR_TERMINAL": features_of(90.0),
    "AMOUNT_ABOVE_ZERO_TERMINAL": features_of(5.0, terminal=FREE_OF_CHARGE),
    "TERMINAL_AMOUNTS_UNKNOWN": features_of(terminal=UNSEEN),
    "FRAUD_REPORTED_AT_TERMINAL": features_of(terminal=REPORTED_ONLY),
    "NO_FRAUD_REPORTED_AT_TERMINAL": features_of(),
    "TERMINAL_REPORTS_UNKNOWN": features_of(terminal=UNSEEN),
    "FRAUD_REPORTED_FOR_CUSTOMER": features_of(customer=REPORTED_ONLY),
    "NO_FRAUD_REPORTED_FOR_CUSTOMER": features_of(),
    "CUSTOMER_REPORTS_UNKNOWN": features_of(customer=UNSEEN),
    "CUSTOMER_BUSIER_THAN_USUAL": features_of(customer=BUSY),
    "CUSTOMER_ACTIVITY_USUAL": features_of(),
    "CUSTOMER_INACTIVE": features_of(customer=REPORTED_ONLY),
    "CUSTOMER_UNKNOWN": features_of(customer=UNSEEN),
    "TERMINAL_BUSIER_THAN_USUAL": features_of(terminal=BUSY),
    "TERMINAL_ACTIVITY_USUAL": features_of(),
    "TERMINAL_INACTIVE": features_of(terminal=REPORTED_ONLY),
    "TERMINAL_UNKNOWN": features_of(terminal=UNSEEN),
    "PAYMENT_AMOUNT": features_of(),
    "NIGHT_PAYMENT": features_of(seconds=NIGHT),
    "DAYTIME_PAYMENT": features_of(),
    "WEEKEND_PAYMENT": features_of(seconds=SATURDAY),
    "WEEKDAY_PAYMENT": features_of(),
}


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_is_given_to_some_payment_and_reads_well(code: str) -> None:
    text = texts_of(CASES[code])[code]
    assert mistakes_in(text) == [], text


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ((1, 1, 1), "1 fraud reported at this terminal in the last 30 days (87 payments), less than a day ago"),
        ((0, 1, 1), "1 fraud reported at this terminal in the last 30 days (87 payments), 1 to 7 days ago"),
        ((0, 0, 1), "1 fraud reported at this terminal in the last 30 days (87 payments), more than 7 days ago"),
        ((2, 2, 2), "2 frauds reported at this terminal in the last 30 days (87 payments), both in the last day"),
        ((3, 3, 3), "3 frauds reported at this terminal in the last 30 days (87 payments), all in the last day"),
        ((0, 3, 3), "3 frauds reported at this terminal in the last 30 days (87 payments), all in the last 7 days"),
        ((1, 2, 3), "3 frauds reported at this terminal in the last 30 days (87 payments), 1 of them in the last day"),
        (
            (0, 2, 3),
            "3 frauds reported at this terminal in the last 30 days (87 payments), 2 of them in the last 7 days",
        ),
        ((0, 0, 3), "3 frauds reported at this terminal in the last 30 days (87 payments), none in the last 7 days"),
    ],
)
def test_reports_are_counted_and_said_to_be_recent_or_not(reports: tuple[float, float, float], words: str) -> None:
    terminal: Known = ((20, 20, 87), reports, 98.10)
    assert texts_of(features_of(terminal=terminal))["FRAUD_REPORTED_AT_TERMINAL"] == words


@pytest.mark.parametrize(
    ("payments", "reports", "words"),
    [
        ((4, 7, 87), (0, 0, 9), "none in the last 7 days; 3 payments of 1 to 5 days ago, none reported"),
        ((4, 7, 87), (0, 2, 9), "2 of them in the last 7 days; 1 payment of 1 to 5 days ago not reported"),
        ((4, 7, 87), (0, 3, 9), "3 of them in the last 7 days"),
        ((4, 4, 87), (0, 0, 9), "none in the last 7 days"),
    ],
)
def test_where_frauds_were_reported_payments_that_were_not_are_said_as_well(
    payments: tuple[float, float, float], reports: tuple[float, float, float], words: str
) -> None:
    text = texts_of(features_of(terminal=(payments, reports, 98.10)))["FRAUD_REPORTED_AT_TERMINAL"]
    assert text.endswith(f"(87 payments), {words}")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (412.0, "Amount 412.00 is 4.2 times this customer's 30-day mean of 98.10 (87 payments)"),
        (977.1, "Amount 977.10 is 10 times this customer's 30-day mean of 98.10 (87 payments)"),
        (
            1e12,
            "Amount 1,000,000,000,000.00 is at least 1,000 times this customer's 30-day mean of 98.10 (87 payments)",
        ),
        (147.15, "Amount 147.15 is 1.5 times this customer's 30-day mean of 98.10 (87 payments)"),
        (147.14, "Amount 147.14 is not unusual against this customer's 30-day mean of 98.10 (87 payments)"),
        (49.04, "Amount 49.04 is well below this customer's 30-day mean of 98.10 (87 payments)"),
        (49.06, "Amount 49.06 is not unusual against this customer's 30-day mean of 98.10 (87 payments)"),
        (0.0, "Amount 0.00 is well below this customer's 30-day mean of 98.10 (87 payments)"),
        (-0.0, "Amount 0.00 is well below this customer's 30-day mean of 98.10 (87 payments)"),
    ],
)
def test_an_amount_is_held_against_the_customers_mean(amount: float, text: str) -> None:
    assert text in texts_of(features_of(amount)).values()


@pytest.mark.parametrize("mean", [0.0, 0.004, 0.0149, 0.0975])
def test_times_of_next_to_nothing_are_not_counted(mean: float) -> None:
    known: Known = ((0, 1, 4), (0, 0, 0), mean)
    texts = texts_of(features_of(7.0, customer=known))
    assert "is more than this customer's 30-day mean of" in texts["AMOUNT_ABOVE_ZERO_CUSTOMER"]
    assert "AMOUNT_NORMAL_FOR_CUSTOMER" in texts_of(features_of(0.02, customer=known))


def test_an_unknown_customer_is_called_unknown_by_every_group_that_speaks_of_the_customer() -> None:
    codes = set(texts_of(features_of(customer=UNSEEN)))
    assert {code for code in codes if "CUSTOMER" in code} == {
        "CUSTOMER_UNKNOWN",
        "CUSTOMER_AMOUNTS_UNKNOWN",
        "CUSTOMER_REPORTS_UNKNOWN",
    }


def test_a_terminal_known_by_a_late_report_alone_is_not_called_unknown() -> None:
    texts = texts_of(features_of(terminal=REPORTED_ONLY))
    assert {code for code in texts if "TERMINAL" in code} == {
        "FRAUD_REPORTED_AT_TERMINAL",
        "TERMINAL_AMOUNTS_UNKNOWN",
        "TERMINAL_INACTIVE",
    }
    assert texts["FRAUD_REPORTED_AT_TERMINAL"].endswith("in the last 30 days (no payments), more than 7 days ago")


@pytest.mark.parametrize(("hour", "words"), [(0, "00:00 and 01:00"), (5, "05:00 and 06:00"), (23, "23:00 and 00:00")])
def test_the_hour_is_said_as_on_a_clock(hour: int, words: str) -> None:
    texts = texts_of(features_of(seconds=hour * 3600 + 3599))
    code = "NIGHT_PAYMENT" if hour < 6 else "DAYTIME_PAYMENT"
    assert f"between {words} UTC" in texts[code]


def test_days_of_the_week_are_named_in_order() -> None:
    week = [texts_of(features_of(seconds=TUESDAY_14_25 + day * 24 * 3600)) for day in range(-1, 6)]
    said = [text for texts in week for code, text in texts.items() if code in ("WEEKDAY_PAYMENT", "WEEKEND_PAYMENT")]
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    assert said == [f"Payment on a {day} (UTC)" for day in days]


def test_texts_of_several_hundred_real_payments_read_well(real_features: Floats, loaded: Loaded) -> None:
    assert len(real_features) >= 500
    contributions, _ = loaded.bundle.explainer.explain(real_features)
    said = set()
    for features, shares in zip(real_features.tolist(), contributions, strict=True):
        for reason in explain_in_words(features, shares):
            assert mistakes_in(reason["text"]) == [], reason
            assert numbers_agree(reason), reason
            said.add(reason["code"])
    assert len(said) >= 15


def numbers_agree(reason: Reason) -> bool:
    """Compare the numbers in a text with the features that stand beside it."""
    for name, value in reason["features"].items():
        if name == "amount" or name.endswith("_amount_mean_30d"):
            said = math.isnan(value) or f"{value:,.2f}" in reason["text"]
        elif name.endswith("_ratio_30d") and " times " in reason["text"]:
            shown = f"{value:.1f}".removesuffix(".0") if value < 10 else f"{value:,.0f}"
            said = f"is {shown} times " in reason["text"] or value >= 1000
        elif name.endswith(("_reports_30d", "_transactions_1d", "_transactions_30d")) and value > 0:
            said = f"{value:,.0f} " in reason["text"]
        elif name == "hour":
            said = f"between {value:02.0f}:00" in reason["text"]
        else:
            said = True
        if not said:
            return False
    return True


counts = st.sampled_from([0.0, 1.0, 2.0, 3.0, 999.0, 1000.0, 47e6]) | st.integers(0, 10**7).map(float)
amounts = st.sampled_from([0.0, -0.0, 0.004, 0.005, 0.01, 0.0999, 0.1, 1.0, MAX_AMOUNT]) | st.floats(0, MAX_AMOUNT)


@st.composite
def known_entities(draw: st.DrawFn) -> Known:
    if draw(st.integers(0, 9)) == 0:
        return UNSEEN
    payments, reports = (sorted(draw(st.tuples(counts, counts, counts))) for _ in range(2))
    if payments[2] == 0 and reports[2] == 0:
        payments[2] = 1.0  # nothing at all would be unknown
    mean = draw(amounts) + 0.0
    return (payments[0], payments[1], payments[2]), (reports[0], reports[1], reports[2]), mean


@given(amounts, known_entities(), known_entities(), st.integers(0, 4_000_000_000))
def test_texts_of_extreme_payments_read_well(amount: float, customer: Known, terminal: Known, seconds: int) -> None:
    features = features_of(amount, customer=customer, terminal=terminal, seconds=seconds)
    for reason in explain_in_words(features, np.ones(len(features))):
        assert mistakes_in(reason["text"]) == [], reason


@pytest.mark.parametrize(
    "text",
    [
        "Amount nan cannot be compared",
        "Amount -0.00 by itself",
        "1 payments",
        "2 payment",
        "11 fraud reported",
        "Amount 1e+12 by itself",
        "Amount 4.123 by itself",
        "Amount {amount} by itself",
        "Amount  4.00 by itself",
        "Amount 4000.00 by itself",
        "Amount 4.00 by itself ",
        "",
    ],
)
def test_the_reader_of_these_texts_would_notice_a_mistake(text: str) -> None:
    assert mistakes_in(text) != []


def test_the_examples_in_the_wording_are_true() -> None:
    assert doctest.testmod(wording).attempted >= 3
    assert doctest.testmod(wording).failed == 0


def test_the_page_of_reason_codes_is_what_the_code_says() -> None:
    assert DOCS.read_text(encoding="utf-8") == catalogue(), "run `make docs`"


def test_the_page_gives_each_code_a_filled_example() -> None:
    rows = [line.strip("| ").split(" | ") for line in catalogue().splitlines() if line.startswith("| `")]
    assert [row[0].strip("`") for row in rows] == list(CODES)
    for code, _, _, example in rows:
        assert mistakes_in(example) == [], code
