"""What may be said of a payment: groups of features, the codes of each, and the words that fill their templates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from types import MappingProxyType

from model.features import FEATURE_NAMES, NIGHT_ENDS, RECENT_FEATURES
from model.wording import frauds, how_recent, money, number, payments, still_reported, times

Values = Sequence[float]  # of a payment, in the order of FEATURE_NAMES
Chosen = tuple["Code", tuple[str, ...]]  # a code, and the words that fill its template, in their order there

MUCH_MORE = 1.5  # times the mean, from which an amount counts as above normal
MUCH_LESS = 0.5
NEXT_TO_NOTHING = 0.10  # a smaller mean, printed with two decimals, is no measure to count times of
BUSY = 2.0  # times the usual daily number of payments
BUSY_AT_LEAST = 3  # payments in a day
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Code:
    """One reason code: when it is given, and the template of its text.

    Attributes
    ----------
    pattern
        The template as `%` takes it: filling it in by place takes half the time of filling it in by name.
    """

    name: str
    when: str
    template: str
    pattern: str = field(init=False)

    def __post_init__(self) -> None:
        parts = Formatter().parse(self.template)
        pattern = "".join(text.replace("%", "%%") + ("" if name is None else "%s") for text, name, *_ in parts)
        object.__setattr__(self, "pattern", pattern)


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
    shown_at
        The names of those shown with their places.
    """

    name: str
    features: tuple[str, ...]
    shown: tuple[str, ...]
    codes: tuple[Code, ...]
    choose: Callable[[Values], Chosen]
    shown_at: tuple[tuple[str, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shown_at", tuple(zip(self.shown, _places(*self.shown), strict=True)))


def _features(entity: str, *quantities: str) -> tuple[str, ...]:
    return tuple(f"{entity}_{quantity}_{window}" for quantity in quantities for window in ("1d", "7d", "30d"))


def _places(*names: str) -> list[int]:
    return [FEATURE_NAMES.index(name) for name in names]


def _reports(entity: str, *, place: str) -> Group:
    upper, preposition = entity.upper(), place.upper()
    names = _features(entity, "reports")
    is_terminal = entity == "terminal"
    codes = reported, none_reported, unknown = (
        Code(
            f"FRAUD_REPORTED_{preposition}_{upper}",
            f"frauds were reported {place} this {entity} in the last 30 days",
            f"{{frauds}} reported {place} this {entity} in the last 30 days ({{payments}}), {{recent}}"
            + ("{cleared}" if is_terminal else ""),
        ),
        Code(
            f"NO_FRAUD_REPORTED_{preposition}_{upper}",
            f"none was, and the {entity} is known",
            f"No fraud reported {place} this {entity} in the last 30 days ({{payments}})",
        ),
        Code(
            f"{upper}_REPORTS_UNKNOWN",
            f"the {entity} is not known",
            f"No fraud history to go by: no payment and no report {place} this {entity} in the last 30 days",
        ),
    )
    day_at, week_at, month_at, payments_at = _places(*names, f"{entity}_transactions_30d")
    cleared_at, reports_at = _places("terminal_cleared_4d", "terminal_reports_4d")

    def choose(values: Values) -> Chosen:
        month = values[month_at]
        if _is_unknown(month):
            return unknown, ()
        among = payments(values[payments_at])
        if not month:
            return none_reported, (among,)
        words = frauds(month), among, how_recent(values[day_at], values[week_at], month)
        return reported, (*words, still_reported(values[cleared_at], values[reports_at])) if is_terminal else words

    features = _features(entity, "reports", "report_rate")
    if is_terminal:
        features += tuple(f"terminal_{name}" for name in RECENT_FEATURES if name != "idle_days")
    return Group(f"{entity}_reports", features, names, codes, choose)


_AMOUNT_QUANTITIES = ("amount_mean", "amount_std", "amount_difference", "amount_ratio", "amount_zscore")


def _amounts(entity: str, *, place: str) -> Group:
    upper = entity.upper()
    norm, whose = f"this {entity}'s 30-day mean of {{mean}} ({{payments}})", f"this {entity}'s last 30 days"
    codes = above, below, normal, above_zero, unknown = (
        Code(
            f"AMOUNT_ABOVE_{upper}_NORMAL",
            f"the amount is at least {MUCH_MORE} times the mean of {whose}",
            f"Amount {{amount}} is {{times}} {norm}",
        ),
        Code(
            f"AMOUNT_BELOW_{upper}_NORMAL",
            f"the amount is at most {MUCH_LESS} times the mean of {whose}",
            f"Amount {{amount}} is well below {norm}",
        ),
        Code(
            f"AMOUNT_NORMAL_FOR_{upper}",
            "the amount lies between the two",
            f"Amount {{amount}} is not unusual against {norm}",
        ),
        Code(
            f"AMOUNT_ABOVE_ZERO_{upper}",
            f"the mean of {whose} is below {NEXT_TO_NOTHING:.2f}, next to nothing, and the amount is not",
            f"Amount {{amount}} is more than {norm}",
        ),
        Code(
            f"{upper}_AMOUNTS_UNKNOWN",
            f"there is no payment of {whose} to compare the amount with",
            f"Amount {{amount}} cannot be compared: no payment {place} this {entity} in the last 30 days",
        ),
    )
    amount_at, mean_at, count_at = _places("amount", f"{entity}_amount_mean_30d", f"{entity}_transactions_30d")

    def choose(values: Values) -> Chosen:
        amount, mean, count = values[amount_at], values[mean_at], values[count_at]
        if not count > 0:
            return unknown, (money(amount),)
        words = money(amount), money(mean), payments(count)
        if mean < NEXT_TO_NOTHING:
            return (above_zero if amount >= NEXT_TO_NOTHING else normal), words
        ratio = amount / mean
        if ratio >= MUCH_MORE:
            return above, (words[0], times(ratio), *words[1:])
        return (below if ratio <= MUCH_LESS else normal), words

    shown = tuple(f"{entity}_amount_{statistic}_30d" for statistic in ("ratio", "mean", "zscore"))
    return Group(f"{entity}_amount", _features(entity, *_AMOUNT_QUANTITIES), shown, codes, choose)


def _activity(entity: str, *, did: str, absent: str) -> Group:
    upper = entity.upper()
    day_name, month_name = f"{entity}_transactions_1d", f"{entity}_transactions_30d"
    codes = busier, usual, inactive, unknown = (
        Code(
            f"{upper}_BUSIER_THAN_USUAL",
            f"at least {BUSY_AT_LEAST} payments in the last day and {BUSY:.0f} times the daily mean of 30 days",
            f"This {entity} {did} {{day}} in the last day, unusually many ({{month}} in 30 days)",
        ),
        Code(
            f"{upper}_ACTIVITY_USUAL",
            "fewer in the last day than that",
            f"This {entity} {did} {{day}} in the last day and {{month}} in 30 days",
        ),
        Code(
            f"{upper}_INACTIVE",
            "no payment in the last 30 days, but a fraud was reported in them",
            f"This {entity} {did} no payment in the last 30 days",
        ),
        Code(
            f"{upper}_UNKNOWN",
            "no payment and no report in the last 30 days",
            f"This {entity} is new or {absent}: no payment in the last 30 days",
        ),
    )
    day_at, month_at = _places(day_name, month_name)

    def choose(values: Values) -> Chosen:
        day, month = values[day_at], values[month_at]
        if _is_unknown(month):
            return unknown, ()
        if not month:
            return inactive, ()
        is_busy = day >= BUSY_AT_LEAST and day >= BUSY * month / 30
        return (busier if is_busy else usual), (payments(day), number(month))

    recent = ("terminal_idle_days",) if entity == "terminal" else ()
    features, shown = (*_features(entity, "transactions"), *recent), (day_name, month_name, *recent)
    return Group(f"{entity}_activity", features, shown, codes, choose)


def _is_unknown(count: float) -> bool:
    return count != count  # noqa: PLR0124  NaN: nothing is known


def _payment_amount() -> Group:
    code = Code(
        "PAYMENT_AMOUNT",
        "always: what the amount says by itself",
        "Amount {amount} by itself, whoever pays and wherever",
    )
    (amount_at,) = _places("amount")

    def choose(values: Values) -> Chosen:
        return code, (money(values[amount_at]),)

    return Group("payment_amount", ("amount",), ("amount",), (code,), choose)


def _time_of_day() -> Group:
    codes = night, daytime = (
        Code(
            "NIGHT_PAYMENT",
            f"the payment is made from 00:00 to {NIGHT_ENDS:02d}:00 UTC",
            "Payment at night, between {start} and {end} UTC",
        ),
        Code("DAYTIME_PAYMENT", "at any other time", "Payment between {start} and {end} UTC"),
    )
    words = [(f"{hour:02d}:00", f"{(hour + 1) % 24:02d}:00") for hour in range(24)]
    hour_at, night_at = _places("hour", "is_night")

    def choose(values: Values) -> Chosen:
        return (night if values[night_at] else daytime), words[int(values[hour_at])]

    return Group("time_of_day", ("hour", "is_night"), ("hour",), codes, choose)


def _day_of_week() -> Group:
    codes = weekend, weekday = (
        Code("WEEKEND_PAYMENT", "the payment is made on a Saturday or Sunday, UTC", "Payment on a {day} (UTC)"),
        Code("WEEKDAY_PAYMENT", "on any other day", "Payment on a {day} (UTC)"),
    )
    weekday_at, weekend_at = _places("weekday", "is_weekend")

    def choose(values: Values) -> Chosen:
        return (weekend if values[weekend_at] else weekday), (WEEKDAYS[int(values[weekday_at])],)

    return Group("day_of_week", ("weekday", "is_weekend"), ("weekday",), codes, choose)


GROUPS = (
    _reports("terminal", place="at"),
    _reports("customer", place="for"),
    _amounts("customer", place="by"),
    _amounts("terminal", place="at"),
    _payment_amount(),
    _activity("customer", did="made", absent="has been away"),
    _activity("terminal", did="took", absent="has been idle"),
    _time_of_day(),
    _day_of_week(),
)

CODES: Mapping[str, Code] = MappingProxyType({code.name: code for group in GROUPS for code in group.codes})
