"""What `evaluation.json` holds: every figure of the headline by its plain name, then the tables behind them."""

from typing import Any

from model.settings import Settings
from model.statistics import HOUR
from model.training.walk_forward.ceiling import best_ceiling
from model.training.walk_forward.cells import plain
from model.training.walk_forward.verdict import checks

FORMAT = 1
_TABLES = ("folds", "weeks", "days", "segments", "ceiling", "missed", "budgets", "curves", "shap")
_REVIEW = {"recall": "recall_review", "precision": "precision_review", "f1": "f1_review"}

Figures = dict[str, Any]


def document(
    headline: Figures, baselines: Figures, grid: list[Figures], *, settings: Settings, facts: Figures
) -> Figures:
    """Return the document of an evaluation as plain JSON values.

    Parameters
    ----------
    headline
        What `measuring.cell_figures` and `measuring.detailed_figures` say of the label delay and statistics age asked
        for.
    baselines
        Figures by name of the learner.
    grid
        Figures by label delay and statistics age; empty if not asked for.
    facts
        Data, resampling, versions, seconds.
    """
    figures = {name: value for name, value in headline.items() if not isinstance(value, list | dict)}
    ends = ("", "_low", "_high")
    review = {f"{short}{end}": figures[f"{name}{end}"] for short, name in _REVIEW.items() for end in ends}
    best = best_ceiling(headline["ceiling"])
    ceilings = {f"ceiling_{name}": best[name] for name in ("recall_at_fpr_5pct", "recall_at_fpr_1pct")}
    answer = {
        "format": FORMAT,
        **figures,
        **review,
        **ceilings,
        "checks": checks(headline, settings=settings),
        "failing_segments": [each for each in headline["segments"] if each["meets_requirement"] is False],
        "grid": grid,
        **{name: headline[name] for name in _TABLES},
        "baselines": [{"name": name, **each} for name, each in baselines.items()],
        "settings": _settings(settings),
        "facts": headline["facts"] | facts,
    }
    return dict(plain(answer))


def _settings(settings: Settings) -> Figures:
    names = ("trees", "leaves", "learning_rate", "seed", "threads", "flagged_budget", "declined_budget")
    return {
        "label_delay_hours": settings.label_delay.total_seconds() / HOUR,
        "statistics_age_hours": settings.statistics_age.total_seconds() / HOUR,
        **{name: getattr(settings, name) for name in (*names, "max_training_rows", "monthly_loss_limit")},
    }
