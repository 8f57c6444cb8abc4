"""The gate: whether a challenger may take the champion's place, decided on evidence."""

from model.training.gate.comparison import Comparison, MeasureComparison, compare
from model.training.gate.cost import explain_microseconds
from model.training.gate.inputs import GateError, GateRows, GateRules, ScoredModel
from model.training.gate.preview import Flip, FlipCount, Flips, flips
from model.training.gate.promotion import Claim, Condition, PromotionDecision, decide_promotion
from model.training.gate.report import render_flips, render_gate, write_gate_report

__all__ = [
    "Claim",
    "Comparison",
    "Condition",
    "Flip",
    "FlipCount",
    "Flips",
    "GateError",
    "GateRows",
    "GateRules",
    "MeasureComparison",
    "PromotionDecision",
    "ScoredModel",
    "compare",
    "decide_promotion",
    "explain_microseconds",
    "flips",
    "render_flips",
    "render_gate",
    "write_gate_report",
]
