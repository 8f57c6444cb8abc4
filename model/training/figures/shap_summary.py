"""The strongest features, one dot a transaction, as the shap package draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from model.training.figures.canvas import GREY, Floats, frame, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

STRONGEST: Final = 20  # features shown; a person reads no more
MOST_DOTS: Final = 3_000  # transactions shown a feature; more only hide each other
SWARM_STEPS: Final = 150  # dots closer than a 150th of the width stand above each other
SWARM_FULL: Final = 15  # dots on each side that fill a row of the picture


def draw_shap_summary(shap_values: Floats, values: Floats, names: Sequence[str]) -> Figure:
    """Draw the contributions of the strongest features, coloured by the value of the feature."""
    strength = np.abs(shap_values).mean(axis=0)
    strongest = np.argsort(-strength, kind="stable")[:STRONGEST][::-1]
    shown = slice(None, None, -(-len(values) // MOST_DOTS))
    figure = new_figure(10, max(5, 2 + 0.34 * strongest.size))
    axes = figure.subplots()
    frame(
        axes,
        title=f"What moves the score: the strongest {strongest.size} features",
        x="Contribution in log-odds: left speaks for the payment, right for fraud\n"
        f"(one dot a transaction, {len(values[shown]):,} of the tested period;"
        " beside each name: the mean size of its contribution)",
        y="",
    )
    axes.axvline(0, color=GREY, linewidth=1)
    step = max(float(np.ptp(shap_values[shown, strongest])) / SWARM_STEPS, 1e-12)
    for height, feature in enumerate(strongest):
        dots = _draw_dots(axes, shap_values[shown, feature], values[shown, feature], height=height, step=step)
    axes.set_yticks(range(strongest.size), [f"{names[feature]}   {strength[feature]:.2f}" for feature in strongest])
    axes.set_ylim(-0.6, strongest.size - 0.4)
    bar = figure.colorbar(
        dots, ax=axes, shrink=0.6, aspect=30, ticks=[0, 1], label="Value of the feature (grey: unknown)"
    )
    bar.ax.set_yticklabels(["low", "high"])
    return figure


def _draw_dots(axes: Axes, shap_values: Floats, values: Floats, *, height: int, step: float) -> PathCollection:
    y = height + swarm(shap_values, step)
    known = ~np.isnan(values)
    axes.scatter(shap_values[~known], y[~known], s=6, color="#aaaaaa", linewidths=0)
    rank = _even_ranks(values[known])
    return axes.scatter(
        shap_values[known], y[known], c=rank, s=6, cmap=_low_to_high(), vmin=0, vmax=1, linewidths=0, zorder=3
    )


def swarm(position: Floats, step: float) -> Floats:
    """Return offsets within (-0.4, 0.4) that set dots of one place above and below each other, densest widest."""
    place = np.floor(position / step)
    order = np.argsort(place, kind="stable")
    _, start, count = np.unique(place[order], return_index=True, return_counts=True)
    turn = np.empty(position.size)
    turn[order] = np.arange(position.size) - np.repeat(start, count)
    side = np.where(turn % 2, 1, -1) * np.ceil(turn / 2)
    return np.asarray(0.4 * side / max(count.max() / 2, SWARM_FULL))


def _even_ranks(values: Floats) -> Floats:
    """Return the rank of each value among the different ones, 0 lowest to 1 highest."""
    _, rank = np.unique(values, return_inverse=True)
    return np.asarray(rank / max(rank.max(initial=0), 1))


def _low_to_high() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("low_to_high", ["#008bfb", "#8a3fc4", "#ff0051"])  # as shap draws it
