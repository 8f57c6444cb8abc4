from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.page.svg import Chart, Scale, percent, plain


@given(
    low=st.floats(-1e6, 1e6, allow_nan=False),
    span=st.floats(1e-3, 1e6, allow_nan=False),
    share=st.floats(-0.5, 1.5, allow_nan=False),
)
def test_a_scale_keeps_order_and_never_leaves_its_pixels(low: float, span: float, share: float) -> None:
    scale = Scale(low, low + span, 100, 500)
    assert 100 <= scale(low + share * span) <= 500
    assert scale(low) == 100
    assert scale(low + span) == 500


@given(low=st.floats(-1e4, 1e4, allow_nan=False), span=st.floats(1e-2, 1e5, allow_nan=False))
def test_ticks_are_few_even_and_within_the_scale(low: float, span: float) -> None:
    ticks = Scale(low, low + span, 0, 100).ticks()
    assert 2 <= len(ticks) <= 12
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    steps = [b - a for a, b in pairwise(ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-6, abs=1e-9 * max(abs(low), span))


def test_logarithmic_ticks_are_powers_of_ten() -> None:
    assert Scale(1e-4, 1, 0, 100, logarithmic=True).ticks() == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1])
    assert Scale(1e-4, 1, 0, 100, logarithmic=True)(0.01) == 50


@pytest.mark.parametrize(("number", "text"), [(1_234_567, "1.23M"), (950.0, "950"), (12_000, "12k"), (0.0, "0")])
def test_numbers_are_written_as_people_write_them(number: float, text: str) -> None:
    assert plain(number) == text


def test_shares_are_written_in_percent() -> None:
    assert percent(0.0495) == "4.95 %"


def test_a_chart_is_well_formed_and_escapes_what_it_is_told() -> None:
    chart = Chart("Recall <5 %", (0, 1), (0, 1), "a & b", "<y>")
    chart.line([(0, 0), (1, 1)], colour="blue")
    chart.band([(0, 0.1, 0.2), (1, 0.3, 0.9)], colour="blue")
    chart.point(0.5, 0.5, colour="red", words='"x" < y')
    chart.bar(0.1, 0.2, 0.7, colour="blue")
    chart.level(0.95, "required > 0")
    chart.upright(0.3, "here")
    chart.name_x(0.5, "day")
    root = ElementTree.fromstring(chart.text())  # noqa: S314  our own text
    assert root.attrib["aria-label"] == "Recall <5 %"
    texts = [element.text for element in root.iter() if element.text and element.text.strip()]
    assert {"a & b", "<y>", '"x" < y', "required > 0", "here", "day"} <= set(texts)
    assert all(0 <= float(dot.attrib["cx"]) <= 520 for dot in root.iter("circle"))
