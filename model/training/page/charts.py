"""The charts of an evaluation, each from one part of `evaluation.json`."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from model.training.evaluation import RECALL_REQUIRED
from model.training.page.svg import RIGHT, WIDTH, Chart, Scale, percent, plain

Figures = dict[str, Any]

LOWEST_FPR = 1e-4
SHOWN_FEATURES = 15
ROW = 20  # pixels of a feature in the summary


def precision_recall(document: Figures) -> str:
    """Return precision against recall, with the operating points chosen beforehand."""
    chart = Chart("Precision against recall", (0, 1), (0, 1), "recall", "precision", x_format=percent, y_format=percent)
    chart.line(_pairs(document, "recall", "precision"), colour="blue")
    for kind, colour in (("review", "orange"), ("decline", "red")):
        recall, precision = document[f"recall_{kind}"], document[f"precision_{kind}"]
        words = f"{kind}: recall {percent(recall)}, precision {percent(precision)}"
        chart.point(recall, precision, colour=colour, words=words)
    return chart.text()


def recall_by_fpr(document: Figures) -> str:
    """Return recall against false positive rate, the rate by its logarithm: what matters lies below 10 %."""
    chart = Chart(
        "Recall against false positive rate",
        (LOWEST_FPR, 1),
        (0, 1),
        "false positive rate (logarithmic)",
        "recall",
        x_format=percent,
        y_format=percent,
        x_logarithmic=True,
    )
    points = _pairs(document, "false_positive_rate", "recall")
    chart.line([(rate, recall) for rate, recall in points if rate > 0], colour="blue")
    chart.level(document["ceiling_recall_at_fpr_5pct"], "ceiling at 5 %")
    for kind, colour in (("review", "orange"), ("decline", "red")):
        rate, recall = document[f"realised_fpr_{kind}"], document[f"recall_{kind}"]
        words = f"{kind}: recall {percent(recall)} at a false positive rate of {percent(rate)}"
        chart.point(rate, recall, colour=colour, words=words)
        chart.upright(
            document["settings"]["flagged_budget" if kind == "review" else "declined_budget"], "", colour=colour
        )
    return chart.text()


def calibration(document: Figures) -> str:
    """Return the share of fraud against the mean score of bins, both by their logarithm."""
    bins = [each for each in document["curves"]["calibration"] if each["mean_score"] > 0]
    lowest = min([each["mean_score"] for each in bins] + [each["fraud_share"] or 1 for each in bins])
    low = 10.0 ** math.floor(math.log10(max(lowest, 1e-7)))
    chart = Chart(
        "Calibration",
        (low, 1),
        (low, 1),
        "mean score of a bin (logarithmic)",
        "share of fraud in it",
        x_format=percent,
        y_format=percent,
        x_logarithmic=True,
        y_logarithmic=True,
    )
    chart.line([(low, low), (1, 1)], colour="grey", dashed=True)
    for each in bins:
        words = (
            f"{plain(each['transactions'])} transactions: mean score {percent(each['mean_score'])},"
            f" {percent(each['fraud_share'])} fraud"
        )
        chart.point(each["mean_score"], max(each["fraud_share"], low), colour="blue", words=words)
    return chart.text()


def scores(document: Figures) -> str:
    """Return how many honest transactions and frauds have which score, counts by their logarithm."""
    histogram = document["curves"]["scores"]
    edges = histogram["log_odds_edges"]
    most = max([*histogram["honest"], *histogram["fraud"], 10.0])
    chart = Chart(
        "Scores of honest transactions and of frauds",
        (edges[0], edges[-1]),
        (0.5, most),
        "score in log-odds",
        "transactions (logarithmic)",
        y_logarithmic=True,
    )
    for kind, colour in (("honest", "blue"), ("fraud", "red")):
        for left, right, count in zip(edges, edges[1:], histogram[kind], strict=False):
            if count:
                words = f"{plain(count)} {kind}, log-odds {left:.1f} to {right:.1f}"
                chart.bar(left, right, count, colour=colour, words=words)
    return chart.text()


def money(document: Figures) -> str:
    """Return the fraud money that passes and the honest money that is stopped in a month, against the share flagged."""
    curve = [each for each in document["curves"]["cut_offs"] if each["false_positive_rate"] >= LOWEST_FPR]
    both = ("money_passed_per_month", "money_falsely_stopped_per_month")
    most = max(each[name] for each in curve for name in both[:1]) or 1.0
    chart = Chart(
        "Money a month against the false positive rate",
        (LOWEST_FPR, 1),
        (0, most * 1.1),
        "false positive rate of a cut-off (logarithmic)",
        "money a month",
        x_format=percent,
        x_logarithmic=True,
    )
    for name, colour in zip(both, ("red", "blue"), strict=True):
        chart.line(
            [(each["false_positive_rate"], each[name]) for each in curve if each[name] <= most * 1.1], colour=colour
        )
    limit = document["settings"]["monthly_loss_limit"]
    if limit <= most * 1.1:
        chart.level(limit, "limit of a month's losses", colour="red")
    chart.upright(document["settings"]["flagged_budget"], "review budget", colour="orange")
    return chart.text()


def over_time(document: Figures, *, figure: str, wanted: float, words: str) -> str:
    """Return recall or false positive rate of the days that were tested, with the weeks as a band."""
    days = [each for each in document["days"] if each[figure] is not None]
    values = [each[figure] for each in days]
    low, high = (min(0.8, *values), 1.0) if figure == "recall" else (0.0, max(0.1, *values))
    chart = Chart(words, (0, max(len(days) - 1, 1)), (low, high), "day", words, y_format=percent)
    ends = [(place, each[f"{figure}_low"], each[f"{figure}_high"]) for place, each in enumerate(days)]
    chart.band([end for end in ends if end[1] is not None and end[2] is not None], colour="blue")
    chart.line(list(enumerate(values)), colour="blue")
    for place, each in enumerate(days):
        chart.point(place, each[figure], colour="blue", words=f"{each['name']}: {percent(each[figure])}", radius=2.5)
    for place in range(0, len(days), max(len(days) // 5, 1)):
        chart.name_x(place, str(days[place]["name"]).partition(" ")[0])
    chart.level(wanted, "required", colour="orange")
    return chart.text(numbers_x=False)


def shap_summary(document: Figures) -> str:
    """Return the strongest features with the SHAP values of a sample, coloured by the feature's value."""
    features = [each for each in document["shap"]["features"] if each["points"]][:SHOWN_FEATURES]
    if not features:
        return ""
    furthest = max(abs(share) for each in features for _, share in each["points"]) or 1.0
    height = ROW * len(features) + 60
    left, right = 230, WIDTH * 2 - RIGHT
    parts = [f'<svg viewBox="0 0 {WIDTH * 2} {height}" role="img" aria-label="SHAP values of the strongest features">']
    middle = (left + right) / 2
    parts.append(f'<line x1="{middle}" x2="{middle}" y1="6" y2="{height - 40}" class="level grey"/>')
    for place, each in enumerate(features):
        y = 14 + ROW * place
        parts.append(f'<text x="{left - 10}" y="{y + 4}" class="tick end">{escape(each["name"])}</text>')
        parts += [
            _swarm_point(middle + (right - left) / 2 * share / furthest, y + ((number * 7) % 11 - 5), rank)
            for number, (rank, share) in enumerate(each["points"])
        ]
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        at = middle + (right - left) / 2 * share
        parts.append(f'<text x="{at}" y="{height - 24}" class="tick middle">{share * furthest:+.1f}</text>')
    parts.append(
        f'<text x="{middle}" y="{height - 6}" class="axis middle">SHAP value in log-odds: fraud to the right</text>'
    )
    return "\n".join([*parts, "</svg>"])


