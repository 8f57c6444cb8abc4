"""What the figures share: what is drawn, the frame, the colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from model.decision import CutOffs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers and in grey print.
BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#777777"
COLOUR_OF: Final = {"review": ORANGE, "decline": RED}

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scored:
    """Hold the tested transactions and the cut-offs chosen beforehand."""

    fraud: Mask
    score: Floats
    cutoffs: CutOffs

    @property
    def one_sided(self) -> bool:
        """Say whether there is no fraud, or nothing but fraud: no rate can be drawn then."""
        return bool(self.fraud.all() or not self.fraud.any())


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches."""
    from matplotlib.figure import Figure  # not pyplot: it keeps every figure open and looks for a display

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def frame(axes: Axes, *, title: str, x: str, y: str) -> None:
    """Give axes their title, names and grid."""
    axes.set_title(title, loc="left", fontsize=12)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def percent_axis(axis: Axis) -> None:
    """Label an axis of shares in percent."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))


def say_one_sided(axes: Axes, scored: Scored) -> None:
    """Say in place of a curve what the tested period lacks."""
    missing = "honest transaction" if scored.fraud.any() else "fraud"
    axes.text(0.5, 0.5, f"No {missing} in the tested period", transform=axes.transAxes, ha="center", color=GREY)


def legend_below(figure: Figure, *, columns: int = 1) -> None:
    """Explain what is drawn, below it."""
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=columns)


def percent(share: float) -> str:
    """Return a share as text, such as 4.95 %."""
    return "n/a" if np.isnan(share) else f"{100 * share:.2f} %"


def rates_at(scored: Scored, cutoff: float) -> dict[str, float]:
    """Return recall, precision and false positive rate of acting on scores at or above a cut-off."""
    flagged = scored.score >= cutoff
    found = float((flagged & scored.fraud).sum())
    return {
        "recall": found / float(scored.fraud.sum()),
        "precision": found / float(flagged.sum()) if flagged.any() else np.nan,
        "false positive rate": float((flagged & ~scored.fraud).sum()) / float((~scored.fraud).sum()),
    }
