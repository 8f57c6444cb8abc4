"""The evaluation as a page for a terminal: the verdict and what fails first, then the tables behind it."""

from collections.abc import Callable, Iterable
from textwrap import wrap
from typing import Any

from model.training.evaluation import FPR_REQUIRED, RECALL_REQUIRED
from model.training.walk_forward.ceiling import best_ceiling

WIDTH = 120
WORDS = {True: "MET", False: "NOT MET", None: "n/a"}
_NAMES = {
    "logistic_regression": "logistic regression",
    "random_forest": "random forest",
    "amount_only": "amount alone",
    "LightGBM": "LightGBM (this product)",
}
_TABLE = (
    ("recall at FPR 5 %", "recall_at_fpr_5pct"),
    ("at FPR 1 %", "recall_at_fpr_1pct"),
    ("AUC", "roc_auc"),
    ("avg. precision", "average_precision"),
    ("realised FPR", "realised_fpr_review"),
)

Figures = dict[str, Any]


def render(document: Figures) -> str:
    """Return the page of an evaluation's document."""
    sections = (
        _about(document),
        _verdict(document),
        _failing(document),
        _headline(document),
        _grid(document),
        _folds(document),
        _baselines(document),
        _segments(document),
        _ceiling(document),
        _seconds(document),
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _about(document: Figures) -> list[str]:
    facts, settings = document["facts"], document["settings"]
    tested, drawn = facts["tested"], facts["resampling"]
    return [
        f"Walked forward from {tested['first_day']} to {tested['last_day']}: {len(document['folds'])} folds,"
        f" {tested['transactions']:,.0f} transactions tested, {tested['frauds']:,.0f} of them fraud",
        f"  reports {facts['report_times']}, statistics {settings['statistics_age_hours']:g} h old; intervals of 95 %:"
        f" {drawn['resamples']} draws of {drawn['by']}s",
        *_sampled(tested),
    ]


def _sampled(tested: Figures) -> list[str]:
    if tested["rows"] >= round(tested["transactions"]):
        return []
    return [f"  sampled, weights: {tested['rows']:,} were scored, all frauds among them; all figures are estimates"]


def _verdict(document: Figures) -> list[str]:
    met = all(check["met"] for check in document["checks"])
    lines = [f"  {WORDS[check['met']]:<8} {check['sentence']}" for check in document["checks"]]
    ceiling = best_ceiling(document["ceiling"])
    lines.append(
        f"  {_percent(ceiling['silent_fraud_share'])} of frauds could not be known in time; the best possible recall at"
        f" FPR {_percent(FPR_REQUIRED)} is {_percent(ceiling['recall_at_fpr_5pct'])}"
    )
    return [f"Verdict: {'every requirement is met' if met else 'NOT every requirement is met'}", *lines]


def _failing(document: Figures) -> list[str]:
    failing = document["failing_segments"]
    rule = f"recall below {RECALL_REQUIRED:.0%}, or more than {FPR_REQUIRED:.0%} of honest payments flagged"
    if not failing:
        return [f"Segments that fail: none ({rule})"]
    lines = [_failing_line(each) for each in failing if each["group"] != "hour"]
    for mark, clearly in (("FAILS", True), ("?", False)):
        chosen = [each for each in failing if each["group"] == "hour" and each["clearly_failed"] is clearly]
        if chosen:
            lines.append(f"  {mark:<6}hours that begin at {', '.join(each['name'][:2] for each in chosen)} o'clock UTC")
    return [f"Segments that fail ({rule}); FAILS where the interval says so too:", *lines]


def _failing_line(segment: Figures) -> str:
    mark = "FAILS" if segment["clearly_failed"] else "?"
    return (
        f"  {mark:<6}{segment['name']:<36} recall {_with_interval(segment, 'recall'):<26}"
        f" FPR {_percent(segment['false_positive_rate']):>8} frauds {segment['frauds']:>7,.0f}"
    )


def _headline(document: Figures) -> list[str]:
    lines = [
        *_both(document, "recall: frauds stopped", "recall", _percent),
        *_both(document, "realised false positive rate", "realised_fpr", _percent),
        *_both(document, "precision: frauds among the stopped", "precision", _percent),
        *_both(document, "F1", "f1", _decimal),
        *(
            f"  {words:<38}{_with_interval(document, name, show)}"
            for words, name, show in (
                ("recall at FPR 5 %, in hindsight", "recall_at_fpr_5pct", _percent),
                ("recall at FPR 1 %, in hindsight", "recall_at_fpr_1pct", _percent),
                ("area under the ROC curve (AUC)", "roc_auc", _decimal),
                ("average precision", "average_precision", _decimal),
                ("card precision at 100", "card_precision_at_100", _decimal),
                ("frauds passed per 100 transactions", "frauds_passed_per_100_transactions", _decimal),
                ("transactions stopped a day", "flagged_per_day", _amount),
                ("fraud money passed a month", "money_passed_per_month", _amount),
                ("honest money stopped a month", "money_falsely_stopped_per_month", _amount),
            )
        ),
    ]
    return [f"{'Headline':<40}{'review or decline':<34}{'decline only'}", *lines]


def _both(document: Figures, words: str, name: str, show: Callable[[float | None], str]) -> Iterable[str]:
    review, decline = (_with_interval(document, f"{name}_{kind}", show) for kind in ("review", "decline"))
    yield f"  {words:<38}{review:<34}{decline}"


def _grid(document: Figures) -> list[str]:
    if not document["grid"]:
        return []
    header = f"{'Reports arrive after':<40}{'statistics':>11}" + "".join(f"{words:>26}" for words, _ in _TABLE[:2])
    header += f"{'ceiling':>10}" + "".join(f"{words:>16}" for words, _ in _TABLE[2:])
    return [header, *(_grid_line(cell) for cell in document["grid"])]


def _grid_line(cell: Figures) -> str:
    start = f"  {cell['label_delay']:<38}{cell['statistics_age_hours']:>9} h"
    if "not_possible" in cell:
        return f"{start}  not possible: {cell['not_possible']}"
    recalls = "".join(f"{_with_interval(cell, name):>26}" for _, name in _TABLE[:2])
    figures = _decimal(cell["roc_auc"]), _decimal(cell["average_precision"]), _percent(cell["realised_fpr_review"])
    ceiling = _percent(best_ceiling(cell["ceiling"])["recall_at_fpr_5pct"])
    return f"{start}{recalls}{ceiling:>10}" + "".join(f"{figure:>16}" for figure in figures)


def _folds(document: Figures) -> list[str]:
    header = (
        f"{'Tested':<26}{'trained from':>14}{'to':>12}{'frauds':>8}{'recall':>10}{'FPR':>9}{'declined':>10}{'FPR':>9}"
    )
    return [
        header,
        *(
            f"  {fold['test'][0]} to {fold['test'][1]}{fold['train'][0]:>14}{fold['train'][1]:>12}"
            f"{fold['tested_frauds']:>8,.0f}{_percent(fold['recall_review']):>10}"
            f"{_percent(fold['realised_fpr_review']):>9}{_percent(fold['recall_decline']):>10}"
            f"{_percent(fold['realised_fpr_decline']):>9}"
            for fold in document["folds"]
        ),
    ]


def _baselines(document: Figures) -> list[str]:
    header = f"{'Compared with':<28}" + "".join(f"{words:>26}" for words, _ in _TABLE[:4])
    learners = [{**document, "name": "LightGBM"}, *document["baselines"]]
    return [
        header,
        *(
            f"  {_NAMES[each['name']]:<26}"
            + "".join(
                f"{_with_interval(each, name, _decimal if place > 1 else _percent):>26}"
                for place, (_, name) in enumerate(_TABLE[:4])
            )
            for each in learners
        ),
    ]


def _segments(document: Figures) -> list[str]:
    header = f"{'Segments':<44}{'transactions':>14}{'frauds':>8}{'recall':>27}{'FPR':>10}{'precision':>11}"
    return [
        header,
        *(
            f"  {each['name']:<42}{each['transactions']:>14,.0f}{each['frauds']:>8,.0f}"
            f"{_with_interval(each, 'recall'):>27}{_percent(each['false_positive_rate']):>10}"
            f"{_percent(each['precision']):>11}"
            for each in document["segments"]
        ),
    ]


def _ceiling(document: Figures) -> list[str]:
    ceiling = document["ceiling"]
    kinds = {"by what was known": ceiling, "by scenario": ceiling["by_scenario"]}
    return [
        "What could be known at best",
        *(
            f"  {words:<20} {_percent(each['silent_fraud_share'])} of frauds are silent: recall at most"
            f" {_percent(each['recall_at_fpr_5pct'])} at FPR 5 %, {_percent(each['recall_at_fpr_1pct'])} at FPR 1 %"
            for words, each in kinds.items()
            if each is not None
        ),
        f"  {document['missed']['frauds']:,.0f} frauds passed; {document['missed']['silent']:,.0f} of them were silent",
        *wrap(ceiling["definition"], WIDTH, initial_indent="  ", subsequent_indent="  "),
    ]


def _seconds(document: Figures) -> list[str]:
    return [f"Computed in {sum(document['facts']['seconds'].values()):.0f} s (what was finished before is not counted)"]


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.2f} %"


def _decimal(figure: float | None) -> str:
    return "n/a" if figure is None else f"{figure:.4f}"


def _amount(figure: float | None) -> str:
    return "n/a" if figure is None else f"{figure:,.0f}"


def _with_interval(figures: Figures, name: str, show: Callable[[float | None], str] = _percent) -> str:
    ends = (figures.get(f"{name}_low"), figures.get(f"{name}_high"))
    if None in ends:
        return show(figures.get(name))
    low, high = (show(end).removesuffix(" %") for end in ends)
    return f"{show(figures[name])} [{low}, {high}]"