def _swarm_point(x: float, y: float, rank: float | None) -> str:
    """Return one point; low values blue, high ones red, unknown ones grey."""
    if rank is None:
        return f'<circle cx="{x:.1f}" cy="{y}" r="1.8" class="dot grey"/>'
    low, high = (0, 114, 178), (213, 94, 0)
    red, green, blue = (round(a + (b - a) * rank) for a, b in zip(low, high, strict=True))
    return f'<circle cx="{x:.1f}" cy="{y}" r="1.8" fill="rgb({red},{green},{blue})" fill-opacity="0.75"/>'


def segment_recall(segments: Sequence[Figures]) -> str:
    """Return recall with its interval for each segment of a group, one under the other."""
    rows = [each for each in segments if each["recall"] is not None and each["frauds"] > 0]
    if not rows:
        return ""
    height = ROW * len(rows) + 50
    ends = [[each[name] for name in ("recall_low", "recall_high") if each[name] is not None] for each in rows]
    lowest = min(each["recall"] if not both else min(both) for each, both in zip(rows, ends, strict=True))
    scale = Scale(min(math.floor(10 * lowest) / 10, 0.9), 1.0, 250, WIDTH * 2 - 120)
    parts = [f'<svg viewBox="0 0 {WIDTH * 2} {height}" role="img" aria-label="Recall by segment">']
    for share in scale.ticks():
        parts.append(f'<line x1="{scale(share)}" x2="{scale(share)}" y1="6" y2="{height - 36}" class="grid"/>')
        parts.append(f'<text x="{scale(share)}" y="{height - 20}" class="tick middle">{percent(share)}</text>')
    at = scale(RECALL_REQUIRED)
    parts.append(f'<line x1="{at}" x2="{at}" y1="6" y2="{height - 36}" class="level orange"/>')
    for place, each in enumerate(rows):
        parts += _segment_row(each, scale, y=16 + ROW * place)
    return "\n".join([*parts, "</svg>"])


def _segment_row(each: Figures, scale: Scale, *, y: int) -> list[str]:
    colour = "red" if each["meets_requirement"] is False else "blue"
    low, high = (each[name] if each[name] is not None else each["recall"] for name in ("recall_low", "recall_high"))
    return [
        f'<text x="{scale.start - 10}" y="{y + 4}" class="tick end">{escape(str(each["name"]))}</text>',
        f'<line x1="{scale(low)}" x2="{scale(high)}" y1="{y}" y2="{y}" class="whisker {colour}"/>',
        f'<circle cx="{scale(each["recall"])}" cy="{y}" r="4" class="dot {colour}"/>',
        f'<text x="{scale.end + 12}" y="{y + 4}" class="tick">{plain(each["frauds"])} frauds</text>',
    ]


def _pairs(document: Figures, x: str, y: str) -> list[tuple[float, float]]:
    return [(each[x], each[y]) for each in document["curves"]["cut_offs"]]
