"""Precision against recall, and recall against false positive rate, with both cut-offs marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.training.evaluation import RECALL_REQUIRED
from model.training.figures.canvas import (
    BLUE,
    COLOUR_OF,
    GREY,
    Scored,
    frame,
    legend_below,
    new_figure,
    percent,
    percent_axis,
    rates_at,
    say_one_sided,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_precision_recall(scored: Scored) -> Figure:
    """Draw precision for each recall."""
    figure = new_figure(8, 6)
    axes = figure.subplots()
    frame(
        axes,
        title="How many of the flagged are frauds, for each share of frauds found",
        x="Recall: share of all frauds found",
        y="Precision: share of frauds among the flagged",
    )
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    if scored.one_sided:
        say_one_sided(axes, scored)
        return figure
    _plot_precision_recall(axes, scored)
    legend_below(figure)
    return figure


def _plot_precision_recall(axes: Axes, scored: Scored) -> None:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(scored.fraud, scored.score, drop_intermediate=True)
    average, by_chance = average_precision_score(scored.fraud, scored.score), scored.fraud.mean()
    axes.step(recall, precision, where="post", color=BLUE, linewidth=2, label=f"model, average precision {average:.3f}")
    axes.axhline(by_chance, color=GREY, linestyle="--", label=f"flagging at random: {100 * by_chance:.2f} % are frauds")
    _mark_cutoffs(axes, scored, x="recall", y="precision")


def draw_recall_fpr(scored: Scored, budgets: dict[str, float]) -> Figure:
    """Draw recall for each false positive rate, with the budgets of both cut-offs."""
    figure = new_figure(8, 6)
    axes = figure.subplots()
    frame(
        axes,
        title="Frauds found for each share of honest transactions flagged",
        x="False positive rate: share of honest transactions flagged (log scale)",
        y="Recall: share of all frauds found",
    )
    axes.set(xscale="log", xlim=(1e-4, 1), ylim=(0, 1.02))
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    if scored.one_sided:
        say_one_sided(axes, scored)
        return figure
    axes.set_ylim(bottom=_zoom(rates_at(scored, scored.cutoffs.decline)["recall"]))
    _plot_recall_fpr(axes, scored)
    _draw_budgets(axes, scored, budgets)
    legend_below(figure)
    return figure


def _zoom(recall: float) -> float:
    """Return where the recall axis starts, in steps of a tenth, with room for the words below the curve."""
    return float(np.clip(np.floor(10 * recall) / 10 - 0.3, 0, 0.6))


def _plot_recall_fpr(axes: Axes, scored: Scored) -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    fpr, recall, _ = roc_curve(scored.fraud, scored.score)
    area = roc_auc_score(scored.fraud, scored.score)
    # A log axis has no zero: what is found before the first false alarm starts at the left edge.
    axes.step(
        np.maximum(fpr, 1e-4),
        recall,
        where="post",
        color=BLUE,
        linewidth=2,
        label=f"model, area under curve {area:.4f}",
    )
    axes.axhline(RECALL_REQUIRED, color=GREY, linestyle=":", label=f"recall required: {100 * RECALL_REQUIRED:g} %")
    _mark_cutoffs(axes, scored, x="false positive rate", y="recall")


def _draw_budgets(axes: Axes, scored: Scored, budgets: dict[str, float]) -> None:
    bottom, top = axes.get_ylim()
    for name, budget in budgets.items():
        recall = rates_at(scored, getattr(scored.cutoffs, name))["recall"]
        curve_is_high = (recall - bottom) / (top - bottom) > 0.4
        place: dict[str, Any] = {"y": 0.03, "va": "bottom"} if curve_is_high else {"y": 0.9, "va": "top"}
        look: dict[str, Any] = {"color": COLOUR_OF[name], "rotation": 90, "ha": "right", "fontsize": 9}
        words = f"{name} budget {100 * budget:g} %"
        axes.axvline(budget, color=COLOUR_OF[name], linestyle="--", linewidth=1)
        axes.text(budget * 0.94, s=words, transform=axes.get_xaxis_transform(), **place, **look)


def _mark_cutoffs(axes: Axes, scored: Scored, *, x: str, y: str) -> None:
    """Mark both cut-offs at their rates: `x` and `y` are names of `rates_at`."""
    look: dict[str, Any] = {"markersize": 9, "markeredgecolor": "white", "zorder": 5}
    for name, marker in (("review", "o"), ("decline", "s")):
        cutoff = getattr(scored.cutoffs, name)
        rates = rates_at(scored, cutoff)
        words = f"{name} cut-off, score {cutoff:.3g}: {x} {percent(rates[x])}, {y} {percent(rates[y])}"
        axes.plot(rates[x], rates[y], marker, color=COLOUR_OF[name], label=words, **look)
