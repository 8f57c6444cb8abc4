"""Whether a challenger replaces the champion: pure rules over a comparison, with a sentence for each."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from model.training.gate.comparison import Comparison, MeasureComparison
from model.training.gate.inputs import GateRules
from model.training.gate.measured import AVERAGE_PRECISION, CALIBRATION, DECLINE_FPR, LOSS, RECALL, REVIEW_FPR

CLAIMED: Final = (RECALL, AVERAGE_PRECISION, LOSS)  # what one model may be called better or worse in
_WORDS: Final = {RECALL: "recall at the flagged budget", AVERAGE_PRECISION: "average precision", LOSS: "money"}


@dataclass(frozen=True, slots=True)
class Condition:
    """One rule, whether it holds, and the figures that say so."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A measure in which the challenger is called better or worse than the champion.

    Attributes
    ----------
    p_value
        Corrected for looking at several measures (Holm, Scand. J. Statist. 1979): among equally good models at most
        alpha are called different in any of them.
    """

    measure: str
    better: bool
    p_value: float


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """Whether to promote the challenger: only if every condition holds."""

    champion: str
    challenger: str
    conditions: tuple[Condition, ...]
    claims: tuple[Claim, ...]

    @property
    def promote(self) -> bool:
        """Say whether every condition holds."""
        return bool(self.conditions) and all(condition.passed for condition in self.conditions)

    @property
    def failed(self) -> tuple[Condition, ...]:
        """The conditions that do not hold."""
        return tuple(condition for condition in self.conditions if not condition.passed)

    def summary(self) -> str:
        """Return one line: what happens and, if the champion stays, why."""
        if self.promote:
            return f"{self.challenger} replaces {self.champion}: all {len(self.conditions)} conditions hold."
        reasons = " ".join(condition.sentence for condition in self.failed)
        return f"{self.champion} stays, {self.challenger} is not promoted. {reasons}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "promote": self.promote,
            "summary": self.summary(),
            "champion": self.champion,
            "challenger": self.challenger,
            "conditions": [asdict(condition) for condition in self.conditions],
            "claims": [asdict(claim) for claim in self.claims],
        }


def decide_promotion(
    comparison: Comparison, *, golden_rows_agree: bool, explain_us: float, rules: GateRules
) -> PromotionDecision:
    """Return whether the challenger replaces the champion, and why.

    Not to be worse is the rule, to be better is a choice. A model ages with the payments it was trained on, so a later
    one that is *not worse* may take its place: the interval of the difference in recall leaves out a loss larger than
    the margin, or the challenger certainly costs less money; and it does not certainly cost more. That is no claim to
    be better. With `rules.require_improvement` such a claim is needed too, and `claims` says what stands up to the
    bootstrap either way: recall at the flagged budget, average precision and money, held to alpha together.

    The bounds of false positive rates are those of their intervals, level 1 - alpha. Calibration fails where the error
    is above its limit and also above what a perfectly calibrated model would show on so few rows by chance.

    Parameters
    ----------
    golden_rows_agree
        Whether the challenger, loaded from its bundle, gives its golden rows their answers.
    explain_us
        Microseconds that scoring and explaining one row takes with it.
    """
    claims = _claims(comparison, alpha=rules.alpha)
    conditions = (
        _enough_frauds(comparison, rules),
        _recall(comparison, rules),
        _money(comparison),
        _false_positive_rate(comparison, rules),
        _calibration(comparison, rules),
        _golden(golden_rows_agree),
        _explain_cost(explain_us, rules),
        _improvement(claims, rules),
    )
    return PromotionDecision(comparison.champion, comparison.challenger, conditions, claims)


def _claims(comparison: Comparison, *, alpha: float) -> tuple[Claim, ...]:
    """Return the differences that are larger than chance makes them, corrected as Holm does."""
    measures = sorted((comparison[name] for name in CLAIMED), key=lambda measure: measure.p_value)
    claims, corrected = [], 0.0
    for place, measure in enumerate(measures):
        corrected = max(corrected, min(1.0, measure.p_value * (len(measures) - place)))
        if corrected <= alpha:
            claims.append(Claim(measure.name, measure.better, corrected))
    return tuple(claims)


def _enough_frauds(comparison: Comparison, rules: GateRules) -> Condition:
    sentence = f"There are {comparison.frauds:,} frauds to compare by; at least {rules.min_frauds:,} are needed."
    return Condition("enough_frauds", comparison.frauds >= rules.min_frauds, sentence)


def _recall(comparison: Comparison, rules: GateRules) -> Condition:
    recall, loss = comparison[RECALL], comparison[LOSS]
    kept = recall.interval[0] > -rules.recall_margin
    verdict = "leaves out" if kept else "does not leave out"
    sentence = (
        f"Recall at a false positive rate of {_percent(rules.flagged_budget)} goes from {_percent(recall.champion)} to"
        f" {_percent(recall.challenger)}; the interval of the difference, {_points(recall)}, {verdict} a loss larger"
        f" than {100 * rules.recall_margin:.2f} points."
    )
    if not kept:
        sentence += f" Money is {'certainly' if loss.better else 'not certainly'} better: {_money_words(loss)}."
    return Condition("recall", kept or loss.better, sentence)


def _money(comparison: Comparison) -> Condition:
    loss = comparison[LOSS]
    verdict = "certainly rises" if loss.worse else "does not certainly rise"
    return Condition("money", not loss.worse, f"The expected loss a month {verdict}: {_money_words(loss)}.")


def _false_positive_rate(comparison: Comparison, rules: GateRules) -> Condition:
    passed, parts = True, []
    for name, words, budget in (
        (REVIEW_FPR, "flagged", rules.flagged_budget),
        (DECLINE_FPR, "declined", rules.declined_budget),
    ):
        measure, limit = comparison[name], budget + rules.fpr_tolerance
        within = measure.challenger_interval[1] <= limit
        passed = passed and within
        parts.append(
            f"{_percent(measure.challenger)} {words}, upper bound {_percent(measure.challenger_interval[1])},"
            f" {'within' if within else 'above'} {_percent(limit)}"
        )
    sentence = f"Of honest transactions the challenger has {'; '.join(parts)} (budget and tolerance)."
    return Condition("false_positive_rate", passed, sentence)


def _calibration(comparison: Comparison, rules: GateRules) -> Condition:
    error, chance = comparison[CALIBRATION], comparison.calibration_error_by_chance
    within = error.challenger <= rules.calibration_limit
    passed = within or error.challenger <= chance
    sentence = (
        f"The challenger's expected calibration error is {100 * error.challenger:.3f} points (the champion's"
        f" {100 * error.champion:.3f}), {'within' if within else 'above'} the limit of"
        f" {100 * rules.calibration_limit:.3f}"
    )
    if not within:
        verdict = "no more than chance makes" if passed else "more than chance makes"
        sentence += f"; it is {verdict} of a perfectly calibrated model on these rows, {100 * chance:.3f}"
    return Condition("calibration", passed, sentence + ".")


def _golden(agree: bool) -> Condition:
    verdict = "gives every golden row" if agree else "does not give every golden row"
    return Condition("golden_rows", agree, f"The challenger {verdict} the answer it was published with.")


def _explain_cost(explain_us: float, rules: GateRules) -> Condition:
    passed = explain_us <= rules.explain_budget_us
    sentence = (
        f"Scoring and explaining one row takes {explain_us:.1f} microseconds,"
        f" {'within' if passed else 'above'} the budget of {rules.explain_budget_us:g}."
    )
    return Condition("explain_cost", passed, sentence)


def _improvement(claims: tuple[Claim, ...], rules: GateRules) -> Condition:
    better = [claim for claim in claims if claim.better]
    named = ", ".join(f"{_WORDS[claim.measure]} (p = {claim.p_value:.3f})" for claim in better)
    sentence = f"The challenger is better in {named}." if better else "The challenger is not shown to be better."
    if not rules.require_improvement:
        sentence += " That is not required: a later model that is not worse may replace the champion."
    return Condition("improvement", bool(better) or not rules.require_improvement, sentence)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(measure: MeasureComparison) -> str:
    low, high = measure.interval
    return f"{100 * low:+.2f} to {100 * high:+.2f} points"


def _money_words(loss: MeasureComparison) -> str:
    low, high = loss.interval
    return f"{loss.champion:,.0f} to {loss.challenger:,.0f}, interval of the difference {low:+,.0f} to {high:+,.0f}"
