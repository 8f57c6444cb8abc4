"""A raw history in, its three periods out: cleaned rows, each with the statistics that were known at its moment."""

from dataclasses import dataclass
from pathlib import Path

from model.address import Location
from model.settings import Settings
from model.statistics import HOUR, Integers, Snapshot
from model.training.cleaned import clean
from model.training.database import connect
from model.training.dataset import Dataset, end_hour, read_dataset, read_snapshot, time_range
from model.training.fingerprint import DataFingerprint, fingerprint
from model.training.prepare import CleaningReport
from model.training.progress import Stages
from model.training.sampling import Sampling, sampling_of
from model.training.split import Period, SplitError, TimeSplit, split_time
from model.training.terms import Terms
from model.transaction import IdHasher


@dataclass(frozen=True, slots=True)
class Periods:
    """The three periods of a cleaned history as rows, and the statistics at its end."""

    cleaning: CleaningReport
    fingerprint: DataFingerprint
    sampling: Sampling
    split: TimeSplit
    train: Dataset
    calibration: Dataset
    test: Dataset
    snapshot: Snapshot


def read_periods(address: Location, *, settings: Settings, hasher: IdHasher, scratch: Path, stages: Stages) -> Periods:
    """Clean a history in a scratch folder, split it in time and look up what was known at each row.

    The history may also be one that `antifraud prepare` has cleaned.

    Raises
    ------
    HistoryError, CleaningError
        See `model.training.cleaned.clean`.
    SplitError
        If it is too short, or has no transaction in one of the periods.
    """
    label_delay = int(settings.label_delay.total_seconds())
    age_hours = int(settings.statistics_age.total_seconds()) // HOUR
    stages.begin("opening the history")
    with connect(scratch, memory_limit=settings.memory_limit, threads=settings.threads) as connection:
        cleaning = clean(connection, address, Terms.of(settings, hasher), progress=stages.step)
        made_from = fingerprint(connection)
        start, end = time_range(connection)
        split = split_time(start, end, label_delay=label_delay)
        whole = {"start": split.train.start, "end": split.test.end}
        sampling = sampling_of(connection, **whole, max_rows=settings.max_training_rows)
        stages.begin("looking up statistics")
        rows = read_dataset(connection, **whole, statistics_age_hours=age_hours, share=sampling.share)
        snapshot = read_snapshot(connection, as_of_hour=end_hour(end))
    train, calibration, test = (_rows_of(rows, name, period) for name, period in split.named())
    return Periods(cleaning, made_from, sampling, split, train, calibration, test, snapshot)


def known_label(rows: Dataset, *, by: int) -> Integers:
    """Return the labels as they were known at a full hour: a fraud not reported by then counts as honest."""
    return rows.label * (rows.report_hour * HOUR < by)


def _rows_of(rows: Dataset, name: str, period: Period) -> Dataset:
    chosen = rows.between(period.start, period.end)
    if not len(chosen):
        raise SplitError(f"there is no transaction in the {name} period, {period}: is a date in the history far off?")
    return chosen
