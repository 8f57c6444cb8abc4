"""Numbers as a person says them: money, counts, times of a mean, how recent reports are."""

COUNTLESS = 1000  # times, above which the ratio itself says nothing more


def money(amount: float) -> str:
    """Return an amount with two decimals and thousands set apart.

    >>> money(1234.5), money(-0.0)
    ('1,234.50', '0.00')
    """
    return f"{amount + 0.0:,.2f}"  # minus zero is zero


def payments(count: float) -> str:
    """Return a number of payments, such as `no payments`, `1 payment`, `1,234 payments`."""
    return _counted(count, "1 payment", "payments")


def frauds(count: float) -> str:
    """Return a number of frauds, such as `1 fraud`."""
    return _counted(count, "1 fraud", "frauds")


def _counted(count: float, one: str, many: str) -> str:
    if count == 1:
        return one
    return f"{number(count)} {many}" if count else f"no {many}"


def number(count: float) -> str:
    """Return a whole number with thousands set apart.

    >>> number(87.0), number(1234.0)
    ('87', '1,234')
    """
    return str(int(count)) if count < 1000 else f"{count:,.0f}"


def times(ratio: float) -> str:
    """Return a ratio in words, to one decimal below 10 and to the whole number above.

    >>> times(4.2), times(5.0), times(123.4), times(5000.0)
    ('4.2 times', '5 times', '123 times', 'at least 1,000 times')
    """
    if ratio >= COUNTLESS:
        return f"at least {COUNTLESS:,} times"
    digits = f"{ratio:.1f}".removesuffix(".0") if ratio < 10 else f"{ratio:,.0f}"
    return f"{digits} times"


def how_recent(day: float, week: float, month: float) -> str:
    """Return when the reports of a month, one at least, arrived, given how many did in the last day and in 7 days.

    >>> how_recent(0, 1, 1), how_recent(2, 2, 2), how_recent(0, 3, 8)
    ('1 to 7 days ago', 'both in the last day', '3 of them in the last 7 days')
    """
    if month == 1:
        return "less than a day ago" if day else "1 to 7 days ago" if week else "more than 7 days ago"
    if day:
        return f"{_part(day, of=month)} in the last day"
    return f"{_part(week, of=month)} in the last 7 days"


def still_reported(cleared: float, reports: float) -> str:
    """Return what a terminal's payments of 1 to 5 days ago, old enough to be reported, say of its reports now.

    Parameters
    ----------
    cleared
        How many of these payments were more than the reports of the last 4 days.
    reports
        Those reports.

    >>> still_reported(3, 0), still_reported(1, 2), still_reported(0, 4), still_reported(0, 0)
    ('; 3 payments of 1 to 5 days ago, none reported', '; 1 payment of 1 to 5 days ago not reported', '', '')
    """
    if not cleared > 0:
        return ""
    return f"; {payments(cleared)} of 1 to 5 days ago{'' if reports else ','} {'not' if reports else 'none'} reported"


def _part(count: float, *, of: float) -> str:
    if count == of:
        return "both" if of == 2 else "all"
    return f"{count:,.0f} of them" if count else "none"
