"""A page of budgets for a terminal: what each would have stopped, and what it would have cost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.settings import Settings
from model.training.evaluation import FRAUDS_PASSED_PER_100_ALLOWED, RECALL_REQUIRED

EVALUATION, TRAINING = "evaluation.json", "cutoffs.json"
_WORDS = {"review": "review or decline", "decline": "decline"}
_COLUMNS = (
    ("recall", "recall", "{:.2%}"),
    ("realised FPR", "false_positive_rate", "{:.2%}"),
    ("precision", "precision", "{:.2%}"),
    ("stopped a day", "flagged_per_day", "{:,.0f}"),
    ("passed per 100", "frauds_passed_per_100_transactions", "{:.4f}"),
    ("passed a month", "money_passed_per_month", "{:,.0f}"),
    ("stopped a month", "money_falsely_stopped_per_month", "{:,.0f}"),
)
_WIDTH = 17


class BudgetError(ValueError):
    """There is no table of budgets, or a budget lies outside it."""


@dataclass(frozen=True, slots=True)
class BudgetTable:
    """What each budget would have done, in rows with growing `budget` and the figures of the test as `test`."""

    source: str
    rows: Sequence[Mapping[str, Any]]


def read_budgets(report: Path, *, called: object = None) -> BudgetTable:
    """Return the table of budgets that an evaluation, or else a training, left in its report.

    Parameters
    ----------
    called
        What people call the report, if it is a copy of one that lies elsewhere.

    Raises
    ------
    BudgetError
        If there is none.
    """
    name = report if called is None else called
    for path in (report / TRAINING, report / EVALUATION):
        try:
            rows = json.loads(path.read_text(encoding="utf-8")).get("budgets")
        except FileNotFoundError:
            continue
        except (ValueError, AttributeError):
            raise BudgetError(f"{name}/{path.name}: not a report of this product") from None
        if rows:
            return BudgetTable(f"{name}/{path.name}", sorted(rows, key=lambda row: float(row["budget"])))
    raise BudgetError(f"{name}: no table of budgets there; run `antifraud train` or `antifraud evaluate` first")


def figures_at(table: BudgetTable, budget: float) -> dict[str, float | None]:
    """Return the figures of a budget, between two of the table's on a straight line.

    Raises
    ------
    BudgetError
        If it lies outside the table.
    """
    budgets = [float(row["budget"]) for row in table.rows]
    if not budgets[0] <= budget <= budgets[-1]:
        raise BudgetError(f"budget must be from {budgets[0]:g} to {budgets[-1]:g}, as far as {table.source} goes")
    after = next(place for place, each in enumerate(budgets) if each >= budget)
    before = after if budgets[after] == budget else after - 1
    share = 0.0 if before == after else (budget - budgets[before]) / (budgets[after] - budgets[before])
    low, high = table.rows[before]["test"], table.rows[after]["test"]
    names = [name for _, name, _ in _COLUMNS]
    return {name: _between(low.get(name), high.get(name), share) for name in names}


def _between(low: float | None, high: float | None, share: float) -> float | None:
    return None if low is None or high is None else low + share * (high - low)


def render_budgets(table: BudgetTable, *, settings: Settings, asked: Mapping[str, float]) -> str:
    """Return the page: the budgets asked about, else all, with the two that are set, against limit and rule.

    Parameters
    ----------
    asked
        Budgets by the decision that they are for, `review` or `decline`; empty for the whole table.
    """
    chosen = {"review": settings.flagged_budget, "decline": settings.declined_budget} | dict(asked)
    header = f"{'budget':<30}" + "".join(f"{words:>{_WIDTH}}" for words, *_ in _COLUMNS)
    lines = [f"What a budget would have done on later weeks ({table.source})", "", header]
    for kind, budget in chosen.items():
        lines.append(_line(f"{budget:.2%} {_WORDS[kind]}", figures_at(table, budget)))
    if not asked:
        lines += ["", "All budgets; each line is one cut-off by itself"]
        lines += [_line(f"{float(row['budget']):.2%}", figures_at(table, row["budget"])) for row in table.rows]
    return "\n".join([*lines, "", *_judged(table, chosen["review"], settings)]) + "\n"


def _line(name: str, figures: Mapping[str, float | None]) -> str:
    shown = ("n/a" if figures[name] is None else text.format(figures[name]) for _, name, text in _COLUMNS)
    return f"  {name:<28}" + "".join(f"{each:>{_WIDTH}}" for each in shown)


def _judged(table: BudgetTable, review: float, settings: Settings) -> list[str]:
    """Compare what passes at the review budget with limit, rule and requirement; say which budget would do."""
    figures = figures_at(table, review)
    limits = (
        ("fraud money passed a month", "money_passed_per_month", settings.monthly_loss_limit, "limit {:,.0f}"),
        (
            "frauds passed per 100 transactions",
            "frauds_passed_per_100_transactions",
            FRAUDS_PASSED_PER_100_ALLOWED,
            "at most {:g}",
        ),
    )
    lines = [f"At a review budget of {review:.2%}:"]
    for words, name, limit, text in limits:
        value = figures[name]
        met = value is not None and value <= limit
        shown = "n/a" if value is None else f"{value:,.2f}"
        lines.append(
            f"  {'kept' if met else 'BROKEN':<8}{words} {shown}; {text.format(limit)}" + _least(table, name, limit)
        )
    recall = figures["recall"]
    enough = recall is not None and recall >= RECALL_REQUIRED
    shown = "n/a" if recall is None else f"{recall:.2%}"
    lines.append(f"  {'kept' if enough else 'BROKEN':<8}recall {shown}; at least {RECALL_REQUIRED:.0%}")
    return lines


def _least(table: BudgetTable, name: str, limit: float) -> str:
    kept = [float(row["budget"]) for row in table.rows if (row["test"].get(name) or 0.0) <= limit]
    return f" (kept from a budget of {kept[0]:.2%} on)" if kept else " (kept by no budget of the table)"
