"""The statistics of an hour from a history that `antifraud prepare` has cleaned and summed up before.

Its hourly tiles are all that is needed: no state is kept, and every run reads them anew.
"""

from dataclasses import replace

from model.statistics import hour_text
from model.training.cleaned import PreparedHistory, open_prepared
from model.training.dataset import end_hour, read_snapshot, time_range
from model.training.prepared_layout import TILES, TRANSACTIONS
from model.training.progress import Stages
from model.training.refresh.advance import Fresh, Task, refuse_nobody, scratch_database
from model.training.refresh.contract import RefreshError, ReportLines, refuse_backwards
from model.training.terms import Terms


def find_prepared(task: Task) -> PreparedHistory | None:
    """Return the prepared history of a task, None if the history is a raw one.

    Raises
    ------
    HistoryError
        If it was prepared with another id key, label delay or reports than are asked for, or by another version.
    """
    return open_prepared(task.history, Terms(task.hasher, task.rules.label_delay, task.reports))


def add_up(task: Task, prepared: PreparedHistory, *, stages: Stages) -> Fresh:
    """Return the statistics of an hour, those that the raw history gave when it was prepared.

    Raises
    ------
    HistoryError
        If a file cannot be read.
    RefreshError
        If the hour is later than what was prepared, or the statistics in use are of a later one, or there is nothing to
        add up.
    """
    stages.begin("reading the prepared history")
    with scratch_database(task) as connection:
        files = prepared.load(connection, TRANSACTIONS, only=("tx_seconds",))
        last = end_hour(time_range(connection)[1])
        hour = last if task.as_of_hour is None else task.as_of_hour
        _refuse_beyond(prepared, hour, last=last)
        refuse_backwards(task.current_hour, as_of_hour=hour)
        files += sum(prepared.load(connection, table) for table in TILES)
        stages.begin("adding up")
        snapshot = refuse_nobody(read_snapshot(connection, as_of_hour=hour))
    cleaning = prepared.cleaning()
    lines = ReportLines(cleaning.report_lines, cleaning.report_lines_unusable)
    # Lines of reports are told of apart.
    cleaning = replace(cleaning, report_lines=0, report_lines_unusable=0)
    return Fresh(hour, snapshot, "", files, 0, cleaning, lines, 0, (), from_prepared=True)


def _refuse_beyond(prepared: PreparedHistory, hour: int, *, last: int) -> None:
    """Raise `RefreshError` if nobody knows what happened up to this hour: it was prepared for an earlier one."""
    covered = max(last, prepared.as_of_hour or last)
    if hour > covered:
        raise RefreshError(
            f"history {prepared.address}: it was prepared up to {hour_text(covered)}, and statistics as of"
            f" {hour_text(hour)} are asked for: nothing was published; run antifraud prepare again, or refresh with"
            " --as-of data"
        )
