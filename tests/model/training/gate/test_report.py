import json
from pathlib import Path

import numpy as np
import pytest

from model.training.gate import Comparison, compare, decide_promotion, render_gate, write_gate_report
from model.training.gate.histograms import draw_differences
from model.training.gate.preview import FlipCount, Flips
from tests.model.training.gate.banks import RULES, Truth, draw_bank, draw_model

BLUE, RED, GREY = "#0072B2", "#D55E00", "#777777"


@pytest.fixture(scope="module")
def compared() -> Comparison:
    rows, rng = draw_bank(3)
    old, new = draw_model(rows, rng, name="version 3"), draw_model(rows, rng, Truth(signal=3.5), name="version 4")
    return compare(rows, old, new, rules=RULES)


def preview() -> Flips:
    count = FlipCount({"before": "approve", "after": "review"}, 12.0, 3.0, 480.0)
    band = FlipCount({"band": "10 to 50", "before": "approve", "after": "review"}, 12.0, 3.0, 480.0)
    return Flips("version 3", "version 4", 1500.0, 12.0, (count,), (band,), (), ())


def test_the_report_is_json_a_table_a_picture_and_the_preview(tmp_path: Path, compared: Comparison) -> None:
    decision = decide_promotion(compared, golden_rows_agree=False, explain_us=20, rules=RULES)
    paths = write_gate_report(tmp_path / "gate", compared, decision, flips=preview())
    assert {path.name for path in paths} == {path.name for path in (tmp_path / "gate").iterdir()}
    contents = json.loads((tmp_path / "gate" / "gate.json").read_text())
    assert contents["decision"]["promote"] is False
    assert contents["comparison"]["measures"]["roc_auc"]["difference"] == compared["roc_auc"].difference
    assert (tmp_path / "gate" / "gate_differences.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "gate" / "flips.json").read_text())["flipped"] == 12
    assert "12 of 1,500 past decisions (0.800 %)" in (tmp_path / "gate" / "flips.txt").read_text()


def test_without_a_preview_none_is_written(tmp_path: Path, compared: Comparison) -> None:
    decision = decide_promotion(compared, golden_rows_agree=True, explain_us=20, rules=RULES)
    names = [path.name for path in write_gate_report(tmp_path, compared, decision)]
    assert names == ["gate.json", "gate.txt", "gate_differences.png"]


def test_the_table_has_a_line_for_each_condition_and_each_measure(compared: Comparison) -> None:
    decision = decide_promotion(compared, golden_rows_agree=False, explain_us=20, rules=RULES)
    text = render_gate(compared, decision)
    assert text.startswith("KEEP: version 4 against version 3")
    assert text.count("\nFAILS  ") == len(decision.failed) > 0
    assert text.count("\nholds  ") == len(decision.conditions) - len(decision.failed)
    line = next(line for line in text.splitlines() if line.startswith("ROC AUC"))
    assert f"{100 * compared['roc_auc'].difference:+.3f}" in line
    assert line.endswith("better")
    assert max(map(len, text.splitlines())) <= 130


def test_each_histogram_shows_the_differences_and_is_coloured_by_what_they_say(compared: Comparison) -> None:
    from matplotlib.colors import to_hex

    figure = draw_differences(compared)
    panels = [panel for panel in figure.axes if panel.get_visible()]
    assert len(panels) == len(compared.measures)
    colours = set()
    for panel, measure in zip(panels, compared.measures.values(), strict=True):
        bars = panel.containers[0]
        assert sum(bar.get_height() for bar in bars) == np.isfinite(measure.differences).sum()
        colour = to_hex(bars[0].get_facecolor()).upper()
        assert colour == (BLUE if measure.better else RED if measure.worse else GREY)
        colours.add(colour)
    assert {BLUE, GREY} <= colours


def test_a_measure_without_a_value_is_said_to_have_none(tmp_path: Path) -> None:
    rows, rng = draw_bank(4, Truth(frauds_share=0.1))
    honest = type(rows)(np.zeros(len(rows), dtype=np.int64), rows.amount, rows.tx_seconds, rows.cluster)
    models = [draw_model(honest, rng, name=name) for name in ("old", "new")]
    comparison = compare(honest, *models, rules=RULES)
    decision = decide_promotion(comparison, golden_rows_agree=True, explain_us=1, rules=RULES)
    assert not decision.promote
    write_gate_report(tmp_path, comparison, decision)
    text = (tmp_path / "gate.txt").read_text()
    assert "unknown to unknown" in text
    assert "n/a" in text
