from collections.abc import Iterator

import pytest

from loadtest.capacity_search import (
    CONFIRMATIONS,
    GENERATOR_RATE,
    HIGHEST_RATE,
    LOWEST_RATE,
    PRECISION,
    Bracket,
    Trial,
    UnreliableError,
    confirm,
    search,
    summarise,
)
from loadtest.ledger import Ledger, Outcome
from loadtest.service import ServiceError


def trial(rate: float, *, passes: bool, lag_ms: float = 0.1, other_work: float = 0.0) -> Trial:
    ledger = Ledger()
    for _ in range(10):
        ledger.record(Outcome.ANSWERED, 0.001 if passes else 0.1)
        ledger.notice(lag_ms / 1000)
    return Trial(ledger.result(rate=rate, seconds=1), 5.0, other_work)


class Instance:
    """A service of a known capacity, measured through a generator of a known ability."""

    def __init__(self, capacity: float, *, generator: float = 1e9, unlucky: int = 0, busy: float = 0.0) -> None:
        self.capacity = capacity
        self.generator = generator
        self.unlucky = unlucky  # every so many-th trial fails whatever the rate
        self.busy = busy
        self.rates: list[float] = []

    def __call__(self, rate: float, _seconds: float) -> Trial:
        self.rates.append(rate)
        late = rate > self.generator
        luck = not self.unlucky or len(self.rates) % self.unlucky
        passes = bool(rate <= self.capacity and not late and luck)
        return trial(rate, passes=passes, lag_ms=50 if late else 0.1, other_work=self.busy)


@pytest.mark.parametrize("known", [LOWEST_RATE * 1.1, 50, 399, 401, 1234, 4999, 12_345])
def test_the_search_ends_within_its_precision_below_the_capacity(known: float) -> None:
    measure = Instance(known)
    bracket = search(measure, first=400, seconds=1)
    assert bracket.passed <= known <= bracket.failed <= bracket.passed * (1 + PRECISION)
    assert bracket.limited_by == "service"
    assert len(measure.rates) < 40


def test_bad_luck_once_does_not_spoil_the_search() -> None:
    bracket = search(Instance(1000, unlucky=3), first=400, seconds=1)
    assert bracket.passed <= 1000 <= bracket.failed * (1 + PRECISION)


def test_where_the_generator_ends_first_the_figure_is_said_to_be_its_own() -> None:
    bracket = search(Instance(1e9, generator=7000), first=400, seconds=1)
    assert bracket.passed <= 7000 < bracket.failed
    assert bracket.limited_by == "generator"
    endless = search(Instance(1e9), first=400, seconds=1)
    assert endless.passed < HIGHEST_RATE <= endless.passed * (1 + PRECISION)
    assert endless.limited_by == "generator"


def test_a_generator_that_is_late_at_an_easy_rate_measures_nothing() -> None:
    with pytest.raises(UnreliableError, match=r"the generator was 50\.0 ms late"):
        search(Instance(1e9, generator=GENERATOR_RATE / 2), first=400, seconds=1)


def test_other_work_on_the_core_measures_nothing_where_it_may_be_the_reason() -> None:
    with pytest.raises(UnreliableError, match="other work took 30%"):
        search(Instance(1000, busy=0.3), first=400, seconds=1)


def test_a_service_that_answers_nobody_in_time_has_no_capacity() -> None:
    with pytest.raises(ServiceError, match="even at"):
        search(Instance(0), first=400, seconds=1)


def test_what_longer_trials_do_not_confirm_is_stepped_back() -> None:
    trials = confirm(Instance(900), 1000, seconds=1)
    assert len(trials) == CONFIRMATIONS
    assert trials[0].result.rate == pytest.approx(1000 * 0.95**3)


def test_trials_in_doubt_confirm_nothing() -> None:
    def doubtful(rate: float, _seconds: float) -> Trial:
        return trial(rate, passes=False, lag_ms=9)

    for never in (doubtful, Instance(10)):
        with pytest.raises(UnreliableError, match="no rate was confirmed"):
            confirm(never, 1000, seconds=1)


def test_doubt_makes_a_confirmed_rate_lower_and_never_higher() -> None:
    def disturbed(rate: float, _seconds: float) -> Trial:
        return trial(rate, passes=rate < 950, lag_ms=0.1 if rate < 950 else 9)

    trials = confirm(disturbed, 1000, seconds=1)
    assert [each.result.rate for each in trials] == pytest.approx([1000 * 0.95**2] * CONFIRMATIONS)
    assert all(each.passed for each in trials)


def test_one_bad_trial_of_three_is_outvoted_and_shown() -> None:
    verdicts: Iterator[bool] = iter([True, False, True])
    trials = confirm(lambda rate, _: trial(rate, passes=next(verdicts)), 500, seconds=1)
    entry = summarise(0.5, Bracket(500, 520, "service"), trials)
    assert (entry["highest_rate"], entry["rate_per_core"], entry["cores"]) == (500, 1000, 0.5)
    assert entry["p99_ms"] == 1.0
    assert entry["p99_ms_of_trials"] == [1.0, 100.0, 1.0]


def test_an_unanswered_payment_fails_a_trial_however_fast_the_others_were() -> None:
    ledger = Ledger()
    for _ in range(999):
        ledger.record(Outcome.ANSWERED, 0.001)
    ledger.record(Outcome.REFUSED, 0.001)
    assert not Trial(ledger.result(rate=10, seconds=100), 5.0, 0).passed
