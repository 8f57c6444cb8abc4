"""Champion against challenger on the same rows: a paired bootstrap over clusters."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model.training.gate.inputs import GateRows, GateRules, ScoredModel
from model.training.gate.measured import MEASURES, MeasuredModel, calibration_errors_by_chance
from model.training.measures import Clusters, Floats, percentile_interval, two_sided_p_value

_VALUES_AT_ONCE = 8_000_000  # clusters times draws: 64 MB
_DRAWS_AT_ONCE = 32  # counts of one cluster that lie side by side: more would not stay in the cache


@dataclass(frozen=True, slots=True)
class MeasureComparison:
    """One measure of both models on the same rows.

    Attributes
    ----------
    difference
        Challenger minus champion.
    interval
        Of the difference, level 1 - alpha; infinite where too many resamples have no value.
    p_value
        Of "there is no difference": at most alpha exactly where the interval leaves 0 out.
    champion_interval, challenger_interval
        Of the two values, by the same resamples.
    differences
        Of the resamples, (b,).
    """

    name: str
    higher_is_better: bool
    champion: float
    challenger: float
    difference: float
    interval: tuple[float, float]
    p_value: float
    champion_interval: tuple[float, float]
    challenger_interval: tuple[float, float]
    differences: Floats = field(repr=False, compare=False)

    @property
    def better(self) -> bool:
        """Say whether the whole interval lies on the challenger's side."""
        low, high = self.interval
        return low > 0 if self.higher_is_better else high < 0

    @property
    def worse(self) -> bool:
        """Say whether the whole interval lies on the champion's side."""
        low, high = self.interval
        return high < 0 if self.higher_is_better else low > 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values; what is not finite is None."""
        return {
            "higher_is_better": self.higher_is_better,
            "champion": _finite(self.champion),
            "challenger": _finite(self.challenger),
            "difference": _finite(self.difference),
            "interval": [_finite(end) for end in self.interval],
            "p_value": self.p_value,
            "champion_interval": [_finite(end) for end in self.champion_interval],
            "challenger_interval": [_finite(end) for end in self.challenger_interval],
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every measure of champion and challenger, and what it was measured on.

    Attributes
    ----------
    rows, frauds, clusters, days
        Sizes: transactions looked at, frauds among them, what the bootstrap draws from, days they span.
    transactions
        That the rows stand for, by their weights.
    calibration_error_by_chance
        Expected calibration error that a perfectly calibrated challenger would exceed on such rows with probability
        alpha.
    measures
        By name, in the order of the report.
    """

    champion: str
    challenger: str
    rows: int
    frauds: int
    clusters: int
    days: int
    transactions: float
    alpha: float
    resamples: int
    calibration_error_by_chance: float
    measures: Mapping[str, MeasureComparison]

    def __getitem__(self, name: str) -> MeasureComparison:
        return self.measures[name]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        sizes = ("champion", "challenger", "rows", "frauds", "clusters", "days", "transactions", "alpha", "resamples")
        return {
            **{name: getattr(self, name) for name in sizes},
            "calibration_error_by_chance": _finite(self.calibration_error_by_chance),
            "measures": {name: measure.as_dict() for name, measure in self.measures.items()},
        }


def compare(
    rows: GateRows,
    champion: ScoredModel,
    challenger: ScoredModel,
    *,
    rules: GateRules,
    progress: Callable[[], object] = lambda: None,
) -> Comparison:
    """Measure both models on the same rows, and again on each of `rules.resamples` draws of whole clusters.

    Each resample gives one difference of each measure; the percentiles of these differences are the interval. (What
    the resamples' values scatter by is already the standard error: dividing it by the root of their number, as for a
    mean, would call two equal models different most of the time.)

    Parameters
    ----------
    progress
        Called once after each resample.

    Raises
    ------
    ValueError
        If a model has another number of scores than there are rows.
    """
    clusters = Clusters(rows.cluster)
    models = [MeasuredModel(rows, model, clusters=clusters, rules=rules) for model in (champion, challenger)]
    once = [model.sums(np.ones((clusters.n, 1))) for model in models]
    values = [model.measure(sums)[0] for model, sums in zip(models, once, strict=True)]
    rng = np.random.default_rng(rules.seed)
    resampled, by_chance = np.empty((2, rules.resamples, len(MEASURES))), np.empty(rules.resamples)
    at_once = max(1, min(_DRAWS_AT_ONCE, _VALUES_AT_ONCE // clusters.n))
    for start in range(0, rules.resamples, at_once):
        part = slice(start, min(start + at_once, rules.resamples))
        draws = np.ascontiguousarray(clusters.draw(rng, part.stop - part.start).T)
        drawn = [model.sums(draws) for model in models]
        for place, (model, sums) in enumerate(zip(models, drawn, strict=True)):
            resampled[place, part] = model.measure(sums)
        by_chance[part] = calibration_errors_by_chance(once[1], drawn[1])
        for _ in range(part.stop - part.start):
            progress()
    return Comparison(
        champion=champion.name,
        challenger=challenger.name,
        rows=len(rows),
        frauds=int((rows.label == 1).sum()),
        clusters=clusters.n,
        days=rows.days,
        transactions=float(rows.weights.sum()),
        alpha=rules.alpha,
        resamples=rules.resamples,
        calibration_error_by_chance=float(np.quantile(by_chance, 1 - rules.alpha, method="higher")),
        measures=_measures(values, resampled, alpha=rules.alpha),
    )


def _measures(values: list[Floats], resampled: Floats, *, alpha: float) -> dict[str, MeasureComparison]:
    measures = {}
    for place, (name, higher_is_better) in enumerate(MEASURES.items()):
        one, other = (resampled[which, :, place] for which in range(2))
        differences = other - one
        measures[name] = MeasureComparison(
            name=name,
            higher_is_better=higher_is_better,
            champion=float(values[0][place]),
            challenger=float(values[1][place]),
            difference=float(values[1][place] - values[0][place]),
            interval=percentile_interval(differences, alpha),
            p_value=two_sided_p_value(differences),
            champion_interval=percentile_interval(one, alpha),
            challenger_interval=percentile_interval(other, alpha),
            differences=differences,
        )
    return measures


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
