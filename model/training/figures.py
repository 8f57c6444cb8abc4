from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.decision import DECLINED_BUDGET, FLAGGED_BUDGET, CutOffs
from model.training.evaluate import RECALL_REQUIRED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.collections import PathCollection
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

STRONGEST: Final = 20  # features shown; a person reads no more
MOST_DOTS: Final = 3_000  # transactions shown a feature; more only hide each other
CALIBRATION_STEP: Final = 0.25  # width of a bin in powers of ten of the score
TELLING: Final = 10  # without a fraud, an upper bound more than this many times the score says nothing
LOWEST_SCORE: Final = 1e-5  # lower scores share the first bin: no bank has the frauds to check them
SWARM_STEPS: Final = 150  # dots closer than a 150th of the width stand above each other
SWARM_FULL: Final = 15  # dots on each side that fill a row of the picture
CONFIDENCE_Z: Final = 1.96  # 95 %, two-sided

# Okabe and Ito's colours, told apart by colour-blind readers and in grey print.
BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#777777"
COLOUR_OF: Final = {"review": ORANGE, "decline": RED}

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Tested:
    """Hold the tested transactions and the cut-offs chosen beforehand."""

    fraud: Mask
    score: Floats
    cutoffs: CutOffs

    @property
    def one_sided(self) -> bool:
        return bool(self.fraud.all() or not self.fraud.any())


def write_figures(
    folder: Path,
    *,
    label: ArrayLike,
    score: ArrayLike,
    cutoffs: CutOffs,
    contributions: ArrayLike,
    features: ArrayLike,
    feature_names: Sequence[str],
    flagged_budget: float = FLAGGED_BUDGET,
    declined_budget: float = DECLINED_BUDGET,
) -> list[Path]:
    """Draw the figures a person looks at before trusting a model, as PNG files.

    Parameters
    ----------
    folder : Path
        Made if missing; older figures of the same name are replaced.
    label, score : arrays of shape (n,)
        1 for fraud and 0 for honest; calibrated probability of fraud.
    cutoffs : CutOffs
        Chosen before the tested period.
    contributions : array of shape (n_sample, n_features)
        SHAP values in log-odds, without the base value.
    features : array of shape (n_sample, n_features)
        The values they belong to; NaN where unknown.
    feature_names : sequence of n_features names
    flagged_budget, declined_budget : float
        Drawn as the largest false positive rates of the two cut-offs.

    Returns
    -------
    list of Path
        precision_recall.png, recall_fpr.png, calibration.png, shap_summary.png.

    Raises
    ------
    ValueError
        If shapes do not fit together, a score is not from 0 to 1 or a contribution is not finite.
    """
    tested = _Tested(np.asarray(label) == 1, np.asarray(score, dtype=np.float64), cutoffs)
    shap_values, values = np.asarray(contributions, dtype=np.float64), np.asarray(features, dtype=np.float64)
    _require_shapes(tested, shap_values, values, feature_names)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "precision_recall.png": _draw_precision_recall(tested),
        "recall_fpr.png": _draw_recall_fpr(tested, {"review": flagged_budget, "decline": declined_budget}),
        "calibration.png": _draw_calibration(tested),
        "shap_summary.png": _draw_shap_summary(shap_values, values, feature_names),
    }
    return [_save(figure, folder / name) for name, figure in drawn.items()]


def _require_shapes(tested: _Tested, shap_values: Floats, values: Floats, names: Sequence[str]) -> None:
    if tested.fraud.ndim != 1 or not tested.fraud.size or tested.fraud.shape != tested.score.shape:
        raise ValueError("label and score must be columns of the same length with at least one row")
    if not ((tested.score >= 0) & (tested.score <= 1)).all() or not np.isfinite(shap_values).all():
        raise ValueError("scores must be numbers from 0 to 1, and contributions finite numbers")
    if shap_values.ndim != 2 or shap_values.shape != values.shape:
        raise ValueError("contributions and features must be tables of the same shape")
    if shap_values.shape[1] != len(names) or not shap_values.size:
        raise ValueError("contributions need at least one row and one column for each feature name")


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # not pyplot: it keeps every figure open and looks for a display

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, facecolor="white")
    return path


def _frame(axes: Axes, *, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=12)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _percent_axis(axis: Axis) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))


def _say_one_sided(axes: Axes, tested: _Tested) -> None:
    missing = "honest transaction" if tested.fraud.any() else "fraud"
    axes.text(0.5, 0.5, f"No {missing} in the tested period", transform=axes.transAxes, ha="center", color=GREY)


