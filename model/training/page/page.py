"""One evaluation as one self-contained HTML file: a pure function of what `evaluation.json` holds."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from model.training.page import charts
from model.training.page.charts import Figures
from model.training.page.svg import percent, plain

_STYLE = Path(__file__).with_name("page.css")
_CARDS = (
    ("recall_at_fpr_5pct", "recall at a false positive rate of 5 %", percent),
    ("recall_at_fpr_1pct", "recall at a false positive rate of 1 %", percent),
    ("realised_fpr_review", "false positive rate of the review cut-off, chosen beforehand", percent),
    ("roc_auc", "area under the ROC curve", lambda value: f"{value:.4f}"),
    ("average_precision", "average precision", lambda value: f"{value:.4f}"),
    ("money_passed_per_month", "fraud money that passes in a month", plain),
)
_COLUMNS = (
    ("recall_at_fpr_5pct", "recall at FPR 5 %", percent),
    ("recall_at_fpr_1pct", "recall at FPR 1 %", percent),
    ("realised_fpr_review", "realised FPR", percent),
    ("precision_review", "precision", percent),
    ("roc_auc", "AUC", lambda value: f"{value:.4f}"),
    ("average_precision", "average precision", lambda value: f"{value:.4f}"),
    ("card_precision_at_100", "card precision at 100", lambda value: f"{value:.3f}"),
    ("frauds_passed_per_100_transactions", "frauds passed per 100", lambda value: f"{value:.3f}"),
    ("money_passed_per_month", "money passed a month", plain),
)
_BUDGET_FORMATS = (percent, plain, plain)
_GROUPS = {
    "unknown": "Known and unknown customers and terminals",
    "run": "Runs of fraud: their first day, and later",
    "scenario": "Scenario, where the history names it",
    "amount": "Amount",
    "hour": "Hour of day",
}


def write_page(path: Path, document: Figures) -> None:
    """Write the page of an evaluation."""
    path.write_text(render_page(document), encoding="utf-8")


def render_page(document: Figures) -> str:
    """Return the page of an evaluation; `document` is what `evaluation.json` holds."""
    sections = (
        _head(document),
        _checks(document),
        _failing(document),
        _ranking(document),
        _time(document),
        _money(document),
        _scores(document),
        _reasons(document),
        _segments(document),
        _table("Label delay and age of statistics", _GRID_WORDS, document["grid"], _grid_name),
        _table("Beside simpler ways", _BASELINE_WORDS, _with_champion(document), lambda each: str(each["name"])),
        _foot(document),
    )
    style = _STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Evaluation, {escape(_period(document))}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body>\n</html>\n"
    )


_GRID_WORDS = (
    "How soon a fraud is reported and how often statistics are refreshed decide more than the model does. Each row is a"
    " walk of its own through the same history."
)
_BASELINE_WORDS = "The same features, folds and labels; intervals as above."


def _period(document: Figures) -> str:
    folds = document["folds"]
    return f"{folds[0]['test'][0]} to {folds[-1]['test'][1]}"


def _head(document: Figures) -> str:
    settings, tested = document["settings"], document["facts"]["tested"]
    cards = "".join(
        f'<div class="card"><b>{_shown(document, name, show)}</b><span>{escape(words)}</span>'
        f"<span>{_interval(document, name, show)}</span></div>"
        for name, words, show in _CARDS
    )
    return (
        f"<h1>How well frauds are found</h1>\n<p class='soft'>Tested on {escape(_period(document))},"
        f" {len(document['folds'])} folds walking forward in time, {plain(tested['transactions'])} transactions,"
        f" {plain(tested['frauds'])} of them fraud. Labels {_hours(settings['label_delay_hours'])} old, statistics"
        f" refreshed every {_hours(settings['statistics_age_hours'])}. Intervals of 95 % resample whole"
        f" {escape(str(document['facts']['resampling']['by']))}s, as frauds come in"
        f" runs.</p>\n<div class='cards'>{cards}</div>"
    )


def _hours(hours: float) -> str:
    if hours == 1:
        return "hour"
    return f"{hours / 24:g} d" if hours >= 24 else f"{hours:g} h"


def _checks(document: Figures) -> str:
    marks = {True: ("met", "MET"), False: ("missed", "NOT MET"), None: ("", "NOT SAID")}
    items = []
    for check in document["checks"]:
        kind, word = marks[check["met"]]
        items.append(f'<li><span class="mark {kind}">{word}</span>{escape(check["sentence"])}</li>')
    return f'<h2>Requirements</h2>\n<ul class="checks">{"".join(items)}</ul>'


def _failing(document: Figures) -> str:
    failing = document["failing_segments"]
    if not failing:
        return "<p>No segment with enough frauds to tell falls short of the requirement.</p>"
    clear, doubtful = ([each for each in failing if each["clearly_failed"] is wanted] for wanted in (True, False))
    parts = ["<h3>Segments that fall short</h3>", _list_of(clear)]
    if doubtful:
        parts.append(f"<details><summary>{len(doubtful)} more, where it could be chance</summary>{_list_of(doubtful)}")
        parts.append("</details>")
    return "\n".join(parts)


def _list_of(segments: Sequence[Figures]) -> str:
    items = [f"<li>{escape(str(each['name']))}: {_failure(each)}</li>" for each in segments]
    return f"<ul>{''.join(items)}</ul>"


def _failure(each: Figures) -> str:
    recall, rate = each["recall"], each["false_positive_rate"]
    parts = [] if recall is None else [f"recall {percent(recall)}"]
    parts += [] if rate is None else [f"false positive rate {percent(rate)}"]
    return ", ".join(parts) + f", {plain(each['frauds'])} frauds"


def _ranking(document: Figures) -> str:
    return (
        "<h2>Ranking</h2>\n"
        + _pair(
            _figure(
                "Recall against false positive rate",
                charts.recall_by_fpr(document),
                "Points: the cut-offs chosen beforehand, orange review, red decline, with their budgets as upright"
                " lines. The ceiling is what could be known at best.",
            ),
            _figure("Precision against recall", charts.precision_recall(document), "The same two cut-offs as points."),
        )
        + f"<p class='soft'>{escape(document['ceiling']['definition'])}</p>"
    )


def _time(document: Figures) -> str:
    recall = charts.over_time(document, figure="recall", wanted=0.95, words="recall")
    rate = charts.over_time(
        document,
        figure="false_positive_rate",
        wanted=document["settings"]["flagged_budget"],
        words="false positive rate",
    )
    return "<h2>Day by day, at the cut-offs chosen beforehand</h2>\n" + _pair(
        _figure("Recall", recall, "Band: 95 % interval of the day."),
        _figure("False positive rate", rate, "Required: at most the budget for review."),
    )


def _money(document: Figures) -> str:
    return "<h2>Money and calibration</h2>\n" + _pair(
        _figure(
            "Money a month, by cut-off",
            charts.money(document),
            "Red: fraud money that passes. Blue: honest money that is stopped.",
        ),
        _figure("Calibration", charts.calibration(document), "On the dashed line a score is the share of fraud."),
    )


def _scores(document: Figures) -> str:
    square = '<i style="background:var(--{})"></i>{}'
    key = f'<span class="key">{square.format("blue", "honest")}{square.format("red", "fraud")}</span>'
    return _pair(_figure("Scores", charts.scores(document), key), _budgets(document))


def _budgets(document: Figures) -> str:
    """Return what other budgets would have done, as a table beside the scores."""
    columns = ("recall", "flagged_per_day", "money_passed_per_month")
    rows = [
        f"<tr><td>{percent(each['budget'])}</td>"
        + "".join(f"<td>{show(each['test'][name])}</td>" for name, show in zip(columns, _BUDGET_FORMATS, strict=True))
        + "</tr>"
        for each in document["budgets"]
    ]
    head = "<th>budget</th><th>recall</th><th>flagged a day</th><th>fraud money passed a month</th>"
    table = f"<table class='small'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return _figure("Other budgets for honest payments flagged", table, "Cut-offs chosen beforehand in each fold.")


def _reasons(document: Figures) -> str:
    words = (
        f"Exact SHAP values of {plain(document['shap']['rows'])} tested payments, frauds and honest ones alike;"
        " the value of the feature from low (blue) to high (red), grey where it is unknown."
    )
    return "<h2>What moves the scores</h2>\n" + _figure("", charts.shap_summary(document), words)


def _segments(document: Figures) -> str:
    parts = ["<h2>Segments</h2>"]
    for group, title in _GROUPS.items():
        segments = [each for each in document["segments"] if each["group"] == group]
        chart = charts.segment_recall(segments)
        if chart:
            parts.append(_figure(title, chart, "Recall at the review cut-off; red falls short of the requirement."))
    return "\n".join(parts)


def _table(title: str, words: str, rows: Sequence[Figures], name: Callable[[Figures], str]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(column)}</th>" for _, column, _ in _COLUMNS)
    body = "".join(_table_row(each, name(each)) for each in rows)
    return (
        f"<h2>{title}</h2>\n<p>{words}</p>\n<div class='scroll'><table><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _table_row(each: Figures, name: str) -> str:
    if each.get("not_possible"):
        return f"<tr><td>{escape(name)}</td><td colspan='{len(_COLUMNS)}'>{escape(each['not_possible'])}</td></tr>"
    cells = "".join(
        f"<td>{_shown(each, column, show)}<br><small>{_interval(each, column, show)}</small></td>"
        for column, _, show in _COLUMNS
    )
    return f"<tr><td>{escape(name)}</td>{cells}</tr>"


def _grid_name(each: Figures) -> str:
    age = each["statistics_age_hours"]
    return f"reports {each['label_delay']}, statistics every {_hours(age)}"


def _with_champion(document: Figures) -> list[Figures]:
    return [{**document, "name": "this model"}, *document["baselines"]] if document["baselines"] else []


def _shown(figures: Figures, name: str, show: Callable[[Any], str]) -> str:
    value = figures.get(name)
    return "n/a" if value is None else show(value)


def _interval(figures: Figures, name: str, show: Callable[[Any], str]) -> str:
    low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
    return "" if low is None or high is None else f"{show(low)} to {show(high)}"


def _figure(title: str, chart: str, words: str) -> str:
    head = f"<h3>{escape(title)}</h3>" if title else ""
    return f"<figure>{head}{chart}<figcaption>{words}</figcaption></figure>"


def _pair(*figures: str) -> str:
    return f'<div class="pair">{"".join(figures)}</div>'


def _foot(document: Figures) -> str:
    facts, settings = document["facts"], document["settings"]
    rows: Iterable[tuple[str, object]] = (
        ("history", f"{facts['data']['first_day']} to {facts['data']['last_day']}"),
        ("report times", facts["report_times"]),
        ("model", f"{settings['trees']} trees of at most {settings['leaves']} leaves, LightGBM {facts['lightgbm']}"),
        ("intervals", f"{facts['resampling']['resamples']} resamples, seed {facts['resampling']['seed']}"),
        ("history cut off at", facts["until"] or "its end"),
    )
    body = "".join(f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in rows)
    return f"<h2>How it was made</h2>\n<table><tbody>{body}</tbody></table>"
