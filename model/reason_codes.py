"""What may be said of a payment: groups of features, the codes of each, and the words that fill their templates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from model.features import NIGHT_ENDS, RECENT_FEATURES
from model.wording import frauds, how_recent, money, payments, still_reported, times

Numbers = Mapping[str, float]
Chosen = tuple[str, dict[str, str]]  # a code, and the words that fill its template

MUCH_MORE = 1.5  # times the mean, from which an amount counts as above normal
MUCH_LESS = 0.5
NEXT_TO_NOTHING = 0.10  # a smaller mean, printed with two decimals, is no measure to count times of
BUSY = 2.0  # times the usual daily number of payments
BUSY_AT_LEAST = 3  # payments in a day
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


def _features(entity: str, *quantities: str) -> tuple[str, ...]:
    return tuple(f"{entity}_{quantity}_{window}" for quantity in quantities for window in ("1d", "7d", "30d"))


def _reports(entity: str, *, place: str) -> Group:
    upper, preposition = entity.upper(), place.upper()
    reported, none_reported = f"FRAUD_REPORTED_{preposition}_{upper}", f"NO_FRAUD_REPORTED_{preposition}_{upper}"
    unknown = f"{upper}_REPORTS_UNKNOWN"
    names = _features(entity, "reports")
    is_terminal = entity == "terminal"
    payments_name = f"{entity}_transactions_30d"

    def choose(numbers: Numbers) -> Chosen:
        day, week, month = (numbers[name] for name in names)
        if _is_unknown(month):
            return unknown, {}
        words = {"payments": payments(numbers[payments_name])}
        if not month:
            return none_reported, words
        words |= {"frauds": frauds(month), "recent": how_recent(day, week, month)}
        if is_terminal:
            words["cleared"] = still_reported(numbers["terminal_cleared_4d"], numbers["terminal_reports_4d"])
        return reported, words

    codes = (
        Code(
            reported,
            f"frauds were reported {place} this {entity} in the last 30 days",
            f"{{frauds}} reported {place} this {entity} in the last 30 days ({{payments}}), {{recent}}"
            + ("{cleared}" if is_terminal else ""),
        ),
        Code(
            none_reported,
            f"none was, and the {entity} is known",
            f"No fraud reported {place} this {entity} in the last 30 days ({{payments}})",
        ),
        Code(
            unknown,
            f"the {entity} is not known",
            f"No fraud history to go by: no payment and no report {place} this {entity} in the last 30 days",
        ),
    )
    features = _features(entity, "reports", "report_rate")
    if is_terminal:
        features += tuple(f"terminal_{name}" for name in RECENT_FEATURES if name != "idle_days")
    return Group(f"{entity}_reports", features, names, codes, choose)


_AMOUNT_QUANTITIES = ("amount_mean", "amount_std", "amount_difference", "amount_ratio", "amount_zscore")


def _amounts(entity: str, *, place: str) -> Group:
    upper = entity.upper()
    above, below, normal = (
        f"AMOUNT_ABOVE_{upper}_NORMAL",
        f"AMOUNT_BELOW_{upper}_NORMAL",
        f"AMOUNT_NORMAL_FOR_{upper}",
    )
    above_zero, unknown = f"AMOUNT_ABOVE_ZERO_{upper}", f"{upper}_AMOUNTS_UNKNOWN"
    mean_name, count_name = f"{entity}_amount_mean_30d", f"{entity}_transactions_30d"

    def choose(numbers: Numbers) -> Chosen:
        amount, mean, count = numbers["amount"], numbers[mean_name], numbers[count_name]
        if not count > 0:
            return unknown, {"amount": money(amount)}
        words = {"amount": money(amount), "mean": money(mean), "payments": payments(count)}
        if mean < NEXT_TO_NOTHING:
            return (above_zero if amount >= NEXT_TO_NOTHING else normal), words
        ratio = amount / mean
        if ratio >= MUCH_MORE:
            return above, words | {"times": times(ratio)}
        return (below if ratio <= MUCH_LESS else normal), words

    norm, whose = f"this {entity}'s 30-day mean of {{mean}} ({{payments}})", f"this {entity}'s last 30 days"
    codes = (
        Code(
            above,
            f"the amount is at least {MUCH_MORE} times the mean of {whose}",
            f"Amount {{amount}} is {{times}} {norm}",
        ),
        Code(
            below,
            f"the amount is at most {MUCH_LESS} times the mean of {whose}",
            f"Amount {{amount}} is well below {norm}",
        ),
        Code(normal, "the amount lies between the two", f"Amount {{amount}} is not unusual against {norm}"),
        Code(
            above_zero,
            f"the mean of {whose} is below {NEXT_TO_NOTHING:.2f}, next to nothing, and the amount is not",
            f"Amount {{amount}} is more than {norm}",
        ),
        Code(
            unknown,
            f"there is no payment of {whose} to compare the amount with",
            f"Amount {{amount}} cannot be compared: no payment {place} this {entity} in the last 30 days",
        ),
    )
    shown = tuple(f"{entity}_amount_{statistic}_30d" for statistic in ("ratio", "mean", "zscore"))
    return Group(f"{entity}_amount", _features(entity, *_AMOUNT_QUANTITIES), shown, codes, choose)


def _activity(entity: str, *, did: str, absent: str) -> Group:
    upper = entity.upper()
    busier, usual = f"{upper}_BUSIER_THAN_USUAL", f"{upper}_ACTIVITY_USUAL"
    inactive, unknown = f"{upper}_INACTIVE", f"{upper}_UNKNOWN"
    day_name, month_name = f"{entity}_transactions_1d", f"{entity}_transactions_30d"

    def choose(numbers: Numbers) -> Chosen:
        day, month = numbers[day_name], numbers[month_name]
        if _is_unknown(month):
            return unknown, {}
        if not month:
            return inactive, {}
        is_busy = day >= BUSY_AT_LEAST and day >= BUSY * month / 30
        return (busier if is_busy else usual), {"day": payments(day), "month": f"{month:,.0f}"}

    codes = (
        Code(
            busier,
            f"at least {BUSY_AT_LEAST} payments in the last day and {BUSY:.0f} times the daily mean of 30 days",
            f"This {entity} {did} {{day}} in the last day, unusually many ({{month}} in 30 days)",
        ),
        Code(
            usual,
            "fewer in the last day than that",
            f"This {entity} {did} {{day}} in the last day and {{month}} in 30 days",
        ),
        Code(
            inactive,
            "no payment in the last 30 days, but a fraud was reported in them",
            f"This {entity} {did} no payment in the last 30 days",
        ),
        Code(
            unknown,
            "no payment and no report in the last 30 days",
            f"This {entity} is new or {absent}: no payment in the last 30 days",
        ),
    )
    recent = ("terminal_idle_days",) if entity == "terminal" else ()
    features, shown = (*_features(entity, "transactions"), *recent), (day_name, month_name, *recent)
    return Group(f"{entity}_activity", features, shown, codes, choose)


def _is_unknown(count: float) -> bool:
    return count != count  # noqa: PLR0124  NaN: nothing is known


def _payment_amount(numbers: Numbers) -> Chosen:
    return "PAYMENT_AMOUNT", {"amount": money(numbers["amount"])}


def _time_of_day(numbers: Numbers) -> Chosen:
    hour = int(numbers["hour"])
    words = {"start": f"{hour:02d}:00", "end": f"{(hour + 1) % 24:02d}:00"}
    return ("NIGHT_PAYMENT" if numbers["is_night"] else "DAYTIME_PAYMENT"), words


def _day_of_week(numbers: Numbers) -> Chosen:
    code = "WEEKEND_PAYMENT" if numbers["is_weekend"] else "WEEKDAY_PAYMENT"
    return code, {"day": WEEKDAYS[int(numbers["weekday"])]}


GROUPS = (
    _reports("terminal", place="at"),
    _reports("customer", place="for"),
    _amounts("customer", place="by"),
    _amounts("terminal", place="at"),
    Group(
        "payment_amount",
        ("amount",),
        ("amount",),
        (
            Code(
                "PAYMENT_AMOUNT",
                "always: what the amount says by itself",
                "Amount {amount} by itself, whoever pays and wherever",
            ),
        ),
        _payment_amount,
    ),
    _activity("customer", did="made", absent="has been away"),
    _activity("terminal", did="took", absent="has been idle"),
    Group(
        "time_of_day",
        ("hour", "is_night"),
        ("hour",),
        (
            Code(
                "NIGHT_PAYMENT",
                f"the payment is made from 00:00 to {NIGHT_ENDS:02d}:00 UTC",
                "Payment at night, between {start} and {end} UTC",
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
            Code("WEEKEND_PAYMENT", "the payment is made on a Saturday or Sunday, UTC", "Payment on a {day} (UTC)"),
            Code("WEEKDAY_PAYMENT", "on any other day", "Payment on a {day} (UTC)"),
        ),
        _day_of_week,
    ),
)

CODES: Mapping[str, Code] = MappingProxyType({code.name: code for group in GROUPS for code in group.codes})