def _legend_below(figure: Figure, *, columns: int = 1) -> None:
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=columns)


def _mark_cutoffs(axes: Axes, tested: _Tested, *, x: str, y: str) -> None:
    """Mark both cut-offs at their rates: `x` and `y` are names of `_rates`."""
    look: dict[str, Any] = {"markersize": 9, "markeredgecolor": "white", "zorder": 5}
    for name, marker in (("review", "o"), ("decline", "s")):
        cutoff = getattr(tested.cutoffs, name)
        rates = _rates(tested, cutoff)
        words = f"{name} cut-off, score {cutoff:.3g}: {x} {_percent(rates[x])}, {y} {_percent(rates[y])}"
        axes.plot(rates[x], rates[y], marker, color=COLOUR_OF[name], label=words, **look)


def _percent(share: float) -> str:
    return "n/a" if np.isnan(share) else f"{100 * share:.2f} %"


def _rates(tested: _Tested, cutoff: float) -> dict[str, float]:
    flagged = tested.score >= cutoff
    found = float((flagged & tested.fraud).sum())
    return {
        "recall": found / float(tested.fraud.sum()),
        "precision": found / float(flagged.sum()) if flagged.any() else np.nan,
        "false positive rate": float((flagged & ~tested.fraud).sum()) / float((~tested.fraud).sum()),
    }


def _draw_precision_recall(tested: _Tested) -> Figure:
    figure = _new_figure(8, 6)
    axes = figure.subplots()
    _frame(
        axes,
        title="How many of the flagged are frauds, for each share of frauds found",
        x="Recall: share of all frauds found",
        y="Precision: share of frauds among the flagged",
    )
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
    _percent_axis(axes.xaxis)
    _percent_axis(axes.yaxis)
    if tested.one_sided:
        _say_one_sided(axes, tested)
        return figure
    _plot_precision_recall(axes, tested)
    _legend_below(figure)
    return figure


def _plot_precision_recall(axes: Axes, tested: _Tested) -> None:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(tested.fraud, tested.score, drop_intermediate=True)
    average, by_chance = average_precision_score(tested.fraud, tested.score), tested.fraud.mean()
    axes.step(recall, precision, where="post", color=BLUE, linewidth=2, label=f"model, average precision {average:.3f}")
    axes.axhline(by_chance, color=GREY, linestyle="--", label=f"flagging at random: {100 * by_chance:.2f} % are frauds")
    _mark_cutoffs(axes, tested, x="recall", y="precision")


def _draw_recall_fpr(tested: _Tested, budgets: dict[str, float]) -> Figure:
    figure = _new_figure(8, 6)
    axes = figure.subplots()
    _frame(
        axes,
        title="Frauds found for each share of honest transactions flagged",
        x="False positive rate: share of honest transactions flagged (log scale)",
        y="Recall: share of all frauds found",
    )
    axes.set(xscale="log", xlim=(1e-4, 1), ylim=(0, 1.02))
    _percent_axis(axes.xaxis)
    _percent_axis(axes.yaxis)
    if tested.one_sided:
        _say_one_sided(axes, tested)
        return figure
    axes.set_ylim(bottom=_zoom(_rates(tested, tested.cutoffs.decline)["recall"]))
    _plot_recall_fpr(axes, tested)
    _draw_budgets(axes, tested, budgets)
    _legend_below(figure)
    return figure


def _zoom(recall: float) -> float:
    """Return where the recall axis starts, in steps of a tenth, with room for the words below the curve."""
    return float(np.clip(np.floor(10 * recall) / 10 - 0.3, 0, 0.6))


def _plot_recall_fpr(axes: Axes, tested: _Tested) -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    fpr, recall, _ = roc_curve(tested.fraud, tested.score)
    area = roc_auc_score(tested.fraud, tested.score)
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
    _mark_cutoffs(axes, tested, x="false positive rate", y="recall")


def _draw_budgets(axes: Axes, tested: _Tested, budgets: dict[str, float]) -> None:
    bottom, top = axes.get_ylim()
    for name, budget in budgets.items():
        recall = _rates(tested, getattr(tested.cutoffs, name))["recall"]
        curve_is_high = (recall - bottom) / (top - bottom) > 0.4
        place: dict[str, Any] = {"y": 0.03, "va": "bottom"} if curve_is_high else {"y": 0.9, "va": "top"}
        look: dict[str, Any] = {"color": COLOUR_OF[name], "rotation": 90, "ha": "right", "fontsize": 9}
        words = f"{name} budget {100 * budget:g} %"
        axes.axvline(budget, color=COLOUR_OF[name], linestyle="--", linewidth=1)
        axes.text(budget * 0.94, s=words, transform=axes.get_xaxis_transform(), **place, **look)


