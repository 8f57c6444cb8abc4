import json
from pathlib import Path
from typing import Any

import pytest

from antifraud.cli import main
from model.settings import Settings, load_settings
from model.training.walk_forward.budget_page import BudgetError, figures_at, read_budgets, render_budgets


def row(budget: float, **test: float) -> dict[str, Any]:
    figures = {
        "recall": 0.8 + budget,
        "false_positive_rate": budget,
        "precision": 0.5,
        "frauds_passed_per_100_transactions": 5 - 40 * budget,
        "flagged_per_day": 1000 * budget,
        "money_passed_per_month": 900_000 - 6_000_000 * budget,
        "money_falsely_stopped_per_month": 100.0,
    }
    return {"budget": budget, "cut_off": 1 - budget, "test": figures | test}


@pytest.fixture
def report(tmp_path: Path) -> Path:
    rows = [row(0.1), row(0.01), row(0.05)]
    (tmp_path / "evaluation.json").write_text(json.dumps({"budgets": rows}), encoding="utf-8")
    return tmp_path


@pytest.fixture
def defaults() -> Settings:
    return load_settings()


def test_budget_of_the_table_has_its_own_figures_and_one_between_lies_on_the_line(report: Path) -> None:
    table = read_budgets(report)
    assert figures_at(table, 0.05)["flagged_per_day"] == pytest.approx(50)
    assert figures_at(table, 0.03)["flagged_per_day"] == pytest.approx(30)
    assert figures_at(table, 0.03)["recall"] == pytest.approx(0.83)


@pytest.mark.parametrize("budget", [0.009, 0.11])
def test_budget_outside_the_table_is_refused(report: Path, budget: float) -> None:
    with pytest.raises(BudgetError, match=r"from 0\.01 to 0\.1"):
        figures_at(read_budgets(report), budget)


def test_page_says_which_limits_are_broken_and_from_which_budget_on_they_are_kept(
    report: Path, defaults: Settings
) -> None:
    page = render_budgets(read_budgets(report), settings=defaults, asked={})
    assert "BROKEN  fraud money passed a month 600,000.00; limit 500,000 (kept from a budget of 10.00% on)" in page
    assert "BROKEN  frauds passed per 100 transactions 3.00; at most 2 (kept from a budget of 10.00% on)" in page
    assert "BROKEN  recall 85.00%; at least 95%" in page
    asked = render_budgets(read_budgets(report), settings=defaults, asked={"review": 0.1})
    assert "kept    fraud money passed a month 300,000.00" in asked
    assert "All budgets" in page
    assert "All budgets" not in asked


def test_missing_figure_is_shown_as_such(tmp_path: Path, defaults: Settings) -> None:
    rows = [row(0.01), {"budget": 0.05, "test": {"recall": None}}]
    (tmp_path / "cutoffs.json").write_text(json.dumps({"budgets": rows}), encoding="utf-8")
    page = render_budgets(read_budgets(tmp_path), settings=defaults, asked={})
    assert "BROKEN  recall n/a" in page


def test_report_without_budgets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="no table of budgets"):
        read_budgets(tmp_path)
    (tmp_path / "evaluation.json").write_text("not JSON", encoding="utf-8")
    with pytest.raises(BudgetError, match="not a report"):
        read_budgets(tmp_path)


def test_verb_answers_a_question_about_one_budget(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["cutoffs", "--report", str(report), "--flagged-budget", "0.03", "--declined-budget", "0.02"]
    assert main(arguments) == 0
    page = capsys.readouterr().out
    assert "3.00% review or decline" in page
    assert "2.00% decline" in page
    assert main([*arguments, "--monthly-loss-limit", "1000000"]) == 0
    assert "kept    fraud money passed a month 720,000.00; limit 1,000,000" in capsys.readouterr().out
    assert main(["cutoffs", "--report", str(report), "--flagged-budget", "0.5"]) == 1
