"""The bootstrap's differences as a person looks at them: one small histogram a measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from model.training.figures.canvas import BLUE, GREY, RED, frame, new_figure
from model.training.gate.wording import is_money, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from model.training.gate.comparison import Comparison, MeasureComparison

COLUMNS: Final = 3
BINS: Final = 30
TICKS: Final = 5


def draw_differences(comparison: Comparison) -> Figure:
    """Draw the differences (challenger minus champion) that the resamples gave, with their intervals."""
    measures = list(comparison.measures.values())
    rows = -(-len(measures) // COLUMNS)
    figure = new_figure(11, 2.2 * rows + 1.2)
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for panel in axes.flat[len(measures) :]:
        panel.set_visible(False)
    for panel, measure in zip(axes.flat, measures, strict=False):
        _draw(panel, measure)
    figure.suptitle(
        f"{comparison.challenger} minus {comparison.champion}: {comparison.resamples:,} resamples of"
        f" {comparison.clusters:,} clusters\n"
        f"Shaded: interval of level {100 * (1 - comparison.alpha):g} %. Blue: the challenger is better. Red: worse."
        " Grey: chance explains it.",
        fontsize=11,
    )
    return figure


def _draw(panel: Axes, measure: MeasureComparison) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    frame(panel, title="", x="money a month" if is_money(measure.name) else "percentage points", y="")
    panel.xaxis.label.set_fontsize(8)
    panel.xaxis.set_major_locator(MaxNLocator(TICKS))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    panel.set_title(title_of(measure.name), loc="left", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.set_yticks([])
    scale = 1.0 if is_money(measure.name) else 100.0
    known = scale * measure.differences[np.isfinite(measure.differences)]
    colour = BLUE if measure.better else RED if measure.worse else GREY
    if not known.size:
        panel.text(0.5, 0.5, "no resample has a value", transform=panel.transAxes, ha="center", color=GREY)
        return
    panel.hist(known, bins=BINS, color=colour, alpha=0.75)
    low, high = (scale * end for end in measure.interval)
    if np.isfinite([low, high]).all():
        panel.axvspan(low, high, color=colour, alpha=0.15, linewidth=0)
    panel.axvline(0, color="black", linewidth=1, linestyle="--")
    panel.axvline(scale * measure.difference, color=colour, linewidth=2)