def _draw_calibration(tested: _Tested) -> Figure:
    figure = _new_figure(8, 7.5)
    shares, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _frame(shares, title="A score of 10 % should mean one fraud in ten", x="", y="Frauds that occurred (log scale)")
    _frame(
        counts, title="", x="Score: probability of fraud the model stated (log scale)", y="Transactions\n(log scale)"
    )
    lowest = float(np.clip(tested.score.min(), LOWEST_SCORE, 0.01))  # above, a log axis would have too few labels
    shares.set(xscale="log", yscale="log", xlim=(lowest / 2, 1.4), ylim=(lowest / 2, 1.4))
    counts.set(yscale="log")
    for axis in (shares.xaxis, shares.yaxis):
        _percent_axis(axis)
    _plot_reliability(shares, counts, tested)
    _legend_below(figure, columns=3)
    return figure


def _plot_reliability(shares: Axes, counts: Axes, tested: _Tested) -> None:
    stated, frauds, rows, edges = _reliability(tested)
    low, high = _wilson_interval(frauds, rows)
    some, none = frauds > 0, (frauds == 0) & (high <= TELLING * stated)
    share = frauds[some] / rows[some]
    whiskers = np.maximum([share - low[some], high[some] - share], 0)
    shares.plot([1e-9, 1], [1e-9, 1], color=GREY, linestyle="--", label="perfectly calibrated")
    shares.errorbar(
        stated[some], share, yerr=whiskers, fmt="o", color=BLUE, capsize=3, label="share of frauds, 95 % interval"
    )
    shares.plot(stated[none], high[none], "v", color=BLUE, fillstyle="none", label="no fraud seen: at most this share")
    counts.bar(edges[:-1], rows, width=np.diff(edges) * 0.97, align="edge", color=BLUE, alpha=0.6)
    counts.set_ylim(0.7, rows.max() * 8)
    for left, right, count in zip(edges[:-1], edges[1:], rows, strict=True):
        if count:
            counts.text(np.sqrt(left * right), count * 1.25, _short(count), ha="center", fontsize=7, color=GREY)


def _reliability(tested: _Tested) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean score, frauds and rows of each bin of equal width in powers of ten, and the bins' edges."""
    powers = np.arange(np.log10(LOWEST_SCORE), CALIBRATION_STEP / 2, CALIBRATION_STEP)
    edges = 10.0**powers
    bin_of_row = np.searchsorted(edges[1:-1], tested.score, side="right")
    bins = edges.size - 1
    weights = np.stack([tested.score, tested.fraud, np.ones(tested.score.size)])
    stated, frauds, rows = (np.bincount(bin_of_row, weight, minlength=bins).astype(np.float64) for weight in weights)
    return np.maximum(stated / np.maximum(rows, 1), LOWEST_SCORE), frauds, rows, edges


def _wilson_interval(frauds: Floats, rows: Floats) -> tuple[Floats, Floats]:
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


def _draw_shap_summary(shap_values: Floats, values: Floats, names: Sequence[str]) -> Figure:
    strength = np.abs(shap_values).mean(axis=0)
    strongest = np.argsort(-strength, kind="stable")[:STRONGEST][::-1]
    shown = slice(None, None, -(-len(values) // MOST_DOTS))
    figure = _new_figure(10, max(5, 2 + 0.34 * strongest.size))
    axes = figure.subplots()
    _frame(
        axes,
        title=f"What moves the score: the strongest {strongest.size} features, one dot a transaction",
        x="Contribution in log-odds: left speaks for the payment, right for fraud\n"
        "(beside each name: the mean size of its contribution)",
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
    y = height + _swarm(shap_values, step)
    known = ~np.isnan(values)
    axes.scatter(shap_values[~known], y[~known], s=6, color="#aaaaaa", linewidths=0)
    rank = _even_ranks(values[known])
    return axes.scatter(
        shap_values[known], y[known], c=rank, s=6, cmap=_low_to_high(), vmin=0, vmax=1, linewidths=0, zorder=3
    )


def _swarm(position: Floats, step: float) -> Floats:
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
