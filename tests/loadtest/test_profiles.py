import argparse
import itertools
from collections import Counter
from dataclasses import replace

import pytest

from loadtest.ledger import Ledger, LoadResult, Outcome
from loadtest.options import add_load_options, profile_from
from loadtest.profiles import PROFILES, Limits, Stage, make_profile
from loadtest.report import MISSED, PASSED, UNRELIABLE, insert_section, judge, render_table

CALM = Stage("calm", 10, 10, Limits(p99_ms=5, refused=0.1, errors=0.05, answered_rate=8))


def result(*, answered: int = 100, refused: int = 0, errors: int = 0, ms: float = 1, lag_ms: float = 0) -> LoadResult:
    ledger = Ledger()
    counts = ((Outcome.ANSWERED, answered), (Outcome.REFUSED, refused), (Outcome.TRANSPORT_ERROR, errors))
    for outcome, count in counts:
        for _ in range(count):
            ledger.record(outcome, ms / 1000)
            ledger.notice(lag_ms / 1000)
    return ledger.result(rate=10, seconds=10)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_its_stages_one_after_the_other_without_a_gap(name: str) -> None:
    profile = make_profile(name).stretched(0.1)
    arrivals = list(profile.arrivals())
    moments = [moment for moment, _ in arrivals]
    assert moments == sorted(moments)
    assert moments[-1] < profile.seconds
    counts = Counter(stage for _, stage in arrivals)
    assert [counts[number] for number in range(len(profile.stages))] == [
        round(stage.rate * stage.seconds) for stage in profile.stages
    ]
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert max(gaps) == pytest.approx(1 / min(stage.rate for stage in profile.stages))


def test_the_profiles_have_the_rates_that_were_asked_for() -> None:
    rates = {name: [stage.rate for stage in make_profile(name).stages if stage.limits] for name in PROFILES}
    assert rates == {
        "normal": [50],
        "peak": [400],
        "step": [50, 400, 50],
        "spike": [50, 500, 50],
        "soak": [400],
    }
    assert make_profile("soak").seconds >= 600


def test_a_spike_is_ten_times_the_capacity_where_that_is_known_and_most_of_it_must_be_answered() -> None:
    spike = make_profile("spike", capacity=150).stages[2]
    assert spike.rate == 1500
    assert spike.limits == Limits(p99_ms=100, refused=1.0, errors=0, answered_rate=135)


def test_a_stretch_leaves_the_warm_up_as_it_is() -> None:
    profile = make_profile("step")
    longer = profile.stretched(3)
    assert [stage.seconds for stage in longer.stages] == [3, 90, 180, 90]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, []),
        ({"ms": 5}, []),
        ({"ms": 5.1}, ["p99 5.10 ms, limit 5 ms"]),
        ({"answered": 90, "refused": 10}, []),
        ({"answered": 89, "refused": 11}, ["refused 11.00%"]),
        ({"answered": 95, "errors": 5}, []),
        ({"answered": 94, "errors": 6}, ["errors 6.00%"]),
        ({"answered": 79}, ["7.9 answers/s, limit 8"]),
        ({"answered": 0, "refused": 0, "errors": 9}, ["errors 100.00%", "p99 inf", "0.0 answers/s"]),
    ],
)
def test_each_limit_is_held_or_named(changed: dict[str, float], words: list[str]) -> None:
    breaches = CALM.breaches(result(**changed))  # type: ignore[arg-type]
    assert len(breaches) == len(words)
    assert all(word in breach for word, breach in zip(words, breaches, strict=True))


def test_books_that_do_not_add_up_are_a_breach_even_in_a_warm_up() -> None:
    lost = replace(result(), sent=99)
    assert "do not add up" in replace(CALM, limits=None).breaches(lost)[0]
    assert replace(CALM, limits=None).breaches(result(ms=1000)) == []


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([result(), result()], PASSED),
        ([result(lag_ms=50), result()], PASSED),
        ([result(ms=9), result()], MISSED),
        ([result(ms=9, lag_ms=50), result()], UNRELIABLE),
        ([result(ms=9), result(lag_ms=50)], MISSED),
    ],
)
def test_a_late_generator_can_spoil_a_failure_but_not_a_success(results: list[LoadResult], code: int) -> None:
    assert judge([CALM, CALM], results).exit_code == code


def test_options_set_rates_and_limits_and_leave_the_rest() -> None:
    parser = argparse.ArgumentParser()
    add_load_options(parser)
    options = parser.parse_args(["--normal", "20", "--p99-ms", "9", "--spike-refused", "0.8", "--stretch", "0.5"])
    before, spike, _ = profile_from("spike", options).stages[1:]
    assert (before.rate, before.seconds, before.limits) == (20, 10, Limits(p99_ms=9))
    assert (spike.rate, spike.limits) == (200, Limits(p99_ms=100, refused=0.8, answered_rate=180))


def test_the_page_shows_verdict_limits_and_account_and_escapes_its_title() -> None:
    failed = result(ms=9)
    verdict = judge([CALM], [failed])
    page = insert_section('<body><div id="root"></div>', "<step>", [CALM], [failed], verdict)
    assert "&lt;step&gt;: limits missed" in page
    assert "calm: p99 9.00 ms, limit 5 ms" in page
    assert "p99 5 ms, refused 10.0%, errors 5.0%, at least 8/s answered" in page
    assert page.index("verdict") < page.index('<div id="root">')
    with pytest.raises(ValueError, match="Locust"):
        insert_section("<body>", "step", [CALM], [failed], verdict)
    assert "limits missed" in render_table([CALM], [failed], verdict)
