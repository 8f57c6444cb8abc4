"""What the gate leaves behind: figures for machines, a table and a picture for people."""

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from model.training.gate.comparison import Comparison
from model.training.gate.histograms import draw_differences
from model.training.gate.preview import FlipCount, Flips
from model.training.gate.promotion import PromotionDecision
from model.training.gate.wording import difference_of, title_of, value_of, verdict_of

WIDTH: Final = 120
_REASONS_SHOWN: Final = 15


def write_gate_report(
    folder: Path, comparison: Comparison, decision: PromotionDecision, *, flips: Flips | None = None
) -> list[Path]:
    """Write what was compared and decided into a folder, made if missing; return the files.

    `gate.json` holds every figure, `gate.txt` the conditions and the table, `gate_differences.png` the resampled
    differences; with flips, `flips.json` and `flips.txt` hold the promotion preview.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("gate.json", "gate.txt", "gate_differences.png")]
    _write_json(paths[0], {"decision": decision.as_dict(), "comparison": comparison.as_dict()})
    paths[1].write_text(render_gate(comparison, decision), encoding="utf-8")
    draw_differences(comparison).savefig(paths[2], facecolor="white")
    if flips is not None:
        paths += [folder / name for name in ("flips.json", "flips.txt")]
        _write_json(paths[3], flips.as_dict())
        paths[4].write_text(render_flips(flips), encoding="utf-8")
    return paths


def render_gate(comparison: Comparison, decision: PromotionDecision) -> str:
    """Return the decision, its conditions and the table of measures as text."""
    verdict = "PROMOTE" if decision.promote else "KEEP"
    lines = [f"{verdict}: {decision.challenger} against {decision.champion}", ""]
    for condition in decision.conditions:
        mark = "holds" if condition.passed else "FAILS"
        lines += textwrap.wrap(f"{mark:<7}{condition.sentence}", WIDTH, subsequent_indent=" " * 7)
    lines += [
        "",
        f"{comparison.rows:,} transactions ({comparison.transactions:,.0f} by their weights) of {comparison.days} days,"
        f" {comparison.frauds:,} frauds, {comparison.clusters:,} clusters, {comparison.resamples:,} resamples,"
        f" alpha {comparison.alpha:g}.",
        "Shares in percent, their differences in percentage points; money in the unit of the amounts.",
        "",
    ]
    return "\n".join([*lines, *_measures(comparison)]) + "\n"


def _measures(comparison: Comparison) -> list[str]:
    level = f"{100 * (1 - comparison.alpha):g} % interval"
    rows = [["measure", "champion", "challenger", "difference", level, "p", "challenger is"]]
    for measure in comparison.measures.values():
        low, high = (difference_of(measure, end) for end in measure.interval)
        rows.append(
            [
                title_of(measure.name),
                value_of(measure, measure.champion),
                value_of(measure, measure.challenger),
                difference_of(measure, measure.difference),
                f"{low} to {high}",
                f"{measure.p_value:.3f}",
                verdict_of(measure),
            ]
        )
    return _table(rows, left=(0, 6))


def render_flips(flips: Flips) -> str:
    """Return the promotion preview as text."""
    share = flips.flipped / flips.transactions if flips.transactions else 0.0
    lines = [
        f"Promotion preview: {flips.challenger} in place of {flips.champion}",
        f"{flips.flipped:,.0f} of {flips.transactions:,.0f} past decisions ({100 * share:.3f} %) would be others.",
    ]
    if not flips.flipped:
        return "\n".join(lines) + "\n"
    lines += ["", "By decision", *_counts(flips.by_decision), "", "By amount", *_counts(flips.by_band)]
    lines += ["", "By changed main reason, before and after"]
    lines += _counts(flips.by_reason[:_REASONS_SHOWN]) if flips.by_reason else ["no main reason changed"]
    if left_out := len(flips.by_reason) - _REASONS_SHOWN:
        lines += [f"and {left_out:,} rarer pairs"] if left_out > 0 else []
    head = ["amount", "day", "customer (hashed)", "was", "before", "after", "main reason before", "after"]
    rows = [
        [
            f"{flip.amount:,.2f}",
            flip.day,
            flip.key,
            "fraud" if flip.fraud else "honest",
            *(flip.before, flip.after, flip.reason_before, flip.reason_after),
        ]
        for flip in flips.largest
    ]
    lines += ["", f"The {len(rows)} largest", *_table([head, *rows], left=range(1, 8))]
    return "\n".join(lines) + "\n"


def _counts(counts: Iterable[FlipCount]) -> list[str]:
    groups = list(counts)
    names = list(groups[0].group)
    head = [*(name.replace("_", " ") for name in names), "transactions", "frauds", "amount"]
    rows = [
        [*count.group.values(), f"{count.transactions:,.0f}", f"{count.frauds:,.0f}", f"{count.amount:,.0f}"]
        for count in groups
    ]
    return _table([head, *rows], left=range(len(names)))


def _table(rows: list[list[str]], *, left: Iterable[int]) -> list[str]:
    """Return rows as lines with aligned columns, the first row a head."""
    flush = set(left)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (
            f"{cell:<{width}}" if place in flush else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
