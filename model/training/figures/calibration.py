"""The share of frauds that occurred for each score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from model.training.figures.canvas import BLUE, GREY, Floats, Scored, frame, legend_below, new_figure, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CALIBRATION_STEP: Final = 0.25  # width of a bin in powers of ten of the score
TELLING: Final = 10  # without a fraud, an upper bound more than this many times the score says nothing
LOWEST_SCORE: Final = 1e-5  # lower scores share the first bin: no bank has the frauds to check them
CONFIDENCE_Z: Final = 1.96  # 95 %, two-sided


def draw_calibration(scored: Scored) -> Figure:
    """Draw the share of frauds for each score, with the number of transactions below."""
    figure = new_figure(8, 7.5)
    shares, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    frame(shares, title="A score of 10 % should mean one fraud in ten", x="", y="Frauds that occurred (log scale)")
    frame(counts, title="", x="Score: probability of fraud the model stated (log scale)", y="Transactions\n(log scale)")
    lowest = float(np.clip(scored.score.min(), LOWEST_SCORE, 0.01))  # above, a log axis would have too few labels
    shares.set(xscale="log", yscale="log", xlim=(lowest / 2, 1.4), ylim=(lowest / 2, 1.4))
    counts.set(yscale="log")
    for axis in (shares.xaxis, shares.yaxis):
        percent_axis(axis)
    _plot_reliability(shares, counts, scored)
    legend_below(figure, columns=3)
    return figure


def _plot_reliability(shares: Axes, counts: Axes, scored: Scored) -> None:
    stated, frauds, rows, edges = reliability(scored)
    low, high = wilson_interval(frauds, rows)
    some, none = frauds > 0, (frauds == 0) & (high <= TELLING * stated)
    share = frauds[some] / rows[some]
    whiskers = np.maximum([share - low[some], high[some] - share], 0)
    shares.plot([1e-9, 1], [1e-9, 1], color=GREY, linestyle="--", label="perfectly calibrated")
    shares.errorbar(
        stated[some], share, yerr=whiskers, fmt="o", color=BLUE, capsize=3, label="share of frauds, 95 % interval"
    )
    if none.any():
        words = "no fraud seen: at most this share"
        shares.plot(stated[none], high[none], "v", color=BLUE, fillstyle="none", label=words)
    counts.bar(edges[:-1], rows, width=np.diff(edges) * 0.97, align="edge", color=BLUE, alpha=0.6)
    counts.set_ylim(0.7, rows.max() * 8)
    for left, right, count in zip(edges[:-1], edges[1:], rows, strict=True):
        if count:
            counts.text(np.sqrt(left * right), count * 1.25, _short(count), ha="center", fontsize=7, color=GREY)


def reliability(scored: Scored) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean score, frauds and rows of each bin of equal width in powers of ten, and the bins' edges."""
    powers = np.arange(np.log10(LOWEST_SCORE), CALIBRATION_STEP / 2, CALIBRATION_STEP)
    edges = 10.0**powers
    bin_of_row = np.searchsorted(edges[1:-1], scored.score, side="right")
    bins = edges.size - 1
    weights = np.stack([scored.score, scored.fraud, np.ones(scored.score.size)])
    stated, frauds, rows = (np.bincount(bin_of_row, weight, minlength=bins).astype(np.float64) for weight in weights)
    return np.maximum(stated / np.maximum(rows, 1), LOWEST_SCORE), frauds, rows, edges


def wilson_interval(frauds: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % interval of each share (Wilson, JASA 1927), which stays honest for few or no frauds."""
    n, z2 = np.maximum(rows, 1), CONFIDENCE_Z**2
    share = frauds / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = CONFIDENCE_Z * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return centre - half, centre + half


def _short(count: float) -> str:
    """Return a count in at most four characters, such as 950, 1.2k, 34k or 5.6M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 10 * size else f"{count / size:.0f}{unit}"
    return f"{count:.0f}"
