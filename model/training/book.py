"""The protocol of a public book run on a history: the book's baselines reproduced, and ours beside them.

What the protocol fixes stands in `model.training.book_protocol`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
from lightgbm import LGBMClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model.address import Location
from model.settings import Settings
from model.statistics import Floats, Integers, hour_text
from model.training.addresses import Days
from model.training.book_protocol import (
    DAY,
    BookError,
    Mask,
    Protocol,
    Week,
    book_features_sql,
    card_precision,
    last_weeks,
    rows_to_test,
)
from model.training.database import connect
from model.training.dataset import read_dataset, time_range
from model.training.fit import fit_booster, raw_margins
from model.training.prepare import prepare
from model.training.terms import Terms
from model.transaction import IdHasher

FRESH_DELAY_DAYS = 1
STAGES = 8
_SEED = 0

Model = Callable[[Floats, Integers, Floats], Floats]  # features and labels to learn from, features to score: scores


@dataclass(frozen=True, slots=True)
class Scores:
    """How well one model did in one test week, each 0 to 1."""

    roc_auc: float
    average_precision: float
    card_precision_at_100: float


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a model on a set of features, and how it did in each test week."""

    name: str
    features: str
    weeks: tuple[Scores, ...]

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the test weeks."""
        return float(np.mean([getattr(week, metric) for week in self.weeks]))

    def deviation(self, metric: str) -> float:
        """Return the standard deviation of a metric over the test weeks, as the book states it."""
        return float(np.std([getattr(week, metric) for week in self.weeks]))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The lines of the table, and the test weeks they share with their transactions and frauds.

    Attributes
    ----------
    baselines
        The book's models on the book's features.
    ours
        Ours with reports that arrive after the protocol's delay: like for like.
    ours_fresh
        The same rows, with reports that arrive after a day.
    """

    protocol: Protocol
    weeks: tuple[Week, ...]
    rows: int
    frauds: int
    baselines: tuple[Line, ...]
    ours: Line
    ours_fresh: Line


@dataclass(frozen=True, slots=True)
class _Rows:
    """What every model is judged by, in the order of `_in_order`; all (n,)."""

    day: Integers
    customer_key: Integers
    label: Integers


def run_book(
    address: Location,
    *,
    settings: Settings,
    hasher: IdHasher,
    scratch: Path,
    protocol: Protocol | None = None,
    until: int | None = None,
    begin: Callable[[str], None] = lambda stage: None,
) -> Comparison:
    """Run the protocol on a history.

    Ours learns from the rows that the book's models learn from, as `antifraud train` does, with statistics refreshed
    every hour. Its two lines differ only in when a report reaches the statistics.

    Parameters
    ----------
    scratch
        Folder for the scratch databases.
    until
        Leave out what happened from this moment on, seconds since 1970.
    begin
        Called with the name of each of the `STAGES` stages.

    Raises
    ------
    HistoryError, CleaningError
        See `model.training.prepare.prepare`.
    BookError
        If the history is too short, or a week has nothing to learn from or to test.
    TrainingError
        If a week has fewer than ten frauds to learn from.
    """
    protocol = protocol or Protocol()
    begin("preparing")
    with _prepared(
        address, settings, hasher, folder=scratch / "like", delay_days=protocol.delay_days, until=until
    ) as connection:
        start, end = time_range(connection)
        weeks = last_weeks(start, end if until is None else min(end, until), protocol)
        begin("the book's features")
        rows, features = _book_rows(connection, weeks, delay_days=protocol.delay_days)
        judge = _Judge(rows, weeks, delay_days=protocol.delay_days)
        baselines = []
        for name, model in _baselines(settings.threads).items():
            begin(name)
            baselines.append(judge.line(name, "the book's 15", features, model))
        begin("ours, like for like")
        ours = _our_line(connection, judge, settings, delay_days=protocol.delay_days)
    begin("preparing with day-old reports")
    with _prepared(
        address, settings, hasher, folder=scratch / "fresh", delay_days=FRESH_DELAY_DAYS, until=until
    ) as connection:
        begin("ours, day-old reports")
        ours_fresh = _our_line(connection, judge, settings, delay_days=FRESH_DELAY_DAYS)
    tested, frauds = int(judge.tested.sum()), int(rows.label[judge.tested].sum())
    return Comparison(protocol, weeks, tested, frauds, tuple(baselines), ours, ours_fresh)


@contextmanager
def _prepared(
    address: Location, settings: Settings, hasher: IdHasher, *, folder: Path, delay_days: int, until: int | None
) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(folder, memory_limit=settings.memory_limit, threads=settings.threads) as connection:
        terms = Terms(hasher, delay_days * DAY, skip_unreadable=settings.skip_unreadable_files)
        prepare(connection, address, terms, days=Days.of_seconds(None, until))
        yield connection


