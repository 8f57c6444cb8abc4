"""The whole evaluation: prepare once, then walk forward under each label delay and statistics age."""

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import lightgbm as lgb

from model.address import Location
from model.features import schema_fingerprint
from model.settings import Settings
from model.statistics import ENTITIES, HOUR, tiles_sql
from model.training.addresses import Days
from model.training.cleaned import clean
from model.training.database import connect
from model.training.dataset import read_dataset, time_range
from model.training.fingerprint import DataFingerprint, fingerprint
from model.training.fit import TrainingError
from model.training.page.page import write_page
from model.training.prepare import CleaningReport
from model.training.progress import Stages
from model.training.sampling import Sampling, sampling_of
from model.training.scratch import scratch_folder
from model.training.split import SplitError
from model.training.terms import Terms
from model.training.walk_forward.cells import Cells, write_json
from model.training.walk_forward.delays import GRID_AGES_HOURS, GRID_DELAYS, Delay, has_own_report_times, report_after
from model.training.walk_forward.document import document
from model.training.walk_forward.folds import FoldPlan, day_text, plan_folds
from model.training.walk_forward.learners import baselines, product
from model.training.walk_forward.measuring import Resampling, Trial, cell_figures, detailed_figures, run_folds
from model.training.walk_forward.text import render

CELL_FORMAT = 1  # raise it when what a cell holds, or how it is computed, changes
HEADLINE = "headline"
_MODEL_SETTINGS = ("trees", "leaves", "learning_rate", "seed", "flagged_budget", "declined_budget", "max_training_rows")


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What is evaluated, and how thoroughly.

    Attributes
    ----------
    until
        The history is taken to end with this moment (seconds since 1970); None for its own end.
    quick
        Whether to leave out the table of label delays and statistics ages.
    """

    folds: FoldPlan = field(default_factory=FoldPlan)
    resampling: Resampling = field(default_factory=Resampling)
    until: int | None = None
    quick: bool = False


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A prepared history, and what is the same for all cells."""

    connection: duckdb.DuckDBPyConnection
    cleaning: CleaningReport
    made_from: DataFingerprint
    own_report_times: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Cell:
    """A label delay, None for what the history says itself, and a statistics age."""

    delay: Delay | None
    age_hours: int

    @property
    def key(self) -> dict[str, Any]:
        return {"delay": None if self.delay is None else asdict(self.delay), "statistics_age_hours": self.age_hours}

    def gap(self, assumed: Delay) -> int:
        """Return the seconds between two periods; reports of the history's own are taken to come as assumed."""
        return (assumed if self.delay is None else self.delay).gap


def evaluate_history(
    address: Location, report: Path, *, settings: Settings, plan: EvaluationPlan, progress: bool = True
) -> dict[str, Any]:
    """Evaluate a history as the product would have served it, and write `evaluation.json`, `.txt` and `.html`.

    Parameters
    ----------
    address
        A CSV or Parquet file, a folder of them, or what `antifraud prepare` wrote.
    report
        Folder for the report; its folder `cells` keeps what is finished, so that an interrupted run goes on.

    Returns
    -------
    dict
        What `evaluation.json` holds.

    Raises
    ------
    HistoryError, CleaningError, SplitError, TrainingError, SettingsError
        If the history cannot be read, or does not suffice for a single fold.
    """
    terms = Terms.of(settings, settings.id_hasher())
    report.mkdir(parents=True, exist_ok=True)
    stages_to_come = 3 + (0 if plan.quick else len(GRID_DELAYS) * len(GRID_AGES_HOURS))
    with scratch_folder(settings.work_folder) as scratch, Stages(stages_to_come, shown=progress) as stages:
        stages.begin("opening the history")
        with connect(scratch, memory_limit=settings.memory_limit, threads=settings.threads) as connection:
            days = Days.of_seconds(None, plan.until)
            cleaning = clean(connection, address, terms, days=days, progress=stages.step)
            prepared = _until(connection, cleaning, plan.until, label_delay=terms.label_delay_seconds)
            return _Run(prepared, report, settings, plan, stages).all()


