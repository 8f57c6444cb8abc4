"""Reasons: SHAP values put together by what they speak of, in words that carry the payment's own numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from model.features import FEATURE_NAMES

Numbers = Mapping[str, float]
Chosen = tuple[str, dict[str, str]]  # a code, and the words that fill its template

MUCH_MORE = 1.5  # times the mean, from which an amount counts as above normal
MUCH_LESS = 0.5
BUSY = 2.0  # times the usual daily number of payments
BUSY_AT_LEAST = 3  # payments in a day
COUNTLESS = 1000.0  # times, above which the ratio itself says nothing more
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Code:
    """One reason code: when it is given, and the template of its text."""

    name: str
    when: str
    template: str


@dataclass(frozen=True, slots=True)
class Group:
    """Features that say one thing together.

    Attributes
    ----------
    features
        Their SHAP values are summed up to the group's contribution.
    shown
        Those whose values stand beside the text.
    codes
        What the group may say.
    choose
        Picks one of the codes and the words for its template from a payment's features.
    """

    name: str
    features: tuple[str, ...]
    shown: tuple[str, ...]
    codes: tuple[Code, ...]
    choose: Callable[[Numbers], Chosen]


@dataclass(frozen=True, slots=True)
class Reason:
    """What one group says of one payment; `contribution` in log-odds, above 0 speaks for fraud."""

    code: str
    text: str
    contribution: float
    features: dict[str, float]


def explain_in_words(features: Sequence[float], contributions: Sequence[float]) -> list[Reason]:
    """Return a reason per group, the strongest first, for one payment.

    Parameters
    ----------
    features, contributions
        Plain floats in the order of `FEATURE_NAMES`; contributions in log-odds.
    """
    numbers = dict(zip(FEATURE_NAMES, features, strict=True))
    reasons = [_reason(group, numbers, contributions) for group in GROUPS]
    reasons.sort(key=lambda reason: -abs(reason.contribution))
    return reasons


def _reason(group: Group, numbers: Numbers, contributions: Sequence[float]) -> Reason:
    code, words = group.choose(numbers)
    contribution = sum([contributions[place] for place in _PLACES[group.name]])
    shown = {name: numbers[name] for name in group.shown}
    return Reason(code, CODES[code].template.format_map(words), contribution, shown)


def _money(amount: float) -> str:
    return f"{amount:,.2f}"


def _counted(count: float, noun: str) -> str:
    return f"{count:,.0f} {noun}" if count else f"no {noun}"


def _payments(count: float) -> str:
    return _counted(count, "payment" if count == 1 else "payments")


def _frauds(count: float) -> str:
    return _counted(count, "fraud" if count == 1 else "frauds")


def _known(count: float) -> bool:
    return count == count  # noqa: PLR0124  NaN: nothing is known


def _times(ratio: float) -> str:
    if ratio >= COUNTLESS:
        return f"more than {COUNTLESS:,.0f} times"
    return f"{ratio:.0f} times" if ratio >= 10 else f"{ratio:.1f} times"


def _amount_against(entity: str) -> Callable[[Numbers], Chosen]:
    upper = entity.upper()
    mean_name, count_name = f"{entity}_amount_mean_30d", f"{entity}_transactions_30d"

    def choose(numbers: Numbers) -> Chosen:
        amount, mean, count = numbers["amount"], numbers[mean_name], numbers[count_name]
        if not count > 0:
            return f"{upper}_AMOUNTS_UNKNOWN", {"amount": _money(amount)}
        words = {"amount": _money(amount), "mean": _money(mean), "payments": _payments(count)}
        # A mean that prints as 0.00 is no measure to count times of.
        if mean < 0.005:
            return (f"AMOUNT_ABOVE_ZERO_{upper}" if amount >= 0.005 else f"AMOUNT_NORMAL_FOR_{upper}"), words
        ratio = amount / mean
        if ratio >= MUCH_MORE:
            return f"AMOUNT_ABOVE_{upper}_NORMAL", words | {"times": _times(ratio)}
        if ratio <= MUCH_LESS:
            return f"AMOUNT_BELOW_{upper}_NORMAL", words
        return f"AMOUNT_NORMAL_FOR_{upper}", words

    return choose


def _activity(entity: str) -> Callable[[Numbers], Chosen]:
    upper = entity.upper()
    day_name, month_name = f"{entity}_transactions_1d", f"{entity}_transactions_30d"

    def choose(numbers: Numbers) -> Chosen:
        day, month = numbers[day_name], numbers[month_name]
        if not _known(month):
            return f"{upper}_UNKNOWN", {}
        if not month > 0:
            return f"{upper}_INACTIVE", {}
        usual = month / 30
        words = {"day": _payments(day), "month": f"{month:,.0f}"}
        if day >= BUSY_AT_LEAST and day >= BUSY * usual:
            return f"{upper}_BUSIER_THAN_USUAL", words
        return f"{upper}_ACTIVITY_USUAL", words

    return choose


def _reports(entity: str, *, place: str) -> Callable[[Numbers], Chosen]:
    upper = entity.upper()
    names = tuple(f"{entity}_reports_{window}" for window in ("1d", "7d", "30d"))

    def choose(numbers: Numbers) -> Chosen:
        day, week, month = (numbers[name] for name in names)
        if not _known(month):
            return f"{upper}_REPORTS_UNKNOWN", {}
        if not month > 0:
            return f"NO_FRAUD_REPORTED_{place}_{upper}", {"payments": _payments(numbers[f"{entity}_transactions_30d"])}
        return f"FRAUD_REPORTED_{place}_{upper}", {"frauds": _frauds(month), "recent": _recent(day, week, month)}

    return choose


def _recent(day: float, week: float, month: float) -> str:
    if month == 1:
        return "within the last day" if day else "within the last 7 days" if week else "more than 7 days ago"
    if day:
        return f"{day:,.0f} of them within the last day"
    return f"{week:,.0f} of them within the last 7 days" if week else "none of them within the last 7 days"


def _time_of_day(numbers: Numbers) -> Chosen:
    hour = int(numbers["hour"])
    words = {"start": f"{hour:02d}:00", "end": f"{(hour + 1) % 24:02d}:00"}
    return ("NIGHT_PAYMENT" if numbers["is_night"] else "DAYTIME_PAYMENT"), words


def _day_of_week(numbers: Numbers) -> Chosen:
    weekend = numbers["is_weekend"]
    return ("WEEKEND_PAYMENT" if weekend else "WEEKDAY_PAYMENT"), {"day": WEEKDAYS[int(numbers["weekday"])]}


def _amount_itself(numbers: Numbers) -> Chosen:
    return "PAYMENT_AMOUNT", {"amount": _money(numbers["amount"])}


def _amount_codes(entity: str, *, whose: str, norm: str) -> tuple[Code, ...]:
    upper = entity.upper()
    return (
        Code(
            f"AMOUNT_ABOVE_{upper}_NORMAL",
            f"the amount is at least {MUCH_MORE} times the mean of {whose} last 30 days",
            f"Amount {{amount}} is {{times}} {norm} ({{payments}})",
        ),
        Code(
            f"AMOUNT_BELOW_{upper}_NORMAL",
            f"the amount is at most {MUCH_LESS} times the mean of {whose} last 30 days",
            f"Amount {{amount}} is well below {norm} ({{payments}})",
        ),
        Code(
            f"AMOUNT_NORMAL_FOR_{upper}",
            "the amount lies between the two",
            f"Amount {{amount}} is close to {norm} ({{payments}})",
        ),
        Code(
            f"AMOUNT_ABOVE_ZERO_{upper}",
            f"all of {whose} payments in 30 days were of 0.00 and this one is not",
            f"Amount {{amount}} is more than {norm} ({{payments}})",
        ),
        Code(
            f"{upper}_AMOUNTS_UNKNOWN",
            f"there is no payment of {whose} last 30 days to compare the amount with",
            f"Amount {{amount}} cannot be compared: no payment of this {entity} in the last 30 days",
        ),
    )


def _activity_codes(entity: str, *, did: str) -> tuple[Code, ...]:
    upper = entity.upper()
    return (
        Code(
            f"{upper}_BUSIER_THAN_USUAL",
            f"at least {BUSY_AT_LEAST} payments in a day and {BUSY:.0f} times the daily mean of 30 days",
            f"This {entity} {did} {{day}} in the last day, unusually many ({{month}} in 30 days)",
        ),
        Code(
            f"{upper}_ACTIVITY_USUAL",
            "no more payments in the last day than usual",
            f"This {entity} {did} {{day}} in the last day and {{month}} in 30 days",
        ),
        Code(
            f"{upper}_INACTIVE",
            "a fraud was reported in the last 30 days, but there was no payment",
            f"This {entity} {did} no payment in the last 30 days",
        ),
        Code(
            f"{upper}_UNKNOWN",
            f"no payment and no report of this {entity} in the last 30 days",
            f"This {entity} is not known: no payment in the last 30 days",
        ),
    )


def _report_codes(entity: str, *, place: str) -> tuple[Code, ...]:
    upper, word = entity.upper(), place.lower()
    return (
        Code(
            f"FRAUD_REPORTED_{place}_{upper}",
            f"frauds were reported {word} this {entity} in the last 30 days",
            f"{{frauds}} reported {word} this {entity} in the last 30 days, {{recent}}",
        ),
        Code(
            f"NO_FRAUD_REPORTED_{place}_{upper}",
            f"none was, and the {entity} is known",
            f"No fraud reported {word} this {entity} in the last 30 days ({{payments}})",
        ),
        Code(
            f"{upper}_REPORTS_UNKNOWN",
            f"the {entity} is not known",
            f"No fraud report can be known: no payment of this {entity} in the last 30 days",
        ),
    )


def _features(entity: str, *quantities: str) -> tuple[str, ...]:
    return tuple(f"{entity}_{quantity}_{window}" for quantity in quantities for window in ("1d", "7d", "30d"))


_AMOUNT_QUANTITIES = ("amount_mean", "amount_std", "amount_difference", "amount_ratio", "amount_zscore")

GROUPS = (
    Group(
        "terminal_reports",
        _features("terminal", "reports", "report_rate"),
        ("terminal_reports_1d", "terminal_reports_7d", "terminal_reports_30d"),
        _report_codes("terminal", place="AT"),
        _reports("terminal", place="AT"),
    ),
    Group(
        "customer_reports",
        _features("customer", "reports", "report_rate"),
        ("customer_reports_1d", "customer_reports_7d", "customer_reports_30d"),
        _report_codes("customer", place="FOR"),
        _reports("customer", place="FOR"),
    ),
    Group(
        "customer_amount",
        _features("customer", *_AMOUNT_QUANTITIES),
        ("customer_amount_ratio_30d", "customer_amount_mean_30d", "customer_amount_zscore_30d"),
        _amount_codes("customer", whose="this customer's", norm="this customer's 30-day mean of {mean}"),
        _amount_against("customer"),
    ),
    Group(
        "terminal_amount",
        _features("terminal", *_AMOUNT_QUANTITIES),
        ("terminal_amount_ratio_30d", "terminal_amount_mean_30d", "terminal_amount_zscore_30d"),
        _amount_codes("terminal", whose="this terminal's", norm="this terminal's 30-day mean of {mean}"),
        _amount_against("terminal"),
    ),
    Group(
        "payment_amount",
        ("amount",),
        ("amount",),
        (Code("PAYMENT_AMOUNT", "always: what the amount says by itself", "The amount itself: {amount}"),),
        _amount_itself,
    ),
    Group(
        "customer_activity",
        _features("customer", "transactions"),
        ("customer_transactions_1d", "customer_transactions_30d"),
        _activity_codes("customer", did="made"),
        _activity("customer"),
    ),
    Group(
        "terminal_activity",
        _features("terminal", "transactions"),
        ("terminal_transactions_1d", "terminal_transactions_30d"),
        _activity_codes("terminal", did="took"),
        _activity("terminal"),
    ),
    Group(
        "time_of_day",
        ("hour", "is_night"),
        ("hour",),
        (
            Code(
                "NIGHT_PAYMENT",
                "the payment is made from 00:00 to 06:00 UTC",
                "Payment between {start} and {end} UTC, at night",
            ),
            Code("DAYTIME_PAYMENT", "at any other time", "Payment between {start} and {end} UTC"),
        ),
        _time_of_day,
    ),
    Group(
        "day_of_week",
        ("weekday", "is_weekend"),
        ("weekday",),
        (
            Code("WEEKEND_PAYMENT", "the payment is made on a Saturday or Sunday, UTC", "Payment on a {day}"),
            Code("WEEKDAY_PAYMENT", "on any other day", "Payment on a {day}"),
        ),
        _day_of_week,
    ),
)

CODES: Mapping[str, Code] = MappingProxyType({code.name: code for group in GROUPS for code in group.codes})
_PLACES = {group.name: [FEATURE_NAMES.index(name) for name in group.features] for group in GROUPS}


def catalogue() -> str:
    """Return the page of all reason codes, Markdown, that `docs/reasons.md` holds."""
    lines = [_CATALOGUE_HEAD]
    for group in GROUPS:
        features = ", ".join(f"`{name}`" for name in group.features)
        lines += [f"## {group.name}", "", f"Features: {features}.", "", "| code | given when | text |", "|---|---|---|"]
        lines += [f"| `{code.name}` | {code.when} | {code.template} |" for code in group.codes]
        lines += [""]
    return "\n".join(lines)


_CATALOGUE_HEAD = """# Reason codes

Every answer carries one reason from each group below, the strongest first. A reason's `contribution` is the sum of the
exact SHAP values of the group's features, in log-odds: above 0 it speaks for fraud, below 0 for the payment. All
contributions and the base value add up to the log-odds of the score. "Last day" and "30 days" end at the hour that the
answer states as `statistics_as_of`. Words in braces are filled in with the payment's own numbers.

This page is generated from `model/reasons.py` by `antifraud reasons`; `make check` compares the two.
"""