class _Judge:
    """Train models on the training days of each week and score them on its test days."""

    def __init__(self, rows: _Rows, weeks: Sequence[Week], *, delay_days: int) -> None:
        self.rows, self.weeks = rows, weeks
        self._train = [(rows.day >= week.train_start) & (rows.day < week.train_end) for week in weeks]
        self._test = [
            rows_to_test(rows.day, rows.customer_key, rows.label, week=week, delay_days=delay_days) for week in weeks
        ]
        for week, *periods in zip(weeks, self._train, self._test, strict=True):
            for kind, chosen in zip(("training", "test"), periods, strict=True):
                if len(np.unique(rows.label[chosen])) < 2:
                    moment = hour_text(24 * week.test_start)
                    raise BookError(f"the test week from {moment}: its {kind} days lack frauds or honest transactions")

    @property
    def tested(self) -> Mask:
        """Which rows are tested in any week, (n,)."""
        return np.asarray(np.logical_or.reduce(self._test), dtype=np.bool_)

    def line(self, name: str, features_name: str, features: Floats, model: Model) -> Line:
        """Return the line of a model on features (n, m)."""
        rows = self.rows
        weeks = []
        for train, test in zip(self._train, self._test, strict=True):
            score = model(features[train], rows.label[train], features[test])
            label = rows.label[test]
            weeks.append(
                Scores(
                    float(roc_auc_score(label, score)),
                    float(average_precision_score(label, score)),
                    card_precision(rows.day[test], rows.customer_key[test], label, score),
                )
            )
        return Line(name, features_name, tuple(weeks))


def _book_rows(
    connection: duckdb.DuckDBPyConnection, weeks: Sequence[Week], *, delay_days: int
) -> tuple[_Rows, Floats]:
    start, end = _span(weeks)
    columns = connection.execute(
        f"SELECT * FROM ({book_features_sql(delay_days=delay_days)}) AS rows"
        f" WHERE tx_seconds >= {start} AND tx_seconds < {end}"
    ).fetchnumpy()
    plain = {name: np.ma.getdata(column) for name, column in columns.items()}
    features = np.stack([column for name, column in plain.items() if name.startswith("book_")], axis=1)
    seconds, customer, terminal, label = (
        plain[name].astype(np.int64) for name in ("tx_seconds", "customer_key", "terminal_key", "label")
    )
    order = _in_order(seconds, customer, terminal, plain["tx_amount"], label)
    return _Rows(seconds[order] // DAY, customer[order], label[order]), features[order]


def _our_line(connection: duckdb.DuckDBPyConnection, judge: _Judge, settings: Settings, *, delay_days: int) -> Line:
    start, end = _span(judge.weeks)
    rows = read_dataset(connection, start=start, end=end)
    moments, amounts = rows.transactions.tx_seconds, rows.transactions.tx_amount
    order = _in_order(moments, rows.customer_key, rows.terminal_key, amounts, rows.label)
    if not np.array_equal(rows.customer_key[order], judge.rows.customer_key):
        raise BookError("the history changed while it was read")

    def model(features: Floats, label: Integers, test: Floats) -> Floats:
        return raw_margins(fit_booster(features, label, settings=settings), test, threads=settings.threads)

    features = rows.features[order]
    name = f"ours, reports after {delay_days} {'day' if delay_days == 1 else 'days'}"
    return judge.line(name, f"our {features.shape[1]}", features, model)


def _span(weeks: Sequence[Week]) -> tuple[int, int]:
    return weeks[0].train_start * DAY, weeks[-1].test_end * DAY


def _in_order(
    seconds: Integers, customer: Integers, terminal: Integers, amount: Floats, label: Integers
) -> npt.NDArray[np.intp]:
    """Return the order by time, and of one moment by all else: rows that are equal in it are equal in all features."""
    return np.lexsort((label, amount, terminal, customer, seconds))


def _baselines(threads: int) -> dict[str, Model]:
    """Return the book's baselines, each with the parameters that the book's validation chose."""
    forest = RandomForestClassifier(n_estimators=100, max_depth=20, random_state=_SEED, n_jobs=threads)
    return {
        "logistic regression": _classifier(LogisticRegression(C=100, max_iter=1000)),
        "random forest": _classifier(forest),
        "LightGBM in the place of XGBoost": _classifier(_boosted(threads)),
    }


def _boosted(threads: int) -> LGBMClassifier:
    return LGBMClassifier(
        n_estimators=100,
        learning_rate=0.1,
        max_depth=5,
        # What the book leaves to the defaults of XGBoost; on so few frauds LightGBM's own are unstable.
        num_leaves=2**5,
        min_child_samples=1,
        min_child_weight=1,
        reg_lambda=1,
        random_state=_SEED,
        n_jobs=threads,
        verbose=-1,
    )


def _classifier(estimator: Any) -> Model:
    def model(features: Floats, label: Integers, test: Floats) -> Floats:
        fitted = make_pipeline(StandardScaler(), estimator).fit(features, label)
        return np.asarray(fitted.predict_proba(test)[:, 1], dtype=np.float64)

    return model
