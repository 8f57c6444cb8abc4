import copy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.training.page.page import render_page, write_page
from model.training.walk_forward.curves import curves
from tests.model.training.walk_forward.outcomes import random_outcomes

Document = dict[str, Any]
_SHOWN = (
    *("recall_at_fpr_5pct", "recall_at_fpr_1pct", "realised_fpr_review", "realised_fpr_decline", "roc_auc"),
    *("average_precision", "recall_review", "recall_decline", "precision_review", "precision_decline"),
    *("card_precision_at_100", "frauds_passed_per_100_transactions", "money_passed_per_month"),
)


def _segment(group: str, name: str, **given: Any) -> Document:
    figures = {"recall": 0.96, "recall_low": 0.94, "recall_high": 0.98, "false_positive_rate": 0.04}
    judged = {"meets_requirement": True, "clearly_failed": False}
    return {"group": group, "name": name, "transactions": 900.0, "frauds": 40.0, **figures, **judged} | {
        "false_positive_rate_low": 0.03,
        "false_positive_rate_high": 0.05,
        **given,
    }


@pytest.fixture
def document() -> Document:
    figures = {name: 0.5 + 0.01 * place for place, name in enumerate(_SHOWN)}
    failing = _segment("unknown", "unknown <b>terminal</b>", recall=0.5, meets_requirement=False, clearly_failed=True)
    doubtful = _segment("hour", "05:00 UTC", recall=0.9, meets_requirement=False)
    rng = np.random.default_rng(1)
    points = [[None if place % 9 == 0 else float(rng.random()), float(rng.normal())] for place in range(50)]
    return {
        **figures,
        **{f"{name}{end}": value for name, value in figures.items() for end in ("_low", "_high")},
        "ceiling_recall_at_fpr_5pct": 0.96,
        "ceiling": {"definition": "What could be known at best."},
        "checks": [{"met": met, "sentence": f"check {met}"} for met in (True, False, None)],
        "failing_segments": [failing, doubtful],
        "folds": [{"test": ["2026-01-02", "2026-01-08"]}, {"test": ["2026-01-09", "2026-01-15"]}],
        "days": [_segment("day", f"2026-01-{day:02d}") for day in range(2, 16)],
        "segments": [failing, doubtful, _segment("amount", "below 20", recall_low=None, recall_high=None)],
        "grid": [
            {"label_delay": "1 day", "statistics_age_hours": 1, **figures},
            {"label_delay": "7 days", "statistics_age_hours": 24, "not_possible": "history is too short"},
        ],
        "baselines": [{"name": "logistic regression", **figures}],
        "budgets": [{"budget": 0.05, "test": {"recall": 0.9, "flagged_per_day": 50.0, "money_passed_per_month": 9e3}}],
        "curves": curves(random_outcomes()),
        "shap": {"rows": 50, "features": [{"name": "amount", "points": points}]},
        "settings": {
            **{"label_delay_hours": 24.0, "statistics_age_hours": 1.0, "flagged_budget": 0.05, "declined_budget": 0.01},
            **{"monthly_loss_limit": 500_000.0, "trees": 200, "leaves": 31},
        },
        "facts": {
            "tested": {"transactions": 12_345.0, "frauds": 99.0},
            "data": {"first_day": "2025-10-01", "last_day": "2026-01-15"},
            "resampling": {"by": "terminal", "resamples": 400, "seed": 1},
            **{"report_times": "as recorded", "lightgbm": "4.7.0", "until": None},
        },
    }


class _Reader(HTMLParser):
    """Collects what a browser would load from elsewhere, the words that it would show, and unclosed elements."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href", "srcset") and value]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_page_stands_by_itself_and_is_well_formed(document: Document, tmp_path: Path) -> None:
    write_page(tmp_path / "evaluation.html", document)
    text = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    reader = _read(text)
    assert reader.loaded == []
    assert "@import" not in text
    assert "url(" not in text


def test_verdict_and_failing_segments_come_before_the_charts(document: Document) -> None:
    page = render_page(document)
    first_chart = page.index("<svg")
    for words in (
        "NOT MET",
        "check False",
        "unknown &lt;b&gt;terminal&lt;/b&gt;: recall 50 %",
        "1 more, where it could",
    ):
        assert page.index(words) < first_chart, words


def test_what_failed_is_not_shown_as_met(document: Document) -> None:
    everything_met = copy.deepcopy(document)
    for check in everything_met["checks"]:
        check["met"] = True
    assert render_page(document).count('class="mark met"') == 1
    assert render_page(everything_met).count('class="mark met"') == 3


def test_cells_of_the_grid_that_were_not_possible_say_why(document: Document) -> None:
    words = _read(render_page(document)).words
    assert "history is too short" in words
    assert "reports 1 day, statistics every hour" in words
    assert "logistic regression" in words


def test_a_figure_that_is_missing_is_not_made_up(document: Document) -> None:
    document["card_precision_at_100"] = None
    document["recall_at_fpr_1pct"] = None
    assert "n/a" in _read(render_page(document)).words


def test_a_quick_evaluation_has_no_grid(document: Document) -> None:
    assert "Label delay and age" in render_page(document)
    assert "Label delay and age" not in render_page({**document, "grid": []})