def _until(
    connection: duckdb.DuckDBPyConnection, cleaning: CleaningReport, until: int | None, *, label_delay: int
) -> _Prepared:
    """Forget all that happened after a moment."""
    if until is not None:
        connection.execute(f"DELETE FROM transactions WHERE tx_seconds >= {int(until)}")
        rows = connection.execute("SELECT COUNT(*) FROM transactions").fetchone()
        if rows is None or not rows[0]:
            raise SplitError(f"there is no transaction before {day_text(until)}, where the history is to end")
        for entity in ENTITIES:
            query = tiles_sql(entity, transactions="transactions")
            connection.execute(f"CREATE OR REPLACE TABLE {entity}_tiles AS {query}")
    own = has_own_report_times(connection, label_delay=label_delay)
    return _Prepared(connection, cleaning, fingerprint(connection), own, *time_range(connection))


class _Run:
    """One evaluation over a prepared history."""

    def __init__(
        self, prepared: _Prepared, report: Path, settings: Settings, plan: EvaluationPlan, stages: Stages
    ) -> None:
        self._prepared, self._report = prepared, report
        self._settings, self._plan, self._stages = settings, plan, stages
        age = int(settings.statistics_age.total_seconds()) // HOUR
        assumed = Delay(int(settings.label_delay.total_seconds()))
        self._headline = _Cell(None if prepared.own_report_times else assumed, age)
        self._assumed = assumed
        self._applied: Delay | None = self._headline.delay
        self._cells = Cells(report / "cells", self._common())
        self._trial: tuple[_Cell, Trial] | None = None

    def all(self) -> dict[str, Any]:
        """Compute what is not there yet, and write the report after the headline and at the end."""
        key = self._headline.key
        if self._headline.delay is None:
            key["gap_seconds"] = self._headline.gap(self._assumed)
        headline = self._cells.get(HEADLINE, key, self._headline_figures)
        compared = self._cells.get("baselines", key, self._baselines)
        grid: list[dict[str, Any]] = []
        self._write(headline, compared, grid)
        if not self._plan.quick:
            for delay in GRID_DELAYS:
                grid += [self._grid_cell(_Cell(delay, age), headline) for age in GRID_AGES_HOURS]
        return self._write(headline, compared, grid)

    def _write(self, headline: dict[str, Any], compared: dict[str, Any], grid: list[dict[str, Any]]) -> dict[str, Any]:
        self._stages.step("writing the report")
        written = document(headline, compared, grid, settings=self._settings, facts=self._facts())
        write_json(self._report / "evaluation.json", written)
        (self._report / "evaluation.txt").write_text(render(written), encoding="utf-8")
        write_page(self._report / "evaluation.html", written)
        return written

    def _headline_figures(self) -> dict[str, Any]:
        trial = self._read(self._headline)
        self._stages.begin("testing the headline", parts=len(trial.folds) * self._settings.trees, unit="trees")
        learner = product(self._settings, on_tree=self._stages.part)
        results = run_folds(trial, learner=learner, settings=self._settings)
        self._stages.step("drawing intervals of the headline")
        figures = cell_figures(trial, results, resampling=self._plan.resampling)
        return figures | detailed_figures(trial, results, resampling=self._plan.resampling)

    def _baselines(self) -> dict[str, Any]:
        trial = self._read(self._headline)
        learners = baselines(self._settings)
        self._stages.begin("testing baselines", parts=len(trial.folds) * len(learners), unit="fits")
        answer = {}
        for name, learner in learners.items():
            results = run_folds(trial, learner=learner, settings=self._settings, done=self._stages.part)
            figures = cell_figures(trial, results, resampling=self._plan.resampling)
            answer[name] = {key: value for key, value in figures.items() if key not in ("ceiling", "folds")}
        return answer

    def _grid_cell(self, cell: _Cell, headline: dict[str, Any]) -> dict[str, Any]:
        """Return a cell's figures, or why the history does not suffice for it."""
        if cell == self._headline:  # computed already, with all its details
            figures = {name: value for name, value in headline.items() if not isinstance(value, list | dict)}
            figures["ceiling"] = headline["ceiling"]
        else:
            assert cell.delay is not None  # noqa: S101  only the headline may go by the history itself
            name = f"delay-{cell.delay.median // HOUR}h{'-random' * bool(cell.delay.sigma)}-age-{cell.age_hours}h"
            figures = self._cells.get(name, cell.key, partial(self._cell_or_reason, cell))
        delay_name = "as recorded" if cell.delay is None else cell.delay.name
        return {"label_delay": delay_name, **cell.key, **figures}

    def _cell_or_reason(self, cell: _Cell) -> dict[str, Any]:
        try:
            trial = self._read(cell)
            delay = "" if cell.delay is None else cell.delay.name.partition(",")[0]
            words = f"reports after {delay}, statistics {cell.age_hours} h"
            self._stages.begin(words, parts=len(trial.folds) * self._settings.trees, unit="trees")
            learner = product(self._settings, on_tree=self._stages.part)
            results = run_folds(trial, learner=learner, settings=self._settings)
        except (SplitError, TrainingError) as error:
            return {"not_possible": str(error)}
        figures = cell_figures(trial, results, resampling=self._plan.resampling)
        return {name: value for name, value in figures.items() if name != "folds"}

    def _read(self, cell: _Cell) -> Trial:
        """Return the rows of a cell with their statistics; the last ones read are kept."""
        if self._trial is not None and self._trial[0] == cell:
            return self._trial[1]
        self._trial = None  # two at once might not fit
        gap = cell.gap(self._assumed)
        folds = plan_folds(self._prepared.start, self._prepared.end, label_delay=gap, plan=self._plan.folds)
        self._stages.step("looking up statistics")
        if cell.delay is not None and cell.delay != self._applied:
            report_after(self._prepared.connection, cell.delay)
            self._applied = cell.delay
        start, end = folds[0].train.start, folds[-1].test.end
        sampling = self._sampling(start, end)
        rows = read_dataset(
            self._prepared.connection,
            start=start,
            end=end,
            statistics_age_hours=cell.age_hours,
            share=sampling.share,
        )
        self._trial = cell, Trial(rows, folds, cell.age_hours)
        return self._trial[1]

    def _sampling(self, start: int, end: int) -> Sampling:
        limit = self._settings.max_training_rows
        return sampling_of(self._prepared.connection, start=start, end=end, max_rows=limit)

    def _common(self) -> dict[str, Any]:
        return {
            "format": CELL_FORMAT,
            "data": self._prepared.made_from.digest,
            "features": schema_fingerprint(),
            "lightgbm": lgb.__version__,
            "plan": asdict(self._plan.folds),
            "resampling": asdict(self._plan.resampling),
            **{name: getattr(self._settings, name) for name in _MODEL_SETTINGS},
        }

    def _report_times(self) -> str:
        delay = f"{self._settings.label_delay.total_seconds() / HOUR:g} h after the payment"
        return f"as recorded, else {delay}" if self._prepared.own_report_times else f"{delay} (assumed)"

    def _facts(self) -> dict[str, Any]:
        prepared = self._prepared
        return {
            "data": prepared.made_from.as_dict()
            | {"first_day": day_text(prepared.start), "last_day": day_text(prepared.end - 1)},
            "until": None if self._plan.until is None else day_text(self._plan.until),
            "report_times": self._report_times(),
            "cleaning": asdict(prepared.cleaning),
            "resampling": asdict(self._plan.resampling),
            "fold_plan": asdict(self._plan.folds),
            "feature_schema": schema_fingerprint(),
            "lightgbm": lgb.__version__,
            "seconds": {name: round(value, 1) for name, value in self._stages.seconds.items()},
            "quick": self._plan.quick,
        }
